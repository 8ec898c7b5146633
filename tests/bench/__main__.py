"""``python -m tests.bench``: the tables. See the package."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.measure import Plan, Samples, Troubles
from tests.bench.peers import Peers
from tests.bench.sections import bulk, chatty, company, links, relay, scale, small, udp
from tests.bench.stage import staged
from tests.bench.systems import ON_LINKS, SYSTEMS, System, Userlan, variant
from tests.bench.tables import report
from tests.lab.network import find_servers, tun_unavailable, unavailable

SECTIONS = ("bulk", "udp", "small", "links", "scale", "relay", "chatty", "company")
ON_WIRE = {"bulk": bulk.measure, "udp": udp.measure, "small": small.measure}


def arguments() -> argparse.ArgumentParser:
    """The options."""
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="userlan beside its peers and the bare wire")
    parser.add_argument("--section", default=",".join(SECTIONS), help=f"which, with commas between them (default: {','.join(SECTIONS)})")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only this system; again for more")
    parser.add_argument("--skip", action="append", default=[], metavar="NAME", help="not this system; again for more")
    parser.add_argument("--row", action="append", default=[], metavar="NAME=YAML", help="one more row of userlan, with this configuration")
    parser.add_argument("--size", type=int, default=plan.size >> 20, help="MiB of a download (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=plan.rounds, help="rounds of each system (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="of iperf3, pings and idling (default %(default)s)")
    parser.add_argument("--flood", type=float, default=plan.flood, help="seconds of 64-byte packets (default %(default)s)")
    parser.add_argument("--search", type=int, default=plan.search, help="trials that look for a clean rate (default %(default)s)")
    parser.add_argument("--requests", type=int, default=plan.requests, help="small requests (default %(default)s)")
    parser.add_argument("--link-seconds", type=float, default=plan.link_seconds, help="over each bad line (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=plan.seeds, help="of the bad lines (default %(default)s)")
    parser.add_argument("--connections", type=int, default=plan.connections, help="idle connections (default %(default)s)")
    parser.add_argument("--members", type=int, default=plan.members, help="idle peers, and members of one network (default %(default)s)")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="where `python -m tests.bench.peers --install` put its programs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all raw figures")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="bars and distributions as PNG (needs matplotlib)")
    return parser


def plan_of(options: argparse.Namespace) -> Plan:
    """The options as a plan."""
    return Plan(
        options.size << 20, options.rounds, options.seconds, options.flood, options.search, options.requests, options.link_seconds,
        options.seeds, options.connections, options.members,
    )


def unable(sections: Sequence[str]) -> str | None:
    """Why nothing can be measured here, or None."""
    unknown = [section for section in sections if section not in SECTIONS]
    if unknown:
        return f"there is no section {unknown[0]!r}: {', '.join(SECTIONS)}"
    for program in ("nginx", "curl", "ping"):
        if shutil.which(program) is None:
            return f"the program {program} is missing"
    reason = unavailable() or tun_unavailable()
    return f"the benchmark needs network namespaces and TUN devices: {reason}" if reason else None


def chosen(options: argparse.Namespace, peers: Peers) -> tuple[list[type[System]], list[str]]:
    """The systems to measure, and a line for each that cannot be."""
    kinds = list(SYSTEMS)
    for row in options.row:
        name, _, configuration = row.partition("=")
        kinds.insert(kinds.index(Userlan) + 1, variant(name, configuration.replace("\\n", "\n") + "\n"))
    names = {kind.name for kind in kinds}
    for name in (*options.only, *options.skip):
        if name not in names:
            raise SystemExit(f"there is no system {name!r}: {', '.join(sorted(names))}")
    kinds = [kind for kind in kinds if (not options.only or kind.name in options.only) and kind.name not in options.skip]
    reasons = {kind: kind.missing(peers) for kind in kinds}
    return [kind for kind in kinds if reasons[kind] is None], [f"{kind.name}: {reason}" for kind, reason in reasons.items() if reason]


def on_the_wire(
    kinds: Sequence[type[System]], sections: Sequence[str], plan: Plan, samples: Samples, peers: Peers, troubles: Troubles
) -> None:
    """Rounds of all systems in turn; one start of a system serves all its sections."""
    with staged(plan.size) as stage:
        for number in range(plan.rounds):
            for kind in kinds:
                system = kind(stage, stage.folder / f"{kind.name}-{number}".replace(" ", "-"), peers)
                try:
                    with troubles.watched(f"round {number + 1}: {kind.name}"):
                        start = system.start()
                        stage.use_cubic()
                        for section in sections:
                            ON_WIRE[section](system, plan, samples)
                        if start is not None and "bulk" in sections:
                            samples.add("bulk", kind.name, start=start)
                finally:
                    system.stop()


def about(plan: Plan, options: argparse.Namespace, missing: Sequence[str], seconds: float) -> dict[str, Any]:
    """What the figures were made with."""
    import attrs

    return {
        "plan": attrs.asdict(plan), "left_out": list(missing), "seconds": seconds, "processors": os.cpu_count(),
        "kernel": platform.release(), "python": platform.python_version(), "rows": options.row,
    }


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when something gave a wrong result or nothing can be measured."""
    options = arguments().parse_args(words)
    find_servers()
    sections = [section for section in options.section.split(",") if section]
    reason = unable(sections)
    if reason:
        print(reason, file=sys.stderr)
        return 1
    plan, peers, samples, begin = plan_of(options), Peers(options.peers), Samples(), time.monotonic()
    kinds, missing = chosen(options, peers)
    troubles = Troubles()
    simple = [section for section in sections if section in ON_WIRE]
    try:
        if simple and kinds:
            on_the_wire(kinds, simple, plan, samples, peers, troubles)
        if "links" in sections:
            links.measure([kind for kind in kinds if kind in ON_LINKS or issubclass(kind, Userlan)], plan, samples, peers, troubles)
        if "scale" in sections:
            scale.measure(plan, samples, peers, troubles)
        if "relay" in sections:
            relay.measure(plan, samples, troubles)
        if "chatty" in sections:
            chatty.measure(plan, samples, troubles)
        if "company" in sections:
            company.measure(plan, samples, troubles)
    except (KeyboardInterrupt, SystemExit):
        troubles.lines.append("interrupted: what was measured until then is shown")
    seconds = time.monotonic() - begin
    print(report(samples))
    for line in missing:
        print(f"\nleft out — {line}")
    if options.json:
        options.json.write_text(json.dumps({"about": about(plan, options, missing, seconds), "samples": samples.data}))
    if options.plots:
        from tests.bench.plots import draw

        draw(samples, options.plots)
    print(f"\n{seconds / 60:.1f} minutes; {plan.rounds} rounds, medians", file=sys.stderr)
    for line in troubles.lines:
        print(f"a wrong result: {line}", file=sys.stderr)
    return 1 if troubles.lines else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that the namespaces and what runs in them end, too
    sys.exit(main())
