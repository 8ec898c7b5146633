"""One segment of a script as text (the grammar is at the head of :mod:`tests.stack.tcp.script`), read, made and compared.

Numbers are relative to a :class:`Flow`: 0 is the first octet of a stream, so a SYN stands at -1; clocks count
milliseconds from the script's start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from userlan.wire.tcp import Flags, Segment

MASK = 0xFFFFFFFF
PEER_ISN = 0xFFFFFF00
"""Close to the wrap, so that a few hundred octets cross it."""
UNKNOWN_ISN = 0x1000_0000
"""Stands for our first number where we sent no SYN: what answers a stray segment is then relative to what it acknowledged."""
PEER_CLOCK = 0xFFFFFF00

_FLAGS = {
    "S": Flags.SYN, "F": Flags.FIN, "R": Flags.RST, "P": Flags.PSH, "A": Flags.ACK, "U": Flags.URG, "E": Flags.ECE,
    "C": Flags.CWR,
}  # fmt: skip
ECN = ("not-ect", "ect1", "ect0", "ce")
"""The IP header's codepoints (RFC 3168 5) in the order of their numbers."""

WILD = None
Clock = tuple[int | None, int | None]


class NotationError(Exception):
    """A line that is not in the grammar; ``str(error)`` says which word."""


def signed(number: int) -> int:
    number &= MASK
    return number - (1 << 32) if number >= 1 << 31 else number


def pattern(start: int, length: int) -> bytes:
    """The octets of every stream at relative positions ``start`` on: what arrives can be checked without a copy."""
    repeated = bytes(range(251)) * (length // 251 + 2)
    return repeated[start % 251 : start % 251 + length]


@dataclass(slots=True)
class Flow:
    """One pair of endpoints: what relative numbers are relative to. ``clock``: milliseconds since the script began."""

    isn: int = UNKNOWN_ISN
    known: bool = False
    shift: int | None = None
    """The window scale of our SYN, None without."""
    peer_shift: int | None = None
    clock_base: int | None = None
    last_clock: int = 0
    """The last TSval that we sent, which the peer echoes."""

    def sent(self, segment: Segment, clock: int) -> None:
        """We sent a segment: learn from the first one where our numbers begin."""
        if segment.flags & Flags.SYN:
            self.isn, self.known = segment.seq, True
            self.shift = segment.window_scale
        if segment.timestamp is not None:
            if self.clock_base is None:
                self.clock_base = segment.timestamp[0] - clock
            self.last_clock = segment.timestamp[0]

    def shift_of(self, segment: Segment, ours: bool) -> int:
        """By how much the window of a segment is shifted: both SYNs must have had the option (RFC 7323 2.2)."""
        if segment.flags & Flags.SYN or self.shift is None or self.peer_shift is None:
            return 0
        return self.shift if ours else self.peer_shift


@dataclass(slots=True)
class Text:
    """A segment as a line has it. None: not said. ``seq`` of ``@n`` is ``absolute``."""

    flags: int = 0
    start: int = 0
    end: int = 0
    absolute: bool = False
    ack: int | None = None
    win: int | None = None
    unit: int | None = None
    mss: int | None = None
    wscale: int | None = None
    sack_permitted: bool = False
    clock: Clock | None = None
    without: set[str] = field(default_factory=set)
    sack: tuple[tuple[int, int], ...] = ()
    ecn: int = 0
    host: int = 0
    port: int = 0


def _clock(text: str) -> Clock:
    value, _, echo = text.partition("/")
    return (WILD if value == "*" else int(value), WILD if echo in ("*", "") else int(echo))


def _blocks(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (block.split(":") for block in text.split(","))
    return tuple((int(left), int(right)) for left, right in pairs)


_NUMBERS = dict.fromkeys(("ack", "win", "unit", "mss", "wscale", "host", "port"), int)
_VALUES: dict[str, Callable[[str], object]] = {**_NUMBERS, "ts": _clock, "sack": _blocks}


def read(words: list[str]) -> Text:
    """``FLAGS SEQ[:END] [NAME VALUE]…``. Raises NotationError."""
    try:
        text = Text()
        text.flags = 0 if words[0] == "-" else sum(_FLAGS[letter] for letter in words[0])
        place = words[1]
        if place.startswith("@"):
            text.absolute, place = True, place[1:]
        start, _, end = place.partition(":")
        text.start = int(start)
        text.end = int(end) if end else text.start
        rest = iter(words[2:])
        for word in rest:
            if word in _VALUES:
                setattr(text, "clock" if word == "ts" else word, _VALUES[word](next(rest)))
            elif word == "sackOK":
                text.sack_permitted = True
            elif word in ("nots", "nowscale", "nosack"):
                text.without.add(word)
            elif word in ECN:
                text.ecn = ECN.index(word)
            else:
                raise NotationError(f"no such word in a segment: {word!r}")
    except (KeyError, ValueError, IndexError, StopIteration) as error:
        raise NotationError(f"not a segment: {' '.join(words)!r} ({error!r})") from error
    return text


def make(text: Text, flow: Flow, ports: tuple[int, int], window: int, clock: int | None) -> Segment:
    """The segment that the peer sends. ``window``: octets, unless the line says; ``clock``: its TSval, None: without."""
    segment = Segment(
        *ports,
        seq=text.start if text.absolute else (PEER_ISN + 1 + text.start) & MASK,
        ack=(flow.isn + 1 + text.ack) & MASK if text.ack is not None else 0,
        flags=text.flags,
        payload=pattern(text.start, text.end - text.start),
        segment_size=text.unit or 0,
        mss=text.mss,
        window_scale=text.wscale,
        sack_permitted=text.sack_permitted,
        sack=tuple(((flow.isn + 1 + left) & MASK, (flow.isn + 1 + right) & MASK) for left, right in text.sack),
    )
    if text.flags & Flags.SYN:
        flow.peer_shift = text.wscale
    segment.window = (window if text.win is None else text.win) >> flow.shift_of(segment, False)
    if text.clock is not None:
        value, echo = text.clock
        shown = (clock or 0) if value is None else value
        echoed = flow.last_clock if echo is None else (flow.clock_base or 0) + echo
        segment.timestamp = ((PEER_CLOCK + shown) & MASK, echoed & MASK)
    elif clock is not None:
        echoed = flow.last_clock if text.flags & Flags.ACK else 0
        segment.timestamp = ((PEER_CLOCK + clock) & MASK, echoed)
    return segment


def clocks(segment: Segment, flow: Flow, ours: bool) -> tuple[int, int]:
    """Value and echo of the timestamps of a segment that has them, relative; a SYN alone echoes nothing, that is 0."""
    assert segment.timestamp is not None
    value, echo = segment.timestamp
    bases = ((flow.clock_base or 0), PEER_CLOCK)
    own, other = bases if ours else bases[::-1]
    return signed(value - own), signed(echo - other) if segment.flags & Flags.ACK else echo


def flags_of(flags: int) -> str:
    return "".join(letter for letter, bit in _FLAGS.items() if flags & bit) or "-"


def show(segment: Segment, flow: Flow, ecn: int, ours: bool) -> str:
    """A segment as a line would have it, with everything in it. ``ours``: it left; else the peer sent it."""
    own, other = (flow.isn, PEER_ISN) if ours else (PEER_ISN, flow.isn)
    size = len(segment.payload)
    start = signed(segment.seq - own - 1)
    parts = [flags_of(segment.flags), f"{start}:{start + size}" if size else str(start)]
    if segment.flags & Flags.ACK:
        parts.append(f"ack {signed(segment.ack - other - 1)}")
    parts.append(f"win {segment.window << flow.shift_of(segment, ours)}")
    if segment.segment_size:
        parts.append(f"unit {segment.segment_size}")
    if segment.mss is not None:
        parts.append(f"mss {segment.mss}")
    if segment.window_scale is not None:
        parts.append(f"wscale {segment.window_scale}")
    if segment.sack_permitted:
        parts.append("sackOK")
    if segment.timestamp is not None:
        value, echo = clocks(segment, flow, ours)
        parts.append(f"ts {value}/{echo}")
    if segment.sack:
        parts.append("sack " + ",".join(f"{signed(a - other - 1)}:{signed(b - other - 1)}" for a, b in segment.sack))
    if ecn:
        parts.append(ECN[ecn])
    return " ".join(parts)


def difference(text: Text, segment: Segment, flow: Flow, ecn: int) -> str | None:
    """Why the segment that left is not the one that the line expects; None: it is.

    Compared always: flags, octets and their place, ACK, SACK blocks, ECN codepoint. Compared when said: the rest.
    """
    size = len(segment.payload)
    start = segment.seq if text.absolute else signed(segment.seq - flow.isn - 1)
    acked = signed(segment.ack - PEER_ISN - 1) if segment.flags & Flags.ACK else None
    blocks = tuple((signed(a - PEER_ISN - 1), signed(b - PEER_ISN - 1)) for a, b in segment.sack)
    checks: list[tuple[str, object, object]] = [
        ("flags", flags_of(text.flags), flags_of(segment.flags)),
        ("octets", (text.start, text.end), (start, start + size)),
        ("ack", text.ack, acked),
        ("sack", text.sack, blocks),
        ("ecn", ECN[text.ecn], ECN[ecn]),
        ("data", pattern(text.start, size) if size else b"", bytes(segment.payload)),
    ]
    said = ((text.win, segment.window << flow.shift_of(segment, True)), (text.unit, segment.segment_size), (text.mss, segment.mss))
    checks += [(name, wanted, got) for name, (wanted, got) in zip(("win", "unit", "mss"), said, strict=True) if wanted is not None]
    if text.wscale is not None or "nowscale" in text.without:
        checks.append(("wscale", text.wscale, segment.window_scale))
    if text.sack_permitted or "nosack" in text.without:
        checks.append(("sackOK", text.sack_permitted, segment.sack_permitted))
    for name, wanted, got in checks:
        if wanted != got:
            return "other octets than the stream has there" if name == "data" else f"{name}: {wanted} expected, {got} left"
    return _clock_difference(text, segment, flow)


def _clock_difference(text: Text, segment: Segment, flow: Flow) -> str | None:
    """Our own clock may be a tick off, since it is cut to milliseconds; the echo is exact."""
    if "nots" in text.without and segment.timestamp is not None:
        return "ts: none expected"
    if text.clock is None:
        return None
    if segment.timestamp is None:
        return "ts: expected, none left"
    value, echo = clocks(segment, flow, True)
    wanted_value, wanted_echo = text.clock
    if wanted_value is not None and abs(wanted_value - value) > 1:
        return f"ts: value {wanted_value} expected, {value} left"
    if wanted_echo is not None and wanted_echo != echo:
        return f"ts: echo {wanted_echo} expected, {echo} left"
    return None
