"""The configuration: what it reads, and that each mistake is named with its line and the nearest right word."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from userlan.lan.addresses import AddressRange
from userlan.lan.invite import Invite
from userlan.node import config
from userlan.node.config import Config, check, check_file, load, load_bytes, load_file
from userlan.node.config_reader import MAX_NODES, MAX_PROBLEMS, MAX_TEXT, ConfigError
from userlan.node.config_values import ListenAddress

KEY = "A" * 43
LINK = f"userlan://mediator.example:41414/{KEY}"


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Entry(msgspec.Struct, frozen=True):
    port: Annotated[int, Meta(ge=1, le=65535)]
    peer: str = "nas"


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    listen: str = "127.0.0.1:1055"
    user: str = ""
    password: str = ""
    outside: Literal["direct", "refuse"] = "direct"
    open: bool = False
    weight: Annotated[float, Meta(gt=0)] = 1.0
    colour: Colour = Colour.RED
    limit: int | None = None
    where: int | Literal["everywhere"] = 1
    names: dict[str, int] = {}
    short: Annotated[str, Meta(max_length=4)] = ""

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            raise ValueError("user and password go together")
        if self.listen == "nowhere":
            raise ValueError("listen: there is no such place")


class Forward(msgspec.Struct, frozen=True):
    entries: tuple[str, ...] = ()


class Pages(msgspec.Struct, frozen=True):
    entries: list[Entry] = []


class Nested(msgspec.Struct, frozen=True):
    entries: tuple[dict[str, int], ...] = ()


SECTIONS: dict[str, type[msgspec.Struct]] = {"proxy": Proxy, "forward": Forward, "pages": Pages}


def problems(text: str) -> list[str]:
    return [str(problem) for problem in check(text, "c.yaml", SECTIONS)]


def bridge(text: str, section: str = "proxy") -> msgspec.Struct:
    return load(text, "c.yaml", SECTIONS).bridges[section]


# --- what it reads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "tunnel:\nlan: ~\nlog: null\nproxy:\n"])
def test_nothing_means_the_defaults(text: str) -> None:
    read = load(text, "c.yaml", SECTIONS)
    assert read == config.defaults(SECTIONS)
    assert read.bridges == {"proxy": Proxy(), "forward": Forward(), "pages": Pages()}


def test_the_defaults() -> None:
    plain = config.defaults({})
    assert plain == Config()
    assert [str(address) for address in plain.listen] == ["0.0.0.0:41414", "[::]:41414"]
    assert (plain.name, plain.mediator, plain.embedded_mediator) == (None, None, "auto")
    assert (plain.tunnel.mtu, plain.tunnel.keepalive, plain.tunnel.cipher) == (1420, 5.0, "auto")
    assert str(plain.lan.range) == "25.0.0.0/8"
    assert plain.log.level == "info"


def test_every_key_of_the_node() -> None:
    text = f"""
name: NAS
mediator: {LINK}
listen:
  - 192.0.2.1:1000
  - "[2001:db8::1]:2000"
embedded_mediator: never
tunnel: {{mtu: 1280, keepalive: 1m30s}}
lan:
  range: 10.0.0.0/8
  broadcast_rate: 0
  group_rate: 20
log:
  level: debug
  format: json
  parts: {{tunnel: warn, bridges.proxy: error}}
"""
    read = load(text, "c.yaml", {"proxy": Proxy})
    assert read == Config(
        name="nas",
        mediator=Invite.parse(LINK),
        listen=(ListenAddress("192.0.2.1", 1000), ListenAddress("2001:db8::1", 2000)),
        embedded_mediator="never",
        tunnel=config.Tunnel(1280, 90.0),
        lan=config.LanSection(AddressRange.parse("10.0.0.0/8"), 0, 20),
        log=config.Log("debug", "json", {"tunnel": "warn", "bridges.proxy": "error"}),
        bridges={"proxy": Proxy()},
    )


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("proxy: {user: me, password: 0123}", "password", "0123"),
        ("proxy: {user: me, password: yes}", "password", "yes"),
        ("proxy: {user: me, password: 1.50}", "password", "1.50"),
        ("proxy: {user: me, password: 2020-01-01}", "password", "2020-01-01"),
        ("proxy: {user: me, password: '~'}", "password", "~"),
        ("proxy: {open: yes}", "open", True),
        ("proxy: {open: Off}", "open", False),
        ("proxy: {weight: 3}", "weight", 3.0),
        ("proxy: {weight: 2.5e-1}", "weight", 0.25),
        ("proxy: {colour: green}", "colour", Colour.GREEN),
        ("proxy: {limit: ~}", "limit", None),
        ("proxy: {limit: -7}", "limit", -7),
        ("proxy: {where: 5}", "where", 5),
        ("proxy: {where: everywhere}", "where", "everywhere"),
        ("proxy: {names: {a: 1, b: 2}}", "names", {"a": 1, "b": 2}),
        ("proxy: &p {limit: &l 4, where: *l}", "where", 4),
    ],
)
def test_values_by_type(text: str, field: str, value: object) -> None:
    assert getattr(bridge(text), field) == value


def test_a_section_may_be_a_bare_list_and_a_single_entry() -> None:
    assert bridge("forward: ['8080:nas:80', 22:nas:22]", "forward") == Forward(("8080:nas:80", "22:nas:22"))
    assert bridge("forward: {entries: 8080:nas:80}", "forward") == Forward(("8080:nas:80",))
    assert bridge("pages: [{port: 1}, {port: 2, peer: b}]", "pages") == Pages([Entry(1), Entry(2, "b")])


def test_a_byte_order_mark_does_not_matter() -> None:
    assert load_bytes(b"\xef\xbb\xbfname: nas\n", "c.yaml", {}).name == "nas"


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nmae: nas", "c.yaml:1: nmae: unknown key: did you mean 'name'?"),
        ("\n\ntunnel:\n  mut: 1400", "c.yaml:4: tunnel.mut: unknown key: did you mean 'mtu'?"),
        ("mtu: 1400", "c.yaml:1: mtu: unknown key: did you mean 'tunnel.mtu'?"),
        ("log: {keepalive: 3}", "c.yaml:1: log.keepalive: unknown key: did you mean 'tunnel.keepalive'?"),
        ("log: {zzz: 3}", "c.yaml:1: log.zzz: unknown key: the keys here are level, format, parts"),
        ("Embedded-Mediator: auto", "c.yaml:1: Embedded-Mediator: unknown key: did you mean 'embedded_mediator'?"),
        ("proxy:\n  pasword: x", "c.yaml:2: proxy.pasword: unknown key: did you mean 'password'?"),
        ("name: a\nname: b", "c.yaml:2: name: given twice: first in line 1"),
        ("log: {level: info, level: info}", "c.yaml:1: log.level: given twice: first in line 1"),
        ("tunnel: {mtu: 100}", "c.yaml:1: tunnel.mtu: expected a whole number from 1280 to 8920, found '100'"),
        ("tunnel: {mtu: 1e3}", "c.yaml:1: tunnel.mtu: expected a whole number from 1280 to 8920, found '1e3'"),
        ("tunnel: {mtu: 02000}", "c.yaml:1: tunnel.mtu: expected a whole number from 1280 to 8920, found '02000'"),
        ("tunnel: {mtu: }", "c.yaml:1: tunnel.mtu: expected a whole number from 1280 to 8920, found nothing"),
        ("tunnel: {mtu: [1]}", "c.yaml:1: tunnel.mtu: expected a whole number from 1280 to 8920, found a list"),
        (
            "tunnel: {mtu: '1400'}",
            "c.yaml:1: tunnel.mtu: expected a whole number from 1280 to 8920, found '1400': leave out the quotes",
        ),
        ("tunnel: {cipher: aes}", "c.yaml:1: tunnel.cipher: expected auto or chacha20, found 'aes'"),
        ("tunnel: 3", "c.yaml:1: tunnel: expected the keys mtu, keepalive, bulk_over_tcp, cipher, found '3'"),
        (
            "tunnel: {keepalive: soon}",
            "c.yaml:1: tunnel.keepalive: 'soon' is not a duration such as 500ms, 25s, 2m or 1h30m",
        ),
        (
            "tunnel: {keepalive: 1d}",
            "c.yaml:1: tunnel.keepalive: expected a duration such as 25s or 2m from 1 to 300, found '1d'",
        ),
        (
            "log: {level: warning}",
            "c.yaml:1: log.level: expected debug or error or info or warn, found 'warning': did you mean 'warn'?",
        ),
        ("log: {parts: {tunel: debug}}", "c.yaml:1: log.parts.tunel: unknown key: did you mean 'tunnel'?"),
        ("log:\n  parts:\n    bridges.forwrd: info", "c.yaml:3: log.parts.bridges.forwrd: unknown key: did you mean 'bridges.forward'?"),
        ("log: {parts: {node: loud}}", "c.yaml:1: log.parts.node: expected debug or error or info or warn, found 'loud'"),
        ("log: {format: jsn}", "c.yaml:1: log.format: expected json or text, found 'jsn': did you mean 'json'?"),
        ("lan: {range: 300.0.0.0/8}", "c.yaml:1: lan.range: '300.0.0.0/8' is not an IPv4 range such as 25.0.0.0/8"),
        ("lan: {group_rate: -1}", "c.yaml:1: lan.group_rate: expected a whole number from 0 to 1000000, found '-1'"),
        (
            "name: my nas",
            "c.yaml:1: name: the nickname 'my nas' holds ' ': only letters a to z, digits and hyphens are allowed",
        ),
        ("listen: 41414", "c.yaml:1: listen: '41414' is not ADDRESS:PORT, such as 0.0.0.0:41414 or '[::]:41414'"),
        ("listen: ['0.0.0.0:1', 'x:1']", "c.yaml:1: listen[1]: 'x' is not a numeric address of this computer"),
        ("listen: []", "c.yaml:1: listen: expected 1 to 16 entries, found 0"),
        ("listen: ~", "c.yaml:1: listen: expected a list, each entry ADDRESS:PORT, found nothing"),
        ("mediator: mediator.example", "c.yaml:1: mediator: 'mediator.example' does not begin with userlan://"),
        (
            f"mediator: {LINK[:-1]}",
            "c.yaml:1: mediator: the link is wrong: the key is cut short: 42 characters, not 43",
        ),
        ("mediator: [a]", "c.yaml:1: mediator: expected a mediator's link (userlan://HOST:PORT/KEY), found a list"),
        (
            f"mediator: {LINK}/home",
            f"c.yaml:1: mediator: this is an invite to 'home': give `userlan join` the invite, or keep {LINK}",
        ),
        ("proxy: {open: maybe}", "c.yaml:1: proxy.open: expected true or false, found 'maybe'"),
        ("proxy: {open: 'true'}", "c.yaml:1: proxy.open: expected true or false, found 'true': leave out the quotes"),
        ("proxy: {weight: 0}", "c.yaml:1: proxy.weight: expected a number from 0 up, found '0'"),
        ("proxy: {weight: .inf}", "c.yaml:1: proxy.weight: expected a number from 0 up, found '.inf'"),
        ("proxy: {colour: gren}", "c.yaml:1: proxy.colour: expected red or green, found 'gren': did you mean 'green'?"),
        ("proxy: {limit: x}", "c.yaml:1: proxy.limit: expected a whole number, found 'x'"),
        ("proxy: {where: nowhere}", "c.yaml:1: proxy.where: expected a whole number or everywhere, found 'nowhere'"),
        ("proxy: {short: hello}", "c.yaml:1: proxy.short: expected text of 0 to 4 characters, found 'hello'"),
        ('proxy: {short: "a\\n"}', "c.yaml:1: proxy.short: the text holds a control character or a line break"),
        ("proxy: {listen: }", "c.yaml:1: proxy.listen: expected text, found nothing"),
        ("proxy: {names: {a: x}}", "c.yaml:1: proxy.names.a: expected a whole number, found 'x'"),
        ("proxy: {names: 3}", "c.yaml:1: proxy.names: expected keys with a whole number each, found '3'"),
        ("proxy:\n  user: me", "c.yaml:2: proxy: user and password go together"),
        ("proxy:\n  open: no\n  listen: nowhere", "c.yaml:3: proxy.listen: there is no such place"),
        ("pages: [{peer: x}]", "c.yaml:1: pages[0].port: missing: a whole number from 1 to 65535"),
        ("pages: [{port: 0}]", "c.yaml:1: pages[0].port: expected a whole number from 1 to 65535, found '0'"),
        ("- a", "c.yaml:1: expected name: VALUE and the like, found a list"),
        ("nas", "c.yaml:1: expected name: VALUE and the like, found 'nas'"),
        ("? [a]\n: b", "c.yaml:1: a key must be a word"),
        ("proxy: !!python/object:os.system {}", "c.yaml:1: proxy: the tag 'python/object:os.system' is not allowed"),
        ("name: !secret x", "c.yaml:1: name: the tag '!secret' is not allowed"),
        ("tunnel:\n\tmtu: 1400", "c.yaml:2: a tab is not allowed here: indent with spaces"),
        ("name: 'nas", "c.yaml:1: found unexpected end of stream"),
        ("listen: [a,", "c.yaml:1: the file ends where more is expected: is a bracket or a quote not closed?"),
        ("name: a\n  log: b", "c.yaml:2: mapping values are not allowed here"),
        ("name: *x", "c.yaml:1: found undefined alias 'x'"),
        ("name: a\n---\nname: b", "c.yaml:2: but found another document"),
        ("name: a\nb: \x00", "c.yaml:2: the character U+0000 is not allowed"),
    ],
)
def test_each_mistake_is_named_with_its_line(text: str, expected: str) -> None:
    assert problems(text) == [expected]


def test_all_mistakes_are_reported_at_once_in_the_order_of_their_lines() -> None:
    text = "lan: {range: x}\nnmae: a\ntunnel:\n  mtu: 1\n  keepalive: x\nproxy:\n  user: me\n"
    assert [problem.line for problem in check(text, "c.yaml", SECTIONS)] == [1, 2, 4, 5, 7]
    with pytest.raises(ConfigError) as caught:
        load(text, "c.yaml", SECTIONS)
    assert str(caught.value).splitlines() == problems(text)
    assert len(caught.value.problems) == 5


def test_what_is_right_has_no_problems() -> None:
    assert check("name: nas\nproxy: {outside: refuse}\n", "c.yaml", SECTIONS) == []


def test_a_bridge_cannot_take_the_name_of_a_key() -> None:
    with pytest.raises(TypeError, match="'tunnel'"):
        load("", "c.yaml", {"tunnel": Proxy})


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("name: nas\n")
    assert load_file(path, SECTIONS).name == "nas"
    assert check_file(path, SECTIONS) == []
    path.write_text("nam: nas\n")
    assert [str(problem) for problem in check_file(path, SECTIONS)] == [
        f"{path}:1: nam: unknown key: did you mean 'name'?"
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"name: nas\nlog: \xff\n", ":2: the octet 0xff is not UTF-8: this is no text, or not saved as UTF-8"),
        ("name: nas\n".encode("utf-16"), ":1: the file is UTF-16: save it as UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", ":1: the character U+007F is not allowed"),
        (b"#" * (MAX_TEXT + 1), ": the file is longer than 64 KiB"),
        (b"\xc3\xa4" * 4 * MAX_TEXT, ": the file is longer than 64 KiB"),
    ],
)
def test_a_file_that_is_no_text_has_one_line(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    assert [str(problem) for problem in check_file(path, SECTIONS)] == [f"{path}{expected}"]
    with pytest.raises(ConfigError) as caught:
        load_file(path, SECTIONS)
    assert str(caught.value) == f"{path}{expected}"


def test_a_file_that_cannot_be_read_has_one_line(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "none", "No such file or directory")):
        with pytest.raises(ConfigError) as caught:
            load_file(path, SECTIONS)
        assert str(caught.value) == f"{path}: cannot be read: {reason}"
        assert [str(problem) for problem in check_file(path, SECTIONS)] == [str(caught.value)]


# --- hostile or damaged text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "a: &x [*x, "])
def test_depth_without_end_is_refused(opening: str) -> None:
    assert len(problems(opening * 3000)) == 1


def test_aliases_that_multiply_are_bounded() -> None:
    names = ", ".join(f"k{number}: 1" for number in range(500))
    again = ", ".join("*a" for _ in range(MAX_NODES // 500))
    sections = SECTIONS | {"nested": Nested}
    found = check(f"nested: [&a {{{names}}}, {again}]\n", "c.yaml", sections)
    assert [problem.text for problem in found] == [f"the file has more than {MAX_NODES} values"]
    assert check(f"nested: [&a {{{names}}}, *a, *a]\n", "c.yaml", sections) == []


def test_more_values_than_the_cap_are_refused() -> None:
    text = f"forward: [{'x,' * (MAX_NODES + 1)}]"
    assert problems(text) == [f"c.yaml:1: forward: expected 0 to {MAX_NODES} entries, found {MAX_NODES + 1}"]


def test_a_thousand_mistakes_are_cut_off() -> None:
    assert len(problems("\n".join(f"wrong{number}: 1" for number in range(1000)))) == MAX_PROBLEMS


WORDS = st.sampled_from(
    [
        *(
            "name",
            "tunnel",
            "mtu",
            "listen",
            "proxy",
            "forward",
            "- ",
            ": ",
            "\n",
            "\n  ",
            "{",
            "}",
            "[",
            "]",
            ",",
            "'",
        ),
        *('"', "&a", "*a", "!x", "!!int", "~", "1400", "yes", "|", ">", "%", "#", "?", "<<", "\\", "\t", "\ud800"),
        *("\\U0011ffff", "\\x0", "%YAML 1.1\n---\n", "\r", "\x85", "\ufeff", "=", "0x1", "1:30", "2020-01-01"),
    ]
)


@settings(deadline=None, max_examples=400)
@given(st.text(max_size=60) | st.lists(WORDS, max_size=20).map("".join))
def test_any_text_is_read_or_has_its_problems(text: str) -> None:
    found = check(text, "c.yaml", SECTIONS)
    assert all(len(str(problem).splitlines()) == 1 for problem in found)
    if found:
        with pytest.raises(ConfigError):
            load(text, "c.yaml", SECTIONS)
    else:
        assert isinstance(load(text, "c.yaml", SECTIONS), Config)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_have_their_problems(data: bytes) -> None:
    try:
        read = load_bytes(data, "c.yaml", SECTIONS)
    except ConfigError as error:
        assert error.problems  # noqa: PT017 - both outcomes are right
        return
    assert isinstance(read, Config)


def test_what_changed_is_named_by_its_keys() -> None:
    """In the order of the file; of a bridge its section."""
    before = load("", "a", {"proxy": Proxy})
    assert config.changes(before, load("tunnel: {mtu: 1420}\nproxy: {outside: direct}\n", "b", {"proxy": Proxy})) == []
    text = "log: {level: debug}\nproxy: {outside: refuse}\nlisten: 127.0.0.1:1\ntunnel: {mtu: 1400, cipher: chacha20}\nname: nas\n"
    after = load(text, "b", {"proxy": Proxy})
    keys = ["name", "listen", "tunnel.mtu", "tunnel.cipher", "log.level", "proxy"]
    assert config.changes(before, after) == keys
    assert config.changes(after, before) == keys
