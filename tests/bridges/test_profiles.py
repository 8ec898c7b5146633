"""The profiles of the discovery relay: what the file says is well-formed, and mistakes are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.profiles import CODEC_NAMES, Channel, Profile, Reached, built_in, read_profiles
from bridges.rewrite import CODECS


def test_every_profile_of_the_file_names_its_source_and_title() -> None:
    for profile in built_in().values():
        assert profile.source, profile.name
        assert profile.title, profile.name


@pytest.mark.parametrize(
    "name",
    [
        "ssdp",
        "ws-discovery",
        "netbios",
        "llmnr",
        "steam",
        "source-engine",
        "minecraft",
        "openttd",
        "teeworlds",
        "quake3",
        "warcraft3",
        "syncthing",
        "spotify-connect",
        "chromecast",
    ],
)
def test_the_named_programs_are_there(name: str) -> None:
    assert built_in()[name].name == name


def test_every_codec_is_named_by_some_profile_and_is_there() -> None:
    assert {profile.codec for profile in built_in().values()} == {"none", *CODEC_NAMES}
    assert set(CODECS) == set(CODEC_NAMES)


def test_no_two_profiles_on_by_default_claim_a_port() -> None:
    claimed: dict[int, str] = {}
    for profile in built_in().values():
        for channel in profile.channels if profile.default else ():
            for port in channel.ports:
                assert claimed.setdefault(port, profile.name) == profile.name, port


def test_a_channel_of_several_ports() -> None:
    channel = Channel(8303, last=8310, broadcast=True, groups=("ff02::1", "224.0.0.167"))
    assert list(channel.ports) == list(range(8303, 8311))
    assert channel.groups4 == ("224.0.0.167",)
    assert channel.groups6 == ("ff02::1",)
    assert channel.servers_listen
    assert not channel.clients_listen


def test_only_ports_that_a_searcher_listens_on_must_be_shared() -> None:
    query = Channel(27015, broadcast=True)
    assert Profile("a", channels=(query,)).reuse
    assert not Profile("a", channels=(query, Channel(4445, groups=("224.0.2.60",), role="announce"))).reuse
    assert Profile("a", channels=(query,)).channel_of(27015) is query
    assert Profile("a", channels=(query,)).channel_of(27016) is None


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        ("reply", Reached(0, "udp")),
        ("reply/tcp", Reached(0, "tcp")),
        ("445", Reached(445, "tcp")),
        ("22000/udp", Reached(22000, "udp")),
    ],
)
def test_what_is_reached_afterwards(written: str, reached: Reached) -> None:
    assert Reached.parse(written) == reached


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "this is no YAML"),
        ("name: x", "a list"),
        ("- x", "profile 0: "),
        ("- {title: x}", "name"),
        ("- {name: X, channels: [{port: 1, broadcast: yes}]}", "name: 'X' is not a name"),
        ("- {name: x}", "channels: a profile names at least"),
        ("- {name: x, channels: [{port: 0, broadcast: yes}]}", "port"),
        ("- {name: x, channels: [{port: 70000, broadcast: yes}]}", "port"),
        ("- {name: x, channels: [{port: 1}]}", "groups: name a multicast group, or set broadcast"),
        ("- {name: x, channels: [{port: 1, groups: [10.0.0.1]}]}", "is not a multicast address"),
        ("- {name: x, channels: [{port: 1, groups: [nas]}]}", "is not a numeric address"),
        ('- {name: x, channels: [{port: 1, groups: ["ff02:0::1"]}]}', "in its short form"),
        ("- {name: x, channels: [{port: 1, groups: [224.0.0.9, 224.0.0.9]}]}", "named twice"),
        ("- {name: x, channels: [{port: 9, last: 5, broadcast: yes}]}", "last: 5"),
        ("- {name: x, channels: [{port: 9, last: 500, broadcast: yes}]}", "last: 500"),
        ("- {name: x, channels: [{port: 65535, last: 65536, broadcast: yes}]}", "last"),
        ("- {name: x, channels: [{port: 9, broadcast: yes, role: loud}]}", "role"),
        ("- {name: x, channels: [{port: 9, last: 11, broadcast: yes}, {port: 10, broadcast: yes}]}", "belongs to two"),
        ("- {name: x, channels: [{port: 9, broadcast: yes}], codec: y}", "codec: 'y'"),
        ("- {name: x, channels: [{port: 9, broadcast: yes}], ports: [replies]}", "ports: 'replies'"),
        ("- {name: x, channels: [{port: 9, broadcast: yes}], ports: [99999/tcp]}", "ports: '99999/tcp'"),
        ("- {name: x, mdns: [http]}", "mdns: 'http'"),
        ("- {name: x, mdns: [_a._tcp], colour: red}", "colour"),
        ("- {name: x, mdns: [_a._tcp]}\n- {name: x, mdns: [_a._tcp]}", "two of that name"),
    ],
)
def test_mistakes_are_named(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_profiles(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_a_port_or_a_clear_error(written: str) -> None:
    try:
        reached = Reached.parse(written)
    except ValueError as refusal:
        said = str(refusal)
    else:
        said = ""
        assert 0 <= reached.port <= 65535
        assert reached.protocol in ("tcp", "udp")
    assert "\n" not in said
