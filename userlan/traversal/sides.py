"""The two ends of a pair as a mediator knows them, and its verdict on them: the words of ``plans``."""

from __future__ import annotations

from typing import Literal, NamedTuple

from userlan.traversal.nat import UNKNOWN, NatBehaviour
from userlan.traversal.step import Plan

Transport = Literal["udp", "tcp"]


class Sighting(NamedTuple):
    """One measured socket: its ``number`` in the order of sending, where it was seen from, and when (seconds, of the mediator's clock)."""

    number: int
    host: str
    port: int
    at: float


class Side(NamedTuple):
    """One end as the mediator knows it.

    ``host`` and ``port``: where its main socket is seen (port 0: not by UDP). ``one_way``: seconds, of its control link; ``jitter``: by how
    much it varies. ``mapped``: the outside port that its router gave it by PCP, NAT-PMP or UPnP, 0: none. ``ipv6``: a candidate of its
    is a public IPv6 address.
    """

    nat: NatBehaviour = UNKNOWN
    host: str = ""
    port: int = 0
    measured: tuple[Sighting, ...] = ()
    one_way: float = 0.05
    jitter: float = 0.0
    mapped: int = 0
    ipv6: bool = False


class Verdict(NamedTuple):
    """What is to be done for a pair, (a, b) in the order in which they were given.

    ``measure``: fresh sockets to be measured on each side before the plans can be made, by ``transport``; (0, 0): ``plans`` are final.
    ``pause``: seconds after which the second half of them is opened, which shows how busy the NATs are.
    ``possible``: False where a direct way is not to be hoped for: the plans then cost a handful of packets.
    """

    plans: tuple[Plan, Plan]
    measure: tuple[int, int] = (0, 0)
    transport: Transport = "udp"
    technique: str = "candidates"
    possible: bool = True
    pause: float = 0.0
