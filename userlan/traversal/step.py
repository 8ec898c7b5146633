"""A plan's vocabulary: what one side sends, from which sockets, to which ports, when, and paced how."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MAX_STEPS = 28
"""Steps of one side's plan: the blocks in which two incremental NATs look for each other (``prediction.weave``), and a few that wrap."""
MAX_PORTS = 2048
"""Different ports of one step: with 256 sockets on the other side 99.97 % of all birthdays meet."""
MAX_STRIDE = 4096
"""Between neighbouring ports of one step, either way."""
MAX_SOCKETS = 256
"""Own sockets of one plan."""

Host = Annotated[str, Meta(max_length=64)]
Seconds = Annotated[float, Meta(ge=0, le=30)]
Text = Annotated[str, Meta(max_length=40)]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """Packets of one side to ``count`` ports of one host.

    The ports are ``first``, ``first + stride`` …; with ``scattered`` they are drawn at random out of these up to ``last`` by the sender,
    others in each round as long as there are any. ``sockets``: own sockets that each send all of it, one after the other, 0: the main one;
    ``fresh``: they are those that were measured for this introduction (``Measure``), in their order; otherwise new ones. ``spread``: each
    socket takes its own share of the ports instead of all.
    ``start``: seconds after the common start; ``spacing`` between packets; the whole is done ``rounds`` times, ``interval`` apart.
    ``ttl``: 0, or hops after which the packets shall be dropped: they open the own NAT without reaching the other. Over ``tcp`` each
    packet is a connection attempt that stays open for simultaneous open (RFC 9293 3.5).
    """

    host: Host
    first: Annotated[int, Meta(ge=1, le=65535)]
    count: Annotated[int, Meta(ge=1, le=MAX_PORTS)] = 1
    stride: Annotated[int, Meta(ge=-MAX_STRIDE, le=MAX_STRIDE)] = 1
    last: Annotated[int, Meta(ge=0, le=65535)] = 0
    scattered: bool = False
    transport: Literal["udp", "tcp"] = "udp"
    sockets: Annotated[int, Meta(ge=0, le=MAX_SOCKETS)] = 0
    fresh: bool = False
    spread: bool = False
    start: Seconds = 0.0
    spacing: Seconds = 0.001
    rounds: Annotated[int, Meta(ge=1, le=40)] = 1
    interval: Seconds = 0.2
    ttl: Annotated[int, Meta(ge=0, le=255)] = 0


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """One side's. ``technique`` is for people and for learning; ``give_up``: seconds after the start when it has failed.

    ``streams``: seconds after the datagrams' turn at which candidates of framed TCP get theirs, where there are both.
    ``hold``: seconds after the start at which the candidates get their first packet: later than the steps, where each packet to a new
    endpoint would move the next outside port, or where it must not come before the other side's own.
    """

    technique: Text = "candidates"
    steps: Annotated[tuple[Step, ...], Meta(max_length=MAX_STEPS)] = ()
    give_up: Seconds = 5.0
    hold: Seconds = 0.0
    streams: Seconds = 2.0
