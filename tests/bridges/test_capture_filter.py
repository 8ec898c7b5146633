"""The language of filters: what each word chooses, how words are joined, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.capture_filter import MAX_DEPTH, MAX_LENGTH, FilterError, compile_filter
from tests.bridges.seeing import BEN, BROADCAST, CARL, GROUP, PEERS, datagram, seen
from tests.wire.examples import ALICE4, ALICE6, BOB4, BOB6, super_segment
from userlan.driver.watch import Seen
from userlan.lan.addresses import key_bytes, packed, text
from userlan.wire import etherip, icmp, icmpv6, igmp
from userlan.wire.fragment import fragment
from userlan.wire.membership import Query


class Names:
    """Ben and carl."""

    def addresses(self, name: str) -> Sequence[bytes]:
        for one in PEERS:
            if one.name == name:
                return [packed(one.ipv4), packed(one.ipv6)]
        raise ValueError(f"no member is called {name!r}")

    def peer(self, name: str) -> Callable[[bytes], bool]:
        for one in PEERS:
            if one.name == name:
                return key_bytes(one.key).__eq__
        raise ValueError(f"no member is called {name!r}")


def passes(words: str, one: Seen) -> bool:
    chooses = compile_filter(words, Names())
    assert chooses is not None
    return chooses(one)


UNITS = {
    "udp": seen(datagram("25.0.0.1", "25.0.0.2", (5000, 53))),
    "tcp": seen(super_segment(bytes(3_000), 1_000), "in", CARL),
    "tcp6": seen(super_segment(b"x", 0, (ALICE6, BOB6)), "in"),
    "ping": seen(icmp.build(icmp.Echo(True, 1, 2, b""), ALICE4, BOB4)),
    "ping6": seen(icmpv6.build(icmpv6.Echo(True, 1, 2, b""), ALICE6, BOB6)),
    "igmp": seen(igmp.build(Query(3, bytes(4)), packed("25.0.0.1"))),
    "frame": seen(etherip.build(bytes(60), ALICE6, BOB6), "in", CARL),
    "broadcast": seen(datagram("25.0.0.3", BROADCAST, (6000, 6001)), "in", CARL),
    "multicast": seen(datagram("25.0.0.1", GROUP, (5353, 5353)), key=b"", reason="nobody-hears"),
    "piece": seen(fragment(datagram(size=3_000), 1_000, 7)[0]),
}


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ("udp", "udp broadcast multicast piece"),
        ("UDP", "udp broadcast multicast piece"),
        ("tcp", "tcp tcp6"),
        ("icmp", "ping ping6"),
        ("icmp6", "ping6"),
        ("igmp", "igmp"),
        ("etherip", "frame"),
        ("ip6", "tcp6 ping6 frame"),
        ("not ip and not ip6", ""),
        ("broadcast", "broadcast"),
        ("multicast", "multicast igmp"),
        ("not unicast", "broadcast multicast igmp"),
        ("dropped", "multicast"),
        ("in", "tcp tcp6 frame broadcast"),
        ("out and not icmp", "udp multicast igmp piece"),
        ("peer carl", "tcp frame broadcast"),
        ("peer ben and tcp", "tcp6"),
        ("host 25.0.0.2", "udp piece"),
        ("host ben", "udp piece"),
        ("src host ben", ""),
        ("dst ben", "udp piece"),
        ("src carl", "broadcast"),
        ("src 25.0.0.1", "udp multicast igmp piece"),
        ("dst host [" + text(BOB6) + "]", "tcp6 ping6 frame"),
        ("net 25.0.0.0/8 and not icmp", "udp tcp broadcast multicast igmp piece"),
        ("src net 25.0.0.2/31", "broadcast"),
        ("dst net 224.0.0.0/4", "multicast igmp"),
        ("net fd75::/16", "tcp6 ping6 frame"),
        ("net ::/0", "tcp6 ping6 frame"),
        ("port 53", "udp"),
        ("src port 53", ""),
        ("dst port 53", "udp"),
        ("src port 5000", "udp"),
        ("port 5000-6000", "udp broadcast multicast"),
        ("tcp port 80", None),
        ("tcp and port 80", "tcp tcp6"),
        ("udp and (port 53 or broadcast)", "udp broadcast"),
        ("udp && ( port 53 || broadcast )", "udp broadcast"),
        ("!(udp||tcp)", "ping ping6 igmp frame"),
        ("! ! igmp", "igmp"),
        ("igmp or frame", None),
        ("tcp or udp and broadcast", "tcp tcp6 broadcast"),
        ("not tcp and in", "frame broadcast"),
    ],
)
def test_what_passes(words: str, chosen: str | None) -> None:
    if chosen is None:
        with pytest.raises(FilterError):
            compile_filter(words, Names())
        return
    assert {name for name, unit in UNITS.items() if passes(words, unit)} == set(chosen.split())


@pytest.mark.parametrize("words", ["", "  ", "\t\n"])
def test_nothing_said_is_everything(words: str) -> None:
    assert compile_filter(words, Names()) is None


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("frob", "at 'frob' the filter wants a filter's word"),
        ("udp tcp", "at 'tcp' the filter wants 'and', 'or' or the end"),
        ("udp and", "at its end the filter wants a filter's word"),
        ("(udp", "at its end the filter wants ')'"),
        ("udp)", "at ')' the filter wants"),
        ("()", "at ')' the filter wants a filter's word"),
        ("port", "at its end the filter wants a port"),
        ("port x", "at 'x' the filter wants a port"),
        ("port 65536", "at '65536' the filter wants a port"),
        ("port 9-5", "at '9-5' the filter wants a port"),
        ("port 5-", None),
        ("port ٣", "the filter wants a port"),
        ("net 25.0.0.0/40", "at '25.0.0.0/40' the filter wants a net"),
        ("net ben", "at 'ben' the filter wants a net"),
        ("host nobody", "at 'nobody': no member is called 'nobody'"),
        ("peer nobody", "at 'nobody': no member is called 'nobody'"),
        ("src", "at its end the filter wants a member's name or an address"),
        ("udp & tcp", "at '&'"),
        ("and", "at 'and' the filter wants a filter's word"),
        ("udp " * (MAX_LENGTH // 4 + 1), "characters"),
        ("(" * (MAX_DEPTH + 1) + "udp" + ")" * (MAX_DEPTH + 1), "parentheses"),
        ("not " * (MAX_DEPTH + 1) + "udp", "parentheses"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(words: str, wrong: str | None) -> None:
    if wrong is None:
        compile_filter(words, Names())
        return
    with pytest.raises(FilterError) as refused:
        compile_filter(words, Names())
    assert wrong in str(refused.value)
    assert "\n" not in str(refused.value)


def test_depth_is_of_what_is_inside_of_each_other() -> None:
    assert passes(" and ".join(["(not (tcp))"] * (2 * MAX_DEPTH)), UNITS["udp"])


@given(st.text(st.sampled_from("()!&| andortcpudp5-.:/\\'\0é"), max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused(words: str) -> None:
    try:
        chooses = compile_filter(words, Names())
    except FilterError:
        return
    if chooses is not None:
        for unit in UNITS.values():
            chooses(unit)


WORDS = ("udp", "tcp", "in", "dropped", "peer ben", "port 53", "broadcast", "ip6")
Tree = tuple[str, "Tree", "Tree"] | tuple[str, "Tree"] | str
trees: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.tuples(st.sampled_from(("and", "or")), inner, inner) | st.tuples(st.just("not"), inner),
    max_leaves=12,
)


def written(tree: Tree, outer: str = "or") -> str:
    """With as few parentheses as the grammar allows."""
    if isinstance(tree, str):
        return tree
    if len(tree) == 2:
        return f"not {written(tree[1], 'not')}"
    strength = {"or": 0, "and": 1, "not": 2}
    text = f"{written(tree[1], tree[0])} {tree[0]} {written(tree[2], tree[0])}"
    return f"({text})" if strength[outer] > strength[tree[0]] else text


def meant(tree: Tree, one: Seen) -> bool:
    if isinstance(tree, str):
        return passes(tree, one)
    if len(tree) == 2:
        return not meant(tree[1], one)
    left, right = meant(tree[1], one), meant(tree[2], one)
    return (left and right) if tree[0] == "and" else (left or right)


@given(trees, st.sampled_from(sorted(UNITS)))
def test_words_are_joined_as_they_are_meant(tree: Tree, name: str) -> None:
    assert passes(written(tree), UNITS[name]) == meant(tree, UNITS[name])


def test_keys_are_those_of_the_peers() -> None:
    assert [passes("peer ben", seen(datagram(), key=key)) for key in (BEN, CARL, b"")] == [True, False, False]
