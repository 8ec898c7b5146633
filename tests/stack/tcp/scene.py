"""One connection and a hand-written peer: inject a segment, see the exact answer.

Numbers are relative: 0 is the first octet of a stream, so a SYN stands at -1. Answers are lines such as
``"ACK seq=0 ack=5"`` or ``"PSH,ACK seq=0 ack=0 len=100"``; the segments themselves are in ``scene.last``.
"""

from __future__ import annotations

from userlan.stack.tcp import Config, Connection, Endpoint, Initial, InitialNumbers, Listener, State
from userlan.wire.tcp import Flags, Segment

LOCAL: Endpoint = (b"\x19\x01\x01\x01", 49_152)
REMOTE: Endpoint = (b"\x19\x01\x01\x02", 80)
OUR_ISN = 0xFFFFFFF0
"""Close to the wrap, so that every test crosses it."""
PEER_ISN = 0xFFFFFF00
MTU = 1420
START = 1000.0
MASK = 0xFFFFFFFF

_FLAGS = {"F": Flags.FIN, "S": Flags.SYN, "R": Flags.RST, "P": Flags.PSH, "A": Flags.ACK, "U": Flags.URG}
_NAMES = (
    (Flags.SYN, "SYN"), (Flags.FIN, "FIN"), (Flags.RST, "RST"), (Flags.PSH, "PSH"), (Flags.URG, "URG"), (Flags.ACK,
    "ACK"),
)  # fmt: skip


def entropy(size: int) -> bytes:
    return bytes(range(size))


def signed(number: int) -> int:
    number &= MASK
    return number - (1 << 32) if number >= 1 << 31 else number


class Scene:
    """``mss``, ``scale``, ``sack`` and ``timestamps`` are what the peer's SYN offers; ``window`` is its window
    (octets). Without a ``config`` nothing is paced, so that what may leave leaves at once."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        mss: int | None = 1000,
        scale: int | None = None,
        sack: bool = True,
        timestamps: bool = False,
        window: int = 60_000,
        mtu: int = MTU,
        passive: bool = False,
    ) -> None:
        self.config = config or Config(pacing=False)
        self.now = START
        self.window = window
        self.mss = mss
        self.scale = scale
        self.sack_permitted = sack
        self.timestamps = timestamps
        self.peer_clock = 500
        self.last: list[Segment] = []
        self.events = 0
        self._mtu = mtu
        initial = Initial(OUR_ISN, 0)
        if passive:
            self.listener = Listener((None, LOCAL[1]), self.config, InitialNumbers(entropy))
            made = self.listener.segment_arrived(self.segment("S", at=-1, ack=None), LOCAL, REMOTE, mtu, self.now)
            assert isinstance(made, Connection)
            self.connection = made
            self.our_isn = made.initial
        else:
            self.our_isn = OUR_ISN
            self.connection = Connection.connect(LOCAL, REMOTE, self.config, initial, mtu, self.now)

    # ------------------------------------------------------------------ what the peer does

    def segment(
        self,
        flags: str = "A",
        data: bytes = b"",
        *,
        at: int = 0,
        ack: int | None = 0,
        window: int | None = None,
        sack: tuple[tuple[int, int], ...] = (),
        timestamp: tuple[int, int] | None = None,
        unit: int = 0,
    ) -> Segment:
        """A segment of the peer: ``at`` is its sequence number, ``ack`` its acknowledgment, ``sack`` its blocks, all
        relative."""
        bits = sum(_FLAGS[name] for name in flags)
        isn = getattr(self, "our_isn", 0)
        segment = Segment(
            REMOTE[1],
            LOCAL[1],
            (PEER_ISN + 1 + at) & MASK,
            0 if ack is None or not bits & Flags.ACK else (isn + 1 + ack) & MASK,
            bits,
            self.window if window is None else window,
            0,
            data,
            unit,
            sack=tuple(((isn + 1 + left) & MASK, (isn + 1 + right) & MASK) for left, right in sack),
            timestamp=timestamp,
        )
        if bits & Flags.SYN:
            segment.mss = self.mss
            segment.window_scale = self.scale
            segment.sack_permitted = self.sack_permitted
        if self.timestamps and timestamp is None:
            self.peer_clock += 1
            segment.timestamp = (self.peer_clock, int(self.now * 1000) & MASK if bits & Flags.ACK else 0)
        return segment

    def inject(self, flags: str = "A", data: bytes = b"", **fields: object) -> list[str]:
        """A segment of the peer arrives; returns what leaves."""
        self.connection.segment_arrived(self.segment(flags, data, **fields), self.now)  # type: ignore[arg-type]
        return self.drain()

    # ------------------------------------------------------------------ what our side does

    def drain(self) -> list[str]:
        """Everything that is due now."""
        self.last = self.connection.transmit(self.now)
        self.events |= self.connection.take_events()
        return [self.brief(segment) for segment in self.last]

    def take_events(self) -> int:
        self.events |= self.connection.take_events()
        events, self.events = self.events, 0
        return events

    def send(self, data: bytes) -> list[str]:
        """The application sends; returns what leaves."""
        assert self.connection.send(data, self.now) == len(data)
        return self.drain()

    def wait(self, seconds: float) -> list[str]:
        """Time passes, with every deadline in it; returns what leaves."""
        end = self.now + seconds
        seen: list[Segment] = []
        for _ in range(10_000):
            deadline = self.connection.deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.connection.tick(self.now)
            self.drain()
            seen += self.last
        else:
            raise AssertionError("the deadline does not move on")
        self.now = end
        self.last = seen
        return [self.brief(segment) for segment in seen]

    def until_next(self) -> list[str]:
        """Go to the next deadline; returns what leaves there."""
        deadline = self.connection.deadline()
        assert deadline is not None
        return self.wait(deadline - self.now + 1e-9)

    def state(self) -> State:
        """As a call, so that a type checker does not take it for constant."""
        return self.connection.state

    def read(self) -> bytes:
        """All that is readable."""
        chunks = []
        while chunk := self.connection.receive():
            chunks.append(bytes(chunk))
        return b"".join(chunks)

    def brief(self, segment: Segment) -> str:
        names = ",".join(name for bit, name in _NAMES if segment.flags & bit)
        parts = [names, f"seq={signed(segment.seq - self.our_isn - 1)}"]
        if segment.flags & Flags.ACK:
            parts.append(f"ack={signed(segment.ack - PEER_ISN - 1)}")
        if segment.payload:
            parts.append(f"len={len(segment.payload)}")
        parts += [f"sack={signed(a - PEER_ISN - 1)}:{signed(b - PEER_ISN - 1)}" for a, b in segment.sack]
        return " ".join(parts)

    # ------------------------------------------------------------------ going somewhere

    def establish(self) -> Scene:
        """The handshake, which takes 10 ms; our first octet will be 0, and so will the peer's."""
        if self.connection.passive:
            self.drain()
            self.now += 0.010
            assert self.inject("A") == []
        else:
            self.drain()
            self.now += 0.010
            assert self.inject("SA", at=-1) == ["ACK seq=0 ack=0"]
        assert self.connection.state is State.ESTABLISHED
        self.take_events()
        return self

    def grow(self, octets: int = 40_000) -> int:
        """Send so many octets, each flight acknowledged at once, so that the window is large; returns the octets."""
        sent = acked = 0
        data = bytes(octets)
        self.now += 0.010
        while acked < octets:
            sent += self.connection.send(data[sent:], self.now)
            self.drain()
            acked = self.connection.sender.nxt - self.our_isn - 1
            self.now += 0.010
            self.connection.segment_arrived(self.segment("A", ack=acked), self.now)
        return acked


def established(config: Config | None = None, **options: object) -> Scene:
    """A scene after its handshake."""
    return Scene(config, **options).establish()  # type: ignore[arg-type]
