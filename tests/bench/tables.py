"""The tables: medians over the rounds, and the ratios that the targets are about."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

from tests.bench.measure import Samples, quantile

REFERENCES = ("wireguard-go 2022", "wireguard-go 2023")
NOTHING = "–"
Column = tuple[str, Callable[[str], str]]


def number(value: float | None, form: str = ",.0f") -> str:
    """A figure, or a dash."""
    return NOTHING if value is None else format(value, form)


def ratio(value: float | None, reference: float | None) -> str:
    """How many times the reference."""
    return NOTHING if value is None or not reference else f"{value / reference:.2f}"


def round_trips(times: Sequence[float], base: float = 0.0) -> str:
    """Median and 99th percentile, milliseconds."""
    return NOTHING if not times else f"{statistics.median(times) - base:.2f} / {quantile(times, 0.99) - base:.2f}"


def table(systems: Sequence[str], columns: Sequence[Column]) -> str:
    """Markdown, a line a system; columns without a figure are left out."""
    rows = [[cell(system) for _, cell in columns] for system in systems]
    kept = [index for index in range(len(columns)) if any(row[index] != NOTHING for row in rows)]
    lines = ["| system | " + " | ".join(columns[index][0] for index in kept) + " |", "|---|" + "---|" * len(kept)]
    lines += [f"| {system} | " + " | ".join(row[index] for index in kept) + " |" for system, row in zip(systems, rows, strict=True)]
    return "\n".join(lines)


def bulk(samples: Samples) -> str:
    """Throughput, cost and round trips."""

    def middle(metric: str, form: str = ",.0f") -> Callable[[str], str]:
        return lambda system: number(samples.median("bulk", system, metric), form)

    def versus(reference: str) -> Column:
        base = samples.median("bulk", reference, "http_1")
        return f"× {reference}", lambda system: ratio(samples.median("bulk", system, "http_1"), base)

    return table(list(samples.data["bulk"]), [
        ("HTTP 1 stream, Mbit/s", middle("http_1")),
        ("8 streams", middle("http_8")),
        ("iperf3 1 stream", middle("iperf_1")),
        ("8 streams", middle("iperf_8")),
        *(versus(reference) for reference in REFERENCES),
        ("daemons' CPU s/GiB", middle("cpu_per_gib", ".2f")),
        ("peak MiB", middle("peak")),
        ("ping idle p50 / p99, ms", lambda system: round_trips(samples.times("bulk", system, "ping_idle"))),
        ("under load p50 / p99, ms", lambda system: round_trips(samples.times("bulk", system, "ping_loaded"))),
        ("start to first answer, s", middle("start", ".2f")),
    ])


def udp(samples: Samples) -> str:
    """64-byte packets."""

    def percent(system: str) -> str:
        lost = samples.median("udp", system, "flood_loss")
        return number(None if lost is None else lost * 100, ".0f")

    return table(list(samples.data["udp"]), [
        ("64-byte packets/s received of a flood", lambda system: number(samples.median("udp", system, "flood"))),
        ("offered/s", lambda system: number(samples.median("udp", system, "offered"))),
        ("lost there, %", percent),
        ("packets/s with at most 1 % lost", lambda system: number(samples.median("udp", system, "clean"))),
    ])


def small(samples: Samples) -> str:
    """Sequential requests."""
    base = samples.median("small", "wireguard-go 2023", "rate")
    return table(list(samples.data["small"]), [
        ("requests/s, a connection each", lambda system: number(samples.median("small", system, "rate"))),
        ("× wireguard-go 2023", lambda system: ratio(samples.median("small", system, "rate"), base)),
        ("p50 / p99, ms", lambda system: round_trips(samples.times("small", system, "times"))),
        ("daemons' CPU ms a request", lambda system: number(samples.median("small", system, "cpu_ms"), ".2f")),
    ])


def link(samples: Samples, section: str) -> str:
    """Goodput over one slow link; the ratio is the median of the pairs of one seed."""
    data = samples.data[section]
    direct = samples.numbers(section, next(iter(data)), "goodput")

    def paired(system: str) -> str:
        own = samples.numbers(section, system, "goodput")
        pairs = [mine / theirs for mine, theirs in zip(own, direct, strict=False)]
        return number(statistics.median(pairs) if pairs else None, ".2f")

    def above(system: str) -> str:
        base = samples.times(section, system, "ping_base")
        return round_trips(samples.times(section, system, "ping_loaded"), statistics.median(base)) if base else NOTHING

    def share(system: str) -> str:
        value = samples.median(section, system, "share")
        return number(None if value is None else value * 100, ".1f")

    def range_of(system: str) -> str:
        values = samples.numbers(section, system, "goodput")
        return f"{min(values):.2f} to {max(values):.2f}" if values else NOTHING

    return table(list(data), [
        ("goodput, Mbit/s", lambda system: number(samples.median(section, system, "goodput"), ".2f")),
        ("of all seeds", range_of),
        ("× Linux CUBIC on the same link", paired),
        ("share of the link in use, %", share),
        ("ping through it above its base, p50 / p99, ms", above),
    ])


def scale(samples: Samples) -> str:
    """Memory and idle processor time."""

    def middle(metric: str, form: str) -> Callable[[str], str]:
        return lambda system: number(samples.median("scale", system, metric), form)

    return table(list(samples.data["scale"]), [
        ("idle connections", middle("connections", ",.0f")),
        ("KiB for each", middle("connection_kib", ".1f")),
        ("idle peers", middle("peers", ",.0f")),
        ("KiB for each peer", middle("peer_kib", ".1f")),
        ("of them lost meanwhile", middle("lost", ",.0f")),
        ("node, MiB", middle("node_mib", ".0f")),
        ("idle CPU, % of a core", middle("idle_cpu", ".1f")),
        ("s until all peers are direct", middle("seconds_to_meet", ".1f")),
    ])


def relay(samples: Samples) -> str:
    """What one relay carries."""

    def middle(metric: str, form: str) -> Callable[[str], str]:
        return lambda system: number(samples.median("relay", system, metric), form)

    base = samples.median("relay", "coturn", "one_core")
    return table(list(samples.data["relay"]), [
        ("of a flood, Mbit/s", middle("rate", ",.0f")),
        ("cores that it had", middle("busy", ".2f")),
        ("for a whole core, Mbit/s", middle("one_core", ",.0f")),
        ("× coturn", lambda system: ratio(samples.median("relay", system, "one_core"), base)),
        ("lost of 1 Gbit/s, %", middle("gigabit_loss", ".1f")),
    ])


def _middle(samples: Samples, section: str, metric: str, form: str, factor: float = 1.0) -> Callable[[str], str]:
    def cell(system: str) -> str:
        value = samples.median(section, system, metric)
        return number(None if value is None else value * factor, form)

    return cell


def chatty(samples: Samples) -> str:
    """What one of many members does while all talk to all."""

    middle = partial(_middle, samples, "chatty")
    return table(list(samples.data["chatty"]), [
        ("packets/s that a member sends", middle("sent", ",.0f")),
        ("and hears", middle("heard", ",.0f")),
        ("lost, %", middle("lost", ".2f", 100)),
        ("its CPU, % of a core", middle("cpu", ".1f")),
        ("µs a packet", middle("cost", ".0f")),
        ("s until all had met", middle("meet", ".1f")),
        ("ms of CPU a pair", middle("pair", ".1f")),
    ])


def company(samples: Samples) -> str:
    """One node among many members who are all there."""

    middle = partial(_middle, samples, "company")
    return table(list(samples.data["company"]), [
        ("s", middle("seconds", ".1f")),
        ("CPU of the node, ms", middle("busy", ",.0f", 1000)),
        ("CPU of the node, % of a core", middle("cpu", ".1f")),
        ("node, MiB", middle("mib", ".0f")),
        ("who did not hear it", middle("lost", ".0f")),
        ("KiB of the answer", middle("kib", ",.0f")),
        ("ms to an answer", middle("answer", ",.1f")),
        ("the longest", middle("longest", ",.0f")),
        ("CPU of the page, % of a core", middle("page_cpu", ".1f")),
        ("tasks of it above 50 ms", middle("long_tasks", ".0f")),
        ("the longest, ms", middle("longest_task", ",.0f")),
        ("above 50 ms of CPU", middle("long_by_cpu", ".0f")),
        ("the longest, ms of CPU", middle("longest_by_cpu", ",.0f")),
        ("frames later than 50 ms", middle("late_frames", ",.0f")),
        ("the latest, ms", middle("longest_frame", ",.0f")),
    ])


TITLES = {
    "bulk": "Bulk", "udp": "64-byte UDP packets", "small": "Small requests", "scale": "Scale", "relay": "Relays", "chatty": "A chatty LAN",
    "company": "One node in a large network",
}


def report(samples: Samples) -> str:
    """All tables that there are figures for."""
    parts = []
    for section in samples.data:
        if section in TITLES:
            tables = {"bulk": bulk, "udp": udp, "small": small, "scale": scale, "relay": relay, "chatty": chatty, "company": company}
            body = tables[section](samples)
            parts.append(f"### {TITLES[section]}\n\n{body}")
        elif section.startswith("link: "):
            parts.append(f"### Bad line: {section.removeprefix('link: ')}\n\n{link(samples, section)}")
        else:
            figures = ", ".join(f"{number(samples.median(section, system, 'goodput'))} Mbit/s" for system in samples.data[section])
            parts.append(f"{section[0].upper()}{section[1:]}: {figures}")
    return "\n\n".join(parts)
