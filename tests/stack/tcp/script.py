"""Packet scripts: a peer written line by line, in virtual time, against a whole host.

    == RFC 5961 3.2: a RST in the window, but not at RCV.NXT, is challenged
    established
    +0.1  < R 1
          > A 0 ack 0
          state ESTABLISHED
    +0.1  < R 0
          event CLOSED
          error reset

A file in ``scripts/`` has any number of cases; ``==`` begins one and is its name. What does not fit fails with the line,
what was expected, what left, and all that went before.

**Time.** A line begins with its instant in seconds, absolute (``1.5``) or after the line before (``+0.1``); a line
without one happens at the same instant. Before a line, every deadline up to its instant is served, each exactly when it
is due. What leaves and is expected by no line at that instant (to a microsecond) is a failure, always.

**Set-up**, before the first timed line:

==================================  =================================================================================
``config NAME=VALUE …``             fields of ``userlan.stack.tcp.Config``
``host NAME=VALUE …``               fields of ``userlan.stack.HostConfig``
``ip 6``                            addresses of IPv6 (else IPv4)
``peer mss=N wscale=N sackOK ts     the options of the peer's SYNs, and the window that it tells in octets; else
win=N``                             ``mss=1000 win=60000``. With ``ts`` its segments have timestamps by themselves
``established`` or ``accepted``     the handshake is over (10 ms ago it began): the script starts in ESTABLISHED
==================================  =================================================================================

**Segments.** ``< FLAGS SEQ …`` arrives, ``> FLAGS SEQ …`` leaves. ``> ...`` is whatever leaves at this instant.
Lines ``<`` that follow each other at one instant arrive as one batch.

- FLAGS: letters of S F R P A U, E (ECE), C (CWR), or ``-``.
- SEQ: ``1000`` or, with octets, ``0:1000``; 0 is the first octet of a stream, a SYN is at -1. ``@5`` is the number 5 itself.
- ``ack N``; ``win N`` in octets, scaling undone; ``unit N``: a super-segment of wire segments of N octets; ``mss N``,
  ``wscale N``, ``sackOK``; ``sack 5:10,20:30``; ``ts VALUE/ECHO``, each in milliseconds of its clock since the start, or
  ``*``; in the IP header ``ect0``, ``ect1``, ``ce``; ``nots``, ``nowscale``, ``nosack``: without.
- ``port N``, ``host N``: another port, or last octet of the address, of the peer.

Of what leaves these are compared always: flags, octets and their place, ``ack``, ``sack``, ECN codepoint, and that the
octets are those of the stream. The rest is compared when it is said.

**The application**: ``call connect``, ``call listen [backlog=N]``, ``call accept``, ``call send N [-> TAKEN]``,
``call read [-> N]``, ``call shutdown``, ``call close``, ``call abort``, ``call nodelay on|off``, ``call keepalive N|off``,
``call user_timeout N``, ``call grow N`` (N octets are sent, each flight acknowledged 10 ms later).

**The path**: ``icmp REASON seq N [len N] [mtu N]``: an error about our segment at N arrives; the reasons are those of
``reports.REASONS``. ``quiet``: nothing more than that the time passes.

**What is true now**: ``state NAME``; ``event NAME|…`` or ``event none`` (since the last such line); ``error NAME|none``;
``expect NAME OP VALUE`` with a name of ``lines.VALUES`` or a field of ``Connection.info``; ``expect counter NAME OP VALUE`` and
``expect host NAME OP VALUE`` for the counters of the connection and the host. OP: ``= != < <= > >=``.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.stack.tcp import notation
from tests.stack.tcp.lines import OPERATORS, TOLERANCE, VALUES, Line, literal, options_of, read_lines
from tests.stack.tcp.notation import PEER_ISN, Flow, NotationError, Text, difference, pattern
from tests.stack.tcp.reports import REASONS, report
from userlan.stack import Host, HostConfig, TcpAccepted, TcpEvent
from userlan.stack.tcp import Config, Connection, Events, Listener, State
from userlan.wire import superpacket, tcp
from userlan.wire.superpacket import SuperPacket
from userlan.wire.tcp import Flags, Segment, parse_segment

ROUND_TRIP = 0.010
"""Seconds, of the handshake that ``established`` and ``accepted`` make, and of ``call grow``."""
PORT = 80
PEER_PORT = 50_000
OURS = {4: bytes((25, 1, 1, 1)), 6: bytes.fromhex("fd00" + "00" * 13 + "01")}
MAX_DEADLINES = 100_000


class ScriptError(AssertionError):
    """What the script expects is not what happened; ``str(error)`` has the line and the trace."""


def run(script: str, name: str = "script") -> Script:
    """Run a script. Raises ScriptError."""
    made = Script(script, name)
    made.run()
    return made


class Script:
    """One case: ``host`` and ``connection`` may be looked at after ``run``."""

    def __init__(self, script: str, name: str) -> None:
        self.name = name
        self.connection: Connection | None = None
        self.now = 0.0
        self.start = 0.0
        self._lines = list(read_lines(script))
        self._version = 4
        self._config = Config()
        self._host_config: dict[str, Any] = {}
        self._peer: dict[str, Any] = {"mss": 1000, "win": 60_000}
        self._open: str | None = None
        self._line: Line | None = None
        self._flows: dict[tuple[int, int], Flow] = {}
        self._left: list[tuple[float, tuple[int, int], Segment, int]] = []
        self._accepted: list[Connection] = []
        self._events = 0
        self._read = 0
        self._sent = 0
        self._port = PORT
        self._own_port = PORT
        self._listener: Listener | None = None
        self._trace: list[str] = []
        self.host: Host

    def _fail(self, reason: str) -> None:
        line = self._line
        where = f"{self.name}:{line.number}: {line.text}" if line is not None else f"{self.name}: after the last line"
        raise ScriptError("\n  ".join([where, reason, "so far:", *self._trace[-40:]]))

    # ------------------------------------------------------------------ running

    def run(self) -> None:
        """Raises ScriptError."""
        steps = iter(self._lines)
        first: Line | None = None
        for self._line in steps:
            if not self._set_up(self._line):
                first = self._line
                break
        self._prepare()
        batch: list[Line] = []
        for line in [] if first is None else [first, *steps]:
            arrives = line.words[0] == "<"
            if batch and (line.time not in (None, 0.0) or not arrives):
                self._arrive(batch)
                batch = []
            self._line = line
            self._advance(line)
            if arrives:
                self._nothing_left()
                batch.append(line)
            else:
                self._step(line.words)
        self._arrive(batch)
        self._line = None
        self._nothing_left()

    def _set_up(self, line: Line) -> bool:
        """A line of set-up; False: it is the first step."""
        if line.time is not None:
            return False
        match line.words:
            case ["config", *words]:
                self._config = replace(self._config, **options_of(words))
            case ["host", *words]:
                self._host_config |= options_of(words)
            case ["ip", version]:
                self._version = int(version)
            case ["peer", *words]:
                self._peer |= options_of(words)
            case [("established" | "accepted") as word]:
                self._open = word
            case _:
                return False
        return True

    def _prepare(self) -> None:
        self.host = self._new_host()
        self.start = self.now = self._near_the_wrap()
        if self._open == "established":
            self._handshake(["call connect", "> S -1", "+0.010", "< SA -1 ack 0", "> A 0 ack 0"])
        elif self._open == "accepted":
            self._handshake(["call listen", "< S -1", "> SA -1 ack 0", "+0.010", "< A 0 ack 0", "call accept"])

    def _new_host(self) -> Host:
        made = Host(entropy=Random(1).randbytes, config=HostConfig(tcp=self._config, **self._host_config))
        made.add_address(OURS[self._version])
        return made

    def _near_the_wrap(self) -> float:
        """An instant of the host's clock at which our first sequence number is a few octets before the wrap."""
        trial = self._new_host()
        if self._open == "established" or any(line.words == ["call", "connect"] for line in self._lines):
            trial.tcp_connect((self._address(0), PORT), 0.0)
        else:
            trial.tcp_listen(PORT)
            syn = Segment(PEER_PORT, PORT, PEER_ISN, 0, Flags.SYN, 1000)
            trial.receive(tcp.build(syn, self._address(0), OURS[self._version]), 0.0)
        (packet,) = trial.packets(0.0)
        return (((1 << 32) - 16 - parse_segment(packet).seq) & notation.MASK) / 250_000

    def _handshake(self, steps: list[str]) -> None:
        self.start += ROUND_TRIP
        for step in steps:
            words = step.split()
            if words[0].startswith("+"):
                self._until(self.now + float(words[0]))
            elif words[0] == "<":
                self._deliver(words[1:])
                self._collect()
            elif words[0] == ">":
                self._left.clear()
            else:
                self._step(words)
        self._events = 0
        self.now = self.start

    # ------------------------------------------------------------------ time

    def _advance(self, line: Line) -> None:
        if line.time is None:
            return
        target = self.now + line.time if line.relative else self.start + line.time
        if target < self.now - TOLERANCE:
            self._fail(f"{target - self.start:.6f} is before {self.now - self.start:.6f}, where the script is")
        if target > self.now + TOLERANCE:
            self._nothing_left()
            self._until(target)

    def _until(self, target: float, watched: bool = True) -> None:
        """Serve every deadline up to ``target``. ``watched``: what leaves before it is a failure."""
        for _ in range(MAX_DEADLINES):
            deadline = self.host.deadline()
            if deadline is None or deadline > target + TOLERANCE:
                break
            self.now = max(self.now, deadline)
            self.host.tick(self.now)
            self._collect()
            if watched and self.now < target - TOLERANCE:
                self._nothing_left()
        else:
            self._fail("the deadline does not move on")
        self.now = max(self.now, target)

    def _collect(self) -> None:
        for packet in self.host.packets(self.now):
            self._take(packet)
        for event in self.host.events():
            if isinstance(event, TcpAccepted):
                self._accepted.append(event.connection)
            elif isinstance(event, TcpEvent) and event.connection is self.connection:
                self._events |= event.flags

    def _take(self, packet: SuperPacket) -> None:
        segment = parse_segment(packet)
        place = (packet.destination[-1] - 2, segment.destination_port - self._port)
        flow = self._flow(*place)
        flow.sent(segment, round((self.now - self.start) * 1000))
        ecn = packet.traffic_class & 3
        self._left.append((self.now, place, segment, ecn))
        self._note(">", segment, flow, ecn, place)

    def _note(self, direction: str, segment: Segment, flow: Flow, ecn: int, place: tuple[int, int]) -> None:
        which = f" host {place[0] + 2} port {place[1] + self._port}" if place != (0, 0) else ""
        text = notation.show(segment, flow, ecn, direction == ">")
        self._trace.append(f"{self.now - self.start:11.6f} {direction} {text}{which}")

    def _nothing_left(self) -> None:
        """Nothing must have left that no line expected."""
        if self._left:
            at, place, segment, ecn = self._left[0]
            text = notation.show(segment, self._flow(*place), ecn, True)
            self._fail(f"left at {at - self.start:.6f}, and no line before this one expects it: > {text}")

    # ------------------------------------------------------------------ the peer

    def _flow(self, host: int, port: int) -> Flow:
        return self._flows.setdefault((host, port), Flow())

    def _address(self, host: int) -> bytes:
        ours = OURS[self._version]
        return ours[:-1] + bytes((2 + host,))

    def _arrive(self, lines: list[Line]) -> None:
        for line in lines:
            self._line = line
            self._deliver(line.words[1:])
        if lines:
            self._collect()

    def _parse_segment(self, words: list[str]) -> tuple[Text, tuple[int, int]]:
        try:
            text = notation.read(words)
        except NotationError as error:
            self._fail(str(error))
        return text, (text.host - 2 if text.host else 0, text.port - self._port if text.port else 0)

    def _deliver(self, words: list[str]) -> None:
        text, place = self._parse_segment(words)
        flow = self._flow(*place)
        if text.flags & Flags.SYN:
            peer = self._peer
            text.mss = peer.get("mss") if text.mss is None else text.mss
            text.wscale = peer.get("wscale") if text.wscale is None and "nowscale" not in text.without else text.wscale
            text.sack_permitted |= bool(peer.get("sackOK")) and "nosack" not in text.without
        ticks = round((self.now - self.start) * 1000) if self._peer.get("ts") and "nots" not in text.without else None
        segment = notation.make(text, flow, (self._port + place[1], self._own_port), self._peer["win"], ticks)
        self._note("<", segment, flow, text.ecn, place)
        packet = tcp.build(segment, self._address(place[0]), OURS[self._version], traffic_class=text.ecn)
        self.host.receive(packet, self.now)

    def _expect_segment(self, words: list[str]) -> None:
        if words == ["..."]:
            self._left.clear()
            return
        wanted, place = self._parse_segment(words)
        if not self._left:
            self._fail("nothing left at this instant")
        _, where, segment, ecn = self._left.pop(0)
        if where != place:
            self._fail(f"to another peer: host {where[0] + 2} port {where[1] + self._port}")
        reason = difference(wanted, segment, self._flow(*place), ecn)
        if reason is not None:
            self._fail(f"{reason}\n  left: > {notation.show(segment, self._flow(*place), ecn, True)}")

    def _icmp(self, reason: str, options: dict[str, int]) -> None:
        if reason not in REASONS:
            self._fail(f"no such reason: {reason}")
        flow = self._flow(0, 0)
        seq = (flow.isn + 1 + options.get("seq", 0)) & notation.MASK
        quoted = Segment(self._own_port, self._port, seq, 0, Flags.ACK, 1000, payload=bytes(options.get("len", 0)))
        about = superpacket.cut(tcp.build(quoted, OURS[self._version], self._address(0)), True)[0]
        packet = report(reason, about, options.get("mtu", 0), self._address(200), OURS[self._version])
        self._trace.append(f"{self.now - self.start:11.6f} icmp {reason} {options}")
        self.host.receive(packet, self.now)

    # ------------------------------------------------------------------ steps

    def _step(self, words: list[str]) -> None:
        match words:
            case [">", *segment]:
                self._expect_segment(segment)
                return
            case ["call", *call]:
                self._nothing_left()
                self._call(call)
            case ["icmp", reason, *options]:
                self._nothing_left()
                pairs = zip(options[::2], options[1::2], strict=True)
                self._icmp(reason, {name: int(value) for name, value in pairs})
            case ["state", wanted]:
                self._compare("state", self._state().value, "=", wanted)
            case ["event", wanted]:
                names = [name for name in vars(Events) if name.isupper() and self._events & getattr(Events, name)]
                self._compare("event", set(names), "=", set(wanted.split("|")) - {"none"})
                self._events = 0
            case ["error", wanted]:
                self._compare("error", str(self._connection().error or "none"), "=", wanted)
            case ["expect", "counter", name, op, value]:
                self._compare(name, self._connection().counters[name], op, literal(value))
            case ["expect", "host", name, op, value]:
                self._compare(name, self.host.counters[name], op, literal(value))
            case ["expect", name, op, value]:
                self._compare(name, self._value(name), op, float(value) if value == "inf" else literal(value))
            case ["quiet"]:
                pass
            case _:
                self._fail("not a step of the grammar")
        self._collect()

    def _compare(self, name: str, got: Any, op: str, wanted: Any) -> None:
        if op not in OPERATORS:
            self._fail(f"no such operator: {op}")
        if not OPERATORS[op](got, wanted):
            self._fail(f"{name} is {got!r}")

    def _value(self, name: str) -> Any:
        connection = self._connection()
        if name in VALUES:
            return VALUES[name](connection)
        info = connection.info(self.now) if hasattr(connection, "info") else None
        if not hasattr(info, name):
            self._fail(f"no such value: {name}")
        return getattr(info, name)

    def _connection(self) -> Connection:
        if self.connection is None:
            self._fail("there is no connection yet: call connect, or call accept")
        assert self.connection is not None
        return self.connection

    def _state(self) -> State:
        connection = self._connection()
        return connection.state if connection.time_wait is None else connection.time_wait.state

    def _call(self, words: list[str]) -> None:
        match words:
            case ["connect"]:
                self.connection = self.host.tcp_connect((self._address(0), PORT), self.now)
                self._own_port = self.connection.local[1]
            case ["listen", *options]:
                self._port = PEER_PORT
                self._listener = self.host.tcp_listen(PORT, **options_of(options))
            case ["accept"]:
                if not self._accepted:
                    self._fail("no connection was accepted")
                self.connection = self._accepted.pop(0)
            case ["send", size, *taken]:
                self._send(int(size), int(taken[-1] if taken else size))
            case ["read", *wanted]:
                self._read_all(wanted)
            case [("shutdown" | "close" | "abort") as name]:
                getattr(self._connection(), name)(self.now)
            case ["nodelay", switch]:
                self._connection().no_delay = switch == "on"
            case ["keepalive", seconds]:
                self._connection().keep_alive(None if seconds == "off" else float(seconds), self.now)
            case ["user_timeout", seconds]:
                self._connection().user_timeout = float(seconds)
            case ["grow", octets]:
                self._grow(int(octets))
            case _:
                self._fail("no such call")

    def _send(self, size: int, wanted: int) -> None:
        taken = self._connection().send(pattern(self._sent, size), self.now)
        self._sent += taken
        if taken != wanted:
            self._fail(f"{taken} octets were taken")

    def _read_all(self, wanted: list[str]) -> None:
        got = b""
        while chunk := self._connection().receive():
            got += bytes(chunk)
        if got != pattern(self._read, len(got)):
            self._fail("other octets were read than the peer sent")
        self._read += len(got)
        if wanted and len(got) != int(wanted[-1]):
            self._fail(f"{len(got)} octets were read")

    def _grow(self, octets: int) -> None:
        connection = self._connection()
        goal = self._sent + octets
        while connection.sender.una - connection.initial - 1 < goal:
            self._send(goal - self._sent, min(goal - self._sent, connection.send_room))
            self._collect()
            self._until(self.now + ROUND_TRIP, watched=False)
            place, ack = self._value("rcv_nxt"), self._value("nxt")
            self._deliver(["A", str(place), "ack", str(ack)])
            self._collect()
            self._left.clear()
