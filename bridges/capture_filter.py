"""The language in which packets are chosen: ``peer ben and (port 5353 or dropped)``. Sans-IO.

::

    expression  =  term { ("or" | "||") term }
    term        =  factor { ("and" | "&&") factor }
    factor      =  ("not" | "!") factor  |  "(" expression ")"  |  primitive
    primitive   =  "peer" NAME                              a member by name or address; "mediator"
                |  [end] "host" (NAME | ADDRESS)
                |  [end] "net" ADDRESS "/" LENGTH
                |  [end] "port" NUMBER [ "-" NUMBER ]        of TCP or UDP
                |  end (NAME | ADDRESS)                      as with "host"
                |  "ip" | "ip6" | "tcp" | "udp" | "icmp" | "icmp6" | "igmp" | "etherip"
                |  "unicast" | "broadcast" | "multicast" | "in" | "out" | "dropped"
    end         =  "src" | "dst"                             else it is either of them

``icmp`` is that of either version. Ports are those of whole datagrams and segments: fragments have none. Names are looked up once,
when the text is compiled. Case matters in nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from userlan.driver.watch import Seen

Predicate = Callable[[Seen], bool]

MAX_LENGTH = 4_096
"""Characters: a filter is typed, and each word of it is asked of each packet."""
MAX_DEPTH = 50
"""Parentheses and negations inside of each other: the parser and the predicate call themselves."""

TCP, UDP = 6, 17
PROTOCOLS = {"tcp": (TCP,), "udp": (UDP,), "icmp": (1, 58), "icmp6": (58,), "igmp": (2,), "etherip": (97,)}
"""Numbers of the protocols that have a word."""

_WORD = re.compile(r"\s*(\(|\)|!|&&|\|\||[^\s()!&|]+|.)")
_WORDS = {"&&": "and", "||": "or", "!": "not"}
_ENDS = ("src", "dst")
_Answer = TypeVar("_Answer")


class FilterError(ValueError):
    """The text is no filter; ``str()`` is one line that says where."""


class Names(Protocol):
    """Who is who, when a filter is compiled. Both raise ValueError with one line for people."""

    def addresses(self, name: str) -> Sequence[bytes]:
        """The packed addresses of a member."""

    def peer(self, name: str) -> Callable[[bytes], bool]:
        """Whether a key is the one of whom is meant."""


def compile_filter(text: str, names: Names) -> Predicate | None:
    """What a filter lets pass; None: everything, where the text says nothing. Raises FilterError."""
    if len(text) > MAX_LENGTH:
        raise FilterError(f"a filter has {MAX_LENGTH} characters at the most")
    words = [_WORDS.get(word, word) for word in _WORD.findall(text) if word.strip()]
    if not words:
        return None
    return _Parser(words, names).whole()


class _Parser:
    """Of one text, by recursive descent."""

    def __init__(self, words: list[str], names: Names) -> None:
        self._words = words
        self._names = names
        self._place = 0
        self._depth = 0

    def whole(self) -> Predicate:
        predicate = self._expression()
        if self._place < len(self._words):
            raise self._wrong("'and', 'or' or the end")
        return predicate

    def _expression(self) -> Predicate:
        return self._joined("or", self._term, any)

    def _term(self) -> Predicate:
        return self._joined("and", self._factor, all)

    def _joined(self, word: str, operand: Callable[[], Predicate], of: Callable[[Iterable[bool]], bool]) -> Predicate:
        operands = [operand()]
        while self._next_is(word):
            operands.append(operand())
        if len(operands) == 1:
            return operands[0]
        return lambda seen: of(one(seen) for one in operands)

    def _factor(self) -> Predicate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FilterError(f"a filter has {MAX_DEPTH} parentheses inside of each other at the most")
        if self._next_is("not"):
            inner = self._factor()
            predicate: Predicate = lambda seen: not inner(seen)     # noqa: E731 - one of many small closures
        elif self._next_is("("):
            predicate = self._expression()
            if not self._next_is(")"):
                raise self._wrong("')'")
        else:
            predicate = self._primitive()
        self._depth -= 1
        return predicate

    def _primitive(self) -> Predicate:
        word = self._take("a filter's word").lower()
        if word in _ENDS:
            return self._of_an_end(word)
        if word in ("host", "net", "port"):
            return self._of_addresses(word, _ENDS)
        if word == "peer":
            is_peer = self._ask(self._names.peer, self._take("a member's name"))
            return lambda seen: is_peer(seen.key)
        if word in PROTOCOLS:
            numbers = PROTOCOLS[word]
            return lambda seen: seen.packet.protocol in numbers
        if word in ("ip", "ip6"):
            version = 6 if word == "ip6" else 4
            return lambda seen: seen.packet.version == version
        if word in ("unicast", "broadcast", "multicast"):
            return lambda seen: seen.cast == word
        if word in ("in", "out"):
            return lambda seen: seen.direction == word
        if word == "dropped":
            return lambda seen: seen.reason is not None
        self._place -= 1
        raise self._wrong("a filter's word")

    def _of_an_end(self, end: str) -> Predicate:
        """What follows ``src`` or ``dst``."""
        for word in ("host", "net", "port"):
            if self._next_is(word):
                return self._of_addresses(word, (end,))
        return self._of_addresses("host", (end,))

    def _of_addresses(self, word: str, ends: tuple[str, ...]) -> Predicate:
        either, source = len(ends) == 2, ends[0] == "src"
        if word == "port":
            low, high = self._ports()
            return _at_ports(low, high, source, either or not source)
        holds = self._host() if word == "host" else self._net()
        if either:
            return lambda seen: holds(seen.packet.source) or holds(seen.packet.destination)
        if source:
            return lambda seen: holds(seen.packet.source)
        return lambda seen: holds(seen.packet.destination)

    def _host(self) -> Callable[[bytes], bool]:
        word = self._take("a member's name or an address")
        try:
            addresses = frozenset((ipaddress.ip_address(word.removeprefix("[").removesuffix("]")).packed,))
        except ValueError:
            addresses = frozenset(self._ask(self._names.addresses, word))
        return addresses.__contains__

    def _net(self) -> Callable[[bytes], bool]:
        word = self._take("a net, as 25.0.0.0/8")
        try:
            net = ipaddress.ip_network(word, strict=False)
        except ValueError:
            self._place -= 1
            raise self._wrong("a net, as 25.0.0.0/8") from None
        size, shift = net.max_prefixlen // 8, net.max_prefixlen - net.prefixlen
        wanted = int(net.network_address) >> shift
        return lambda address: len(address) == size and int.from_bytes(address, "big") >> shift == wanted

    def _ports(self) -> tuple[int, int]:
        word = self._take("a port, or two as 5000-5010")
        low, _, high = word.partition("-")
        numbers = [int(part) if part.isascii() and part.isdigit() and len(part) <= 5 else -1 for part in (low, high or low)]
        if not 0 <= numbers[0] <= numbers[1] <= 0xFFFF:
            self._place -= 1
            raise self._wrong("a port, or two as 5000-5010")
        return numbers[0], numbers[1]

    def _ask(self, ask: Callable[[str], _Answer], word: str) -> _Answer:
        try:
            return ask(word)
        except ValueError as error:
            raise FilterError(f"{self._where(self._place - 1)}: {error}") from None

    def _take(self, wanted: str) -> str:
        if self._place >= len(self._words):
            raise self._wrong(wanted)
        self._place += 1
        return self._words[self._place - 1]

    def _next_is(self, word: str) -> bool:
        if self._place < len(self._words) and self._words[self._place].lower() == word:
            self._place += 1
            return True
        return False

    def _wrong(self, wanted: str) -> FilterError:
        return FilterError(f"{self._where(self._place)} the filter wants {wanted}")

    def _where(self, place: int) -> str:
        return f"at {self._words[place]!r}" if place < len(self._words) else "at its end"


def _at_ports(low: int, high: int, source: bool, destination: bool) -> Predicate:
    def predicate(seen: Seen) -> bool:
        packet = seen.packet
        if packet.protocol not in (TCP, UDP) or packet.fragment:
            return False
        place = packet.transport_offset
        first, second = packet.header[place : place + 2], packet.header[place + 2 : place + 4]
        return (source and low <= int.from_bytes(first, "big") <= high) or (destination and low <= int.from_bytes(second, "big") <= high)

    return predicate
