"""Bad lines: goodput over a slow link beside Linux's CUBIC on the very same link, and the ping through it.

Each system meets each link with each seed on a stage of its own: what one leaves behind (congestion metrics, queues) is not the next
one's. The systems take turns within a seed; ratios are made of the pairs of one seed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.measure import Plan, Samples, Troubles, for_seconds, load, pings
from tests.bench.peers import Peers
from tests.bench.stage import staged
from tests.bench.systems import BareVeth, System
from tests.lab.network import Namespace

PING_INTERVAL = 0.05


class Link(NamedTuple):
    """A line: its options for ``tests.lab.slow_link``, and its rate in bits a second where that is what counts."""

    name: str
    options: tuple[str, ...]
    rate: float = 0.0


LINKS = (
    Link("loss 1 %, 40 ms", ("--delay", "0.02", "--loss", "0.01", "--rate", "200e6", "--queue-ms", "50")),
    Link("loss 0.1 %, 100 ms", ("--delay", "0.05", "--loss", "0.001", "--rate", "200e6", "--queue-ms", "50")),
    Link("100 Mbit/s, queue 50 ms, 20 ms", ("--delay", "0.01", "--rate", "100e6", "--queue-ms", "50"), 100e6),
)
"""Loss strikes each way; the times are round trips."""
CEILING = "the link's own ceiling"


def measure(kinds: Sequence[type[System]], plan: Plan, samples: Samples, peers: Peers, troubles: Troubles) -> None:
    """All links, seeds and systems."""
    with troubles.watched(CEILING), staged(plan.size, ()) as stage:
        stage.use_cubic()
        arguments = BareVeth(stage, stage.folder / "ceiling", peers).download_arguments("endless")
        samples.add(CEILING, BareVeth.name, goodput=for_seconds(stage.b, arguments, min(3.0, plan.link_seconds)) * 8 / 1e6)
    for seed in range(1, plan.seeds + 1):
        for link in LINKS:
            for kind in kinds:
                options = (*link.options, "--seed", str(seed))
                with troubles.watched(f"seed {seed}, {link.name}: {kind.name}"), staged(plan.size, options) as stage:
                    once(kind(stage, stage.folder / "system", peers), link, plan, samples)


def once(system: System, link: Link, plan: Plan, samples: Samples) -> None:
    """One system over one link."""
    arguments = system.download_arguments
    try:
        system.start()
        system.stage.use_cubic()
        base = pings(system, max(10, int(plan.link_seconds / 10 / PING_INTERVAL)), PING_INTERVAL)
        before = received(system.b)
        goodput = for_seconds(system.b, arguments("endless"), plan.link_seconds)
        carried = (received(system.b) - before) * 8 / plan.link_seconds
        samples.add(f"link: {link.name}", system.name, goodput=goodput * 8 / 1e6, ping_base=base)
        if link.rate:
            samples.add(f"link: {link.name}", system.name, share=carried / link.rate)
            loaded(system, plan, samples, link)
    finally:
        system.stop()


def loaded(system: System, plan: Plan, samples: Samples, link: Link) -> None:
    """Pings while a download fills the link, once it has got there."""
    with load(system.b, system.download_arguments("endless")):
        time.sleep(min(3.0, plan.link_seconds / 4))
        times = pings(system, max(10, int(plan.link_seconds / 2 / PING_INTERVAL)), PING_INTERVAL)
    samples.add(f"link: {link.name}", system.name, ping_loaded=times)


def received(namespace: Namespace) -> int:
    """Octets of frames that have arrived over the link."""
    told = json.loads(namespace.run("ip", "-s", "-j", "link", "show", "eth0").stdout)
    return int(told[0]["stats64"]["rx"]["bytes"])
