"""Each technique as steps of both sides. ``sought`` is the side whose sockets are looked for, ``seeker`` the one that looks for them.

All of them begin at the common start. A side whose NAT gives each new endpoint a new port holds its candidates back until its steps have
had their turn (``HOLD``), so that the candidates use up no slot of the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from msgspec.structs import replace

from userlan.traversal.ends import BIRTHDAY_PROBES, BIRTHDAY_SOCKETS, End, block_sockets
from userlan.traversal.prediction import (
    DOUBT,
    LAST_PORT,
    Block,
    Forecast,
    Row,
    Window,
    block,
    comb,
    forecast,
    forecast_paused,
    rows,
    runs,
    weave,
)
from userlan.traversal.sides import Side, Transport
from userlan.traversal.step import MAX_PORTS, MAX_STEPS, Plan, Step

OPENING_TTL, NESTED_TTL = 2, 5
"""Hops: through the own NAT and no further; with a carrier's NAT behind it that is at most so far away."""
HOLD = 0.3
"""Seconds after the start at which a side whose ports must not move turns to the candidates."""
SETTLED = 0.010
"""Seconds between the common start and the first mapping: the reactor's turn, and the way to the NAT."""
QUIET_RATE, BUSY_RATE = 20.0, 100.0
"""Others' mappings a second below which few sockets do, and beyond which many are needed."""
QUIET_SOCKETS, USUAL_SOCKETS, BUSY_SOCKETS = 8, 16, 32
"""Sockets in a row. As many gaps say how busy the NAT is, and what it leaves out: two incremental ones need to know that best."""
ROW = 0.0001
"""Seconds between their packets."""
OPENED = 0.15
"""Seconds after which the seeker has searched the window."""
TCP_SOCKETS, ROW_TCP_SOCKETS = 16, 32
"""The same of TCP connections: each is one kernel's socket for each port that is tried; and where both sides look for each other, of which
half are opened after ``MEASURING_PAUSE``."""
CALM_TCP_SOCKETS = 8
"""Of these, as many as are opened in a row where the NAT leaves no ports out, so that none of them is passed over."""
MEASURING_PAUSE = 0.25
"""Seconds between both halves of a measurement that is to show how busy a NAT is (``prediction``): twice as long as its ports are
foreseen for. Longer, the rate would be known better than what others do by chance until then."""
WIDER = 384
"""Slots beyond the window for the second sweep, where the first one did not hit: the NAT is busier than it was seen to be."""
MAX_SLOTS, MAX_WIDER = 512, 768
"""Slots that are tried of a window, and beside it: with all rounds half of what a punch may send. A wider window is one of a NAT that was
hardly seen."""
SWEEP_AGAIN = 0.45
"""Seconds after the start of the second sweep."""
MAX_AIMED = 1024
"""Packets aimed at a predicted port and the few beside it."""
TCP_SWEEP = 48
"""Connection attempts of a side that goes through a window."""
WEAVE_SPACING, CALM_SPACING, TCP_SPACING = 0.0005, 0.0025, 0.00025
"""Seconds between the packets of two sides that look for each other: the sooner it is over, the less others do meanwhile. Where both NATs
are calm the first dozens of packets do, and what would leave until the answer comes is for nothing. Rows are as fast as a punch can."""
BESIDE = (1, 2, 3)
"""Ports after a measured one that are tried as well."""
WHOLE_TEETH = 6
"""Ports that are tried of a row in which some are passed over."""
MAX_SWEEP = 640
"""Packets of a side that goes through a window."""
MAX_WOVEN, TCP_CONNECTIONS = 1200, 64
"""Packets of a side where both look for each other; and connection attempts: as many as a node allows to a plan."""
SWEEP_GIVE_UP = 2.5
"""Seconds after which a row that was not hit has failed: after a kernel's second SYN, which makes good a lost one, and before the third.
A random port that over TCP looks as if it were the same for all costs less than 500 packets so."""
ROUND_GIVE_UP = 1.0
"""Seconds after which two rows that miss have failed: before a kernel's second SYNs, which would go to the same ports."""
TCP_UNSURE = 40.0
"""Others' mappings a second that may have been missed where ports are measured over TCP, little of which is seen before. Not where both
sides look for each other, which would become too wide for the connections that there are."""
MAX_COST = 2 * MAX_PORTS
"""Packets of one side's steps: half of what a punch sends at most (``punch.MAX_PROBES``), the rest is for candidates and what is heard."""


class Ends(NamedTuple):
    """A side and what its NAT comes to."""

    side: Side
    end: End


def sockets_for(rate: float, transport: Transport = "udp") -> int:
    """Fresh sockets that are measured on the side of a NAT with so many mappings of others a second."""
    if transport == "tcp":
        return TCP_SOCKETS
    return QUIET_SOCKETS if rate < QUIET_RATE else USUAL_SOCKETS if rate < BUSY_RATE else BUSY_SOCKETS


def host_of(side: Side) -> str:
    """The outside host of its new sockets."""
    return side.measured[-1].host if side.measured else side.host


def age(side: Side, start: float, transport: Transport) -> float:
    """Seconds between the last measured mapping and the first one of the punch. Over TCP the mapping was made by the SYN, and what was
    seen came after the answer to it."""
    made = max(sighting.at for sighting in side.measured) - side.one_way * (3 if transport == "tcp" else 1)
    return max(0.0, start - made) + SETTLED


def forecast_of(side: Side, transport: Transport, unsure: float = DOUBT[1]) -> Forecast | None:
    """Where a measured side's next mappings are."""
    policy = side.nat.policy(transport)
    return forecast(side.measured, step=policy.step, rate=policy.rate, unsure=unsure)


def prediction(seeker: Ends, sought: Ends, start: float, transport: Transport) -> tuple[Plan, Plan] | None:
    """The sought side's measured sockets, in a row, to the seeker's port; the seeker hits the row by a comb, then by a longer one."""
    if transport == "tcp":
        return _tcp_prediction(seeker, sought, start)
    ahead = forecast_of(sought.side, transport)
    if ahead is None:
        return None
    name = "prediction"
    sockets = len(sought.side.measured)
    window = ahead.window(age(sought.side, start, transport))
    slots = comb(window, sockets, ahead.noise)[:MAX_SLOTS]
    host = host_of(sought.side)
    first = _to(host, [ahead.port(slot) for slot in slots], rounds=2)
    outside = Window(window.last + 1, window.last + WIDER), Window(1, max(1, window.first - 1))
    beyond = [slot for one in outside for slot in comb(one, sockets, ahead.noise)][:MAX_WIDER]
    wider = _to(host, [ahead.port(slot) for slot in beyond], start=SWEEP_AGAIN, rounds=2, interval=0.5)
    again = _to(host, [ahead.port(slot) for slot in slots], start=SWEEP_AGAIN, rounds=3, interval=0.5)
    return Plan(name, _affordable((*first, *again, *wider))), Plan(name, _knock(seeker.side, sought.side, sockets), hold=HOLD)


def _tcp_prediction(seeker: Ends, sought: Ends, start: float) -> tuple[Plan, Plan] | None:
    """The same over TCP. By one host, and there is often but one to be asked by TCP, a mapping that is the same for all is not told from
    one that depends on the address; so the seeker's port is the measured one or one of the next. The sought side opens a row to each of
    them, the likeliest first, and the seeker's comb goes through all the rows."""
    ahead = forecast_of(sought.side, "tcp", TCP_UNSURE)
    if ahead is None:
        return None
    calm = ahead.noise < 1 / 16
    sockets = min(len(sought.side.measured), CALM_TCP_SOCKETS if calm else TCP_SOCKETS)
    near = _next_to(seeker)[: TCP_CONNECTIONS // sockets]
    window = ahead.window(age(sought.side, start, "tcp"))
    pace = 1 + ahead.noise
    stride = max(1, int(sockets * pace) // (2 if calm else WHOLE_TEETH))
    last = window.last + ceil(len(near) * sockets * pace)
    ports = [ahead.port(slot) for slot in range(window.first + stride - 1, last, stride)][:TCP_SWEEP]
    rows_ = tuple(
        Step(
            host_of(seeker.side), port, transport="tcp", sockets=sockets, fresh=True, start=number * sockets * TCP_SPACING,
            spacing=TCP_SPACING,
        )
        for number, port in enumerate(near)
    )  # fmt: skip
    swept = _to(host_of(sought.side), ports, transport="tcp", sockets=1, fresh=True, spacing=TCP_SPACING)[:MAX_STEPS]
    give_up = SWEEP_GIVE_UP
    return Plan("tcp-prediction", swept, give_up=give_up), Plan("tcp-prediction", rows_, give_up=give_up, hold=HOLD)


def _next_to(ends: Ends) -> list[int]:
    """The outside ports that a side's newest socket may have towards the peer, the likeliest first."""
    port = ends.side.measured[-1].port
    step = ends.side.nat.tcp.step or 1
    steps = (0, *BESIDE) if ends.end.drawn == "known" else (*BESIDE, BESIDE[-1] + 1)
    return [one for one in (port + number * step for number in steps) if 1 <= one <= LAST_PORT]


def block_of(ends: Ends) -> tuple[int, int]:
    """The first and the last port that a side's are drawn from: of the block that was seen, if it is one."""
    if ends.end.drawn == "block" and ends.side.measured:
        return block([sighting.port for sighting in ends.side.measured])
    return ends.end.space


def search(seeker: Ends, sought: Ends) -> tuple[Plan, Plan]:
    """Many sockets on the sought side, many probes to where their ports may be: a birthday, or a carrier's block from end to end."""
    chunked = sought.end.drawn == "block"
    low, high = block_of(sought)
    ports = high - low + 1
    sockets = block_sockets(ports) if chunked else BIRTHDAY_SOCKETS
    name = "chunked" if chunked else "birthday"
    host = host_of(sought.side)
    near = sought.side.nat.udp.allocation == "unknown" and sought.side.port
    steps: list[Step] = []
    if near:
        first = max(1, near - 16)
        steps.append(Step(host, first, count=min(64, 65535 - first), start=0.02))
    probes = min(BIRTHDAY_PROBES, ports)
    rounds = 2 if chunked else 1
    steps.append(Step(host, low, count=probes, last=high, scattered=True, start=0.03, rounds=rounds, interval=1.0))
    early = seeker.side.nat.early           # where it is not known the first round takes care, and the second one sees to a carrier's NAT
    ttls = [0 if early == "harmless" else opening_ttl(sought.side), opening_ttl(sought.side) if early == "moves" else 0]
    knocks = [
        Step(seeker.side.host, seeker.side.port or 1, sockets=sockets, start=float(number), spacing=0.0005, ttl=ttl)
        for number, ttl in enumerate(ttls)
    ]
    return Plan(name, tuple(steps), give_up=3.5), Plan(name, tuple(knocks), give_up=3.5, hold=HOLD)


def both_incremental(a: Ends, b: Ends, start: float, transport: Transport) -> tuple[Plan, Plan] | None:
    """Each side aims at the other's next ports. Who keeps one port is found by going through its window; where each packet moves the port
    of both, they draw each other's slots block by block (``prediction.weave``)."""
    if transport == "tcp":
        return _tcp_both_incremental(a, b, start)
    near, far = forecast_of(a.side, transport), forecast_of(b.side, transport)
    if near is None or far is None:
        return None
    calm = all(ahead.noise < 1 / 16 and ahead.rate < QUIET_RATE for ahead in (near, far))
    spacing = CALM_SPACING if calm else WEAVE_SPACING
    hosts, ages = (host_of(a.side), host_of(b.side)), (age(a.side, start, transport), age(b.side, start, transport))
    if a.end.one or b.end.one:
        windows = near.window(ages[0]), far.window(ages[1])
        through, against = float(windows[1].size), float(windows[0].size)
        if not b.end.one:
            through += against * far.pace(spacing)
        elif not a.end.one:
            against += through * near.pace(spacing)
        steps = (
            _swept(hosts[1], far, windows[1].first, ceil(through), spacing),
            _swept(hosts[0], near, windows[0].first, ceil(against), spacing),
        )
    else:
        here, there = weave(near, far, ages, spacing, MAX_WOVEN)
        steps = (_drawn(hosts[1], far, here, spacing), _drawn(hosts[0], near, there, spacing))
    hold = HOLD + spacing * max(sum(step.count for step in one) for one in steps)
    return Plan("both-incremental", steps[0], hold=hold), Plan("both-incremental", steps[1], hold=hold)


def _tcp_both_incremental(a: Ends, b: Ends, start: float) -> tuple[Plan, Plan] | None:
    """The same over TCP, where each packet is a connection: both open rows (``prediction.rows``). Who keeps one port is searched for as a
    seeker whose next ports are known."""
    if a.end.one or b.end.one:
        if not b.end.one:
            return _tcp_prediction(a, b, start)
        plans = _tcp_prediction(b, a, start)
        return plans and plans[::-1]
    policies = a.side.nat.tcp, b.side.nat.tcp
    near, far = (forecast_paused(one.side.measured, step=tcp.step, rate=tcp.rate) for one, tcp in zip((a, b), policies, strict=True))
    if near is None or far is None:
        return None
    ages = age(a.side, start, "tcp"), age(b.side, start, "tcp")
    sockets = min(len(a.side.measured), len(b.side.measured))
    here, there = rows(near, far, ages, TCP_SPACING, TCP_CONNECTIONS, sockets)
    return _opened_rows(host_of(b.side), far, here), _opened_rows(host_of(a.side), near, there)


def _opened_rows(host: str, ahead: Forecast, opened: Sequence[Row]) -> Plan:
    """A step for each row."""
    steps = tuple(
        Step(
            host, ahead.port(row.slot), transport="tcp", sockets=row.sockets, fresh=True, start=row.sent * TCP_SPACING, spacing=TCP_SPACING
        )
        for row in opened[:MAX_STEPS]
    )
    return Plan("tcp-both-incremental", steps, give_up=ROUND_GIVE_UP, hold=HOLD)


def _swept(host: str, ahead: Forecast, first: int, slots: int, spacing: float) -> tuple[Step, ...]:
    """Slots one after the other, from one measured socket."""
    ports = [ahead.port(first + slot) for slot in range(min(MAX_SWEEP, slots))]
    return _to(host, ports, sockets=1, fresh=True, spacing=spacing)


def _drawn(host: str, ahead: Forecast, blocks: Sequence[Block], spacing: float) -> tuple[Step, ...]:
    """A step for each block: its slots in random order. Of one in which the ports wrap round, the longer part."""
    steps: list[Step] = []
    for one in blocks:
        first, stride, length = max(runs([ahead.port(one.first + slot) for slot in range(one.size)]), key=lambda run: run.length)
        low, high = sorted((first, first + stride * (length - 1)))
        step = Step(
            host, low, count=min(one.packets, length), stride=abs(stride), last=high, scattered=True, sockets=1,
            fresh=True, start=one.sent * spacing, spacing=spacing,
        )  # fmt: skip
        steps.append(step)
    return tuple(steps)


def aimed_birthday(aimer: Ends, one: Ends, start: float) -> tuple[Plan, Plan] | None:
    """``one`` keeps one predictable port for all of the other's: many sockets aim at it and the few beside it, while it draws theirs."""
    ahead = forecast_of(one.side, "udp")
    if ahead is None:
        return None
    window = ahead.window(age(one.side, start, "udp"))
    low, high = block_of(aimer)
    ports = high - low + 1
    chunked = aimer.end.drawn == "block"
    sockets = block_sockets(ports) if chunked else BIRTHDAY_SOCKETS
    most = max(1, (ports // 2 if chunked else MAX_AIMED) // sockets)
    aims = [ahead.port(slot) for slot in range(window.first, window.last + 1)][:most]
    there = host_of(aimer.side)
    aimed = _to(host_of(one.side), aims, sockets=sockets, spacing=0.0005)
    drawn = Step(there, low, count=min(BIRTHDAY_PROBES, ports), last=high, scattered=True, sockets=1, fresh=True)
    return Plan("aimed-birthday", aimed, give_up=4.0, hold=HOLD), Plan("aimed-birthday", (drawn,), give_up=4.0, hold=HOLD)


def tcp_simultaneous(a: Side, b: Side) -> tuple[Plan, Plan]:
    """Both sides' measured sockets connect to each other's port and stay in it: simultaneous open (RFC 9293 3.5, RFC 5382 REQ-2).

    And to the next ones: a mapping that depends on the address is told from one that does not only by two hosts, and by TCP there is
    often but one.
    """
    plans = []
    for there in (b, a):
        port = there.measured[-1].port
        ports = [one for one in (port, *(port + step for step in BESIDE)) if 1 <= one <= LAST_PORT]
        plans.append(Plan("tcp-simultaneous", _to(host_of(there), ports, transport="tcp", sockets=1, fresh=True)))
    return plans[0], plans[1]


def opening_ttl(side: Side) -> int:
    """Hops of a packet that opens the own NAT, and a carrier's behind it, without getting to the other side's."""
    return NESTED_TTL if side.nat.nested else OPENING_TTL


def _knock(seeker: Side, sought: Side, sockets: int) -> tuple[Step, ...]:
    """The sought side's packets to the seeker's one port, at once, so that its sockets' ports are in a row. A seeker whose NAT moves its
    port gets none but answers, and one of which it is not known none before it has searched."""
    first = Step(seeker.host, seeker.port or 1, sockets=sockets, fresh=True, spacing=ROW, rounds=4, interval=0.3)
    if seeker.nat.early == "harmless":
        return (first,)
    if seeker.nat.early == "moves":
        return (replace(first, ttl=opening_ttl(sought)),)
    return replace(first, rounds=1, ttl=opening_ttl(sought)), replace(first, start=OPENED, rounds=3)


def _affordable(steps: Sequence[Step]) -> tuple[Step, ...]:
    """As many of the steps as a side may take and pay for; of the one that is too dear, its first ports."""
    left = MAX_COST
    taken: list[Step] = []
    for step in steps[:MAX_STEPS]:
        each = step.rounds * max(1, step.sockets)
        count = min(step.count, left // each)
        if not count:
            break
        taken.append(step if count == step.count else replace(step, count=count))
        left -= count * each
    return tuple(taken)


def _to(
    host: str,
    ports: Sequence[int],
    *,
    transport: Transport = "udp",
    sockets: int = 0,
    fresh: bool = False,
    start: float = 0.0,
    spacing: float = 0.001,
    rounds: int = 1,
    interval: float = 0.15,
) -> tuple[Step, ...]:
    """Steps to these ports in their order, one run after the other."""
    steps: list[Step] = []
    sent = 0
    for first, stride, length in runs(ports):
        step = Step(
            host, first, count=length, stride=stride, transport=transport, sockets=sockets, fresh=fresh,
            start=start + sent * spacing, spacing=spacing, rounds=rounds, interval=interval,
        )  # fmt: skip
        steps.append(step)
        sent += length * max(1, sockets)
    return tuple(steps)
