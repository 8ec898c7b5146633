"""How forwards and exposed services are written; flows; where to listen."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.flows import FlowTable
from bridges.listen import parse_listen
from bridges.proxy import ProxyOptions
from bridges.rules import ExposeRule, ForwardRule


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("8080:nas:80", ForwardRule(8080, "nas", 80)),
        ("0:NAS.home:80/tcp", ForwardRule(0, "nas.home", 80)),
        ("5353:nas:53/udp", ForwardRule(5353, "nas", 53, protocol="udp")),
        ("0.0.0.0:8080:25.1.2.3:80", ForwardRule(8080, "25.1.2.3", 80, "0.0.0.0")),
        ("localhost:8080:nas:80", ForwardRule(8080, "nas", 80)),
        ("[::1]:8080:[fd75::2]:80/UDP", ForwardRule(8080, "fd75::2", 80, "::1", "udp")),
    ],
)
def test_forwards(written: str, rule: ForwardRule) -> None:
    assert ForwardRule.parse(written) == rule
    assert ForwardRule.parse(str(rule)) == rule


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "is not"),
        ("8080", "as in 8080:nas:80"),
        ("8080:nas", "is not"),
        ("8080:nas:", "is not"),
        ("8080::80", "is not"),
        ("99999:nas:80", "'99999' is not a port"),
        ("8080:nas:0", "'0' is not a port"),
        ("8080:nas:http", "'http' is not a port"),
        ("8080:n as:80", "neither a host name nor an address"),
        ("8080:nas:80/sctp", "tcp or udp, not 'sctp'"),
        ("nas:8080:nas:80", "'nas' is not a numeric address to listen on"),
        ("8080:fd75::2:80", "write an IPv6 address in brackets"),
        ("1:2:3:4:5", "is not"),
        ("[::1:8080:nas:80", "is not"),
    ],
)
def test_wrong_forwards_say_what_is_wrong(written: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        ForwardRule.parse(written)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_forward_or_a_clear_error(written: str) -> None:
    try:
        rule = ForwardRule.parse(written)
    except ValueError:
        return
    assert ForwardRule.parse(str(rule)) == rule


def test_which_forward_is_meant() -> None:
    rule = ForwardRule.parse("8080:nas:80")
    for written in ("8080", "127.0.0.1:8080", "8080/tcp", "8080:nas:80"):
        assert rule.named_by(written)
    for written in ("8081", "8080/udp", "0.0.0.0:8080", "8080:nas:81"):
        assert not rule.named_by(written)
    for written in ("", "x", "8080:"):
        with pytest.raises(ValueError):
            rule.named_by(written)


@pytest.mark.parametrize(
    ("written", "host", "service_port", "protocol", "port", "name"),
    [
        ("8000", "", 8000, "tcp", 8000, ""),
        ("localhost:8000", "", 8000, "tcp", 8000, ""),
        ("8000 --as 80 --name web", "", 8000, "tcp", 80, "web"),
        ("192.168.1.5:80 --as 8080", "192.168.1.5", 80, "tcp", 8080, ""),
        ("[::1]:3000", "::1", 3000, "tcp", 3000, ""),
        ("printer.lan:631", "printer.lan", 631, "tcp", 631, ""),
        ("53/udp", "", 53, "udp", 53, ""),
        ("127.0.0.1:53/udp", "127.0.0.1", 53, "udp", 53, ""),
    ],
)
def test_exposed(written: str, host: str, service_port: int, protocol: str, port: int, name: str) -> None:
    rule = ExposeRule.parse(written)
    found = (rule.host, rule.service_port, rule.protocol, rule.port, rule.name)
    assert found == (host, service_port, protocol, port, name)
    assert msgspec.convert(msgspec.to_builtins(rule), ExposeRule) == rule


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("", "is not [HOST:]PORT[/udp]"),
        ("http", "is not [HOST:]PORT[/udp]"),
        ("0", "'0' is not a port"),
        ("70000", "'70000' is not a port"),
        (":80", "is not [HOST:]PORT"),
        ("nas:", "is not a port"),
        ("::1:80", "in brackets"),
        ("80/icmp", "tcp or udp"),
        ("printer.lan:53/udp", "numeric address"),
        ("80 --as", "is not"),
        ("80 --as x", "'x' is not a port"),
        ("80 --foo 1", "is not"),
        ("80 --name " + "x" * 64, "at most 63"),
    ],
)
def test_wrong_services_say_what_is_wrong(written: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        ExposeRule.parse(written)
    assert says in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_service_or_a_clear_error(written: str) -> None:
    try:
        rule = ExposeRule.parse(written)
    except ValueError:
        return
    assert 1 <= rule.port <= 65535


def test_which_service_is_meant() -> None:
    rule = ExposeRule("8000", 80, "web")
    for written in ("8000", "80", "web", "localhost:8000", "80/tcp"):
        assert rule.named_by(written)
    for written in ("81", "80/udp", "other", "127.0.0.2:8000", ""):
        assert not rule.named_by(written)


def test_who_may_be_allowed() -> None:
    ExposeRule("80", allow=("bob", "bob.home", "*.home", "A" * 43))
    for wrong in ("", "bob cat", "*", "*.*"):
        with pytest.raises(ValueError, match="allow: "):
            ExposeRule("80", allow=(wrong,))


# --- where to listen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("127.0.0.1:1055", "127.0.0.1", 1055),
        ("localhost:0", "127.0.0.1", 0),
        ("[::1]:1", "::1", 1),
        ("*:80", "0.0.0.0", 80),
    ],
)
def test_listen(written: str, host: str, port: int) -> None:
    assert parse_listen(written) == (host, port)


@pytest.mark.parametrize("written", ["", "1055", "nas:1055", "127.0.0.1:x", "127.0.0.1:65536", "::1:80"])
def test_wrong_listen(written: str) -> None:
    with pytest.raises(ValueError):
        parse_listen(written)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"listen": "0.0.0.0:1055"}, "listen: 0.0.0.0 is open to others"),
        ({"listen": "nas:1055"}, "listen: "),
        ({"user": "anna"}, "user: user and password go together"),
        ({"password": "x"}, "password: user and password go together"),
        ({"user": "a:b", "password": "x"}, "user: the user name must not hold a colon"),
    ],
)
def test_wrong_options_name_their_key(keys: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        ProxyOptions(**keys)  # type: ignore[arg-type]
    assert str(caught.value).startswith(says)


def test_options_that_are_meant() -> None:
    ProxyOptions(listen="0.0.0.0:1055", user="anna", password="secret")
    ProxyOptions(listen="0.0.0.0:1055", unprotected=True)
    ProxyOptions(listen="none")


# --- flows ------------------------------------------------------------------------------------------------------------


def test_idle_flows_end() -> None:
    flows: FlowTable[str, str] = FlowTable(capacity=10, idle=120)
    assert flows.add("a", "A", 0) == []
    assert flows.add("b", "B", 10) == []
    assert flows.use("a", 100) == "A"
    assert flows.expire(129.9) == []
    assert flows.expire(130) == ["B"]
    assert flows.use("b", 131) is None
    assert flows.expire(220) == ["A"]
    assert len(flows) == 0


def test_the_flow_used_longest_ago_gives_way() -> None:
    flows: FlowTable[int, int] = FlowTable(capacity=2, idle=120)
    flows.add(1, 1, 0)
    flows.add(2, 2, 1)
    flows.use(1, 2)
    assert flows.add(3, 3, 3) == [2]
    assert flows.add(3, 33, 4) == [3]
    assert sorted(flows.clear()) == [1, 33]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=60))
def test_flows_are_neither_lost_nor_more_than_the_capacity(steps: list[tuple[int, int]]) -> None:
    flows: FlowTable[int, int] = FlowTable(capacity=4, idle=60)
    now, made, ended = 0, 0, 0
    for key, wait in steps:
        now += wait
        ended += len(flows.expire(now))
        if flows.use(key, now) is None:
            made += 1
            ended += len(flows.add(key, made, now))
        assert len(flows) <= 4
        assert len(flows) == made - ended
