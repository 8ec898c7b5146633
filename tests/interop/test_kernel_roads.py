"""Our TCP and the kernel's over every kind of road, and without each of the options: both ways, IPv4 and IPv6.

Each transfer's digest is checked, and that no connection of our host ended in an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop import kernel_programs as programs
from tests.interop.kernel import Bed

pytestmark = [pytest.mark.interop, pytest.mark.lab]

FAMILIES = pytest.mark.parametrize("family", [4, 6])

ROADS: dict[str, dict[str, float]] = {
    "delay": {"delay": 0.01},
    "loss of 1 %": {"delay": 0.01, "loss": 0.01},
    "loss of 3 %": {"delay": 0.002, "loss": 0.03},
    "reordering": {"delay": 0.005, "reorder": 0.1},
    "duplication": {"delay": 0.005, "duplicate": 0.05},
    "corruption": {"delay": 0.005, "corrupt": 0.01},
    "everything": {"delay": 0.01, "loss": 0.01, "reorder": 0.05, "duplicate": 0.02, "corrupt": 0.002},
}
"""Each way; so the round trip of most is 20 ms."""

BAD: dict[str, float] = {"delay": 0.005, "loss": 0.01, "reorder": 0.03}

PEERS: dict[str, dict[str, int]] = {
    "no window scaling": {"window_scaling": 0},
    "no timestamps": {"timestamps": 0},
    "no SACK": {"sack": 0},
    "no options": {"window_scaling": 0, "timestamps": 0, "sack": 0},
    "ECN": {"ecn": 1},
}
DEFAULTS = {"window_scaling": 1, "timestamps": 1, "sack": 1, "ecn": 2, "no_metrics_save": 1}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with programs.opened(tmp_path_factory.mktemp("roads")) as made:
        programs.settings(made, **DEFAULTS)
        yield made


def transfers(bed: Bed, family: int, size: int) -> None:
    """Both sides as the client, bulk both ways, all at once."""
    programs.all_at_once(
        (programs.download, bed, family, size),
        (programs.upload, bed, family, size),
        (programs.fetch, bed, family),
        (programs.sink, bed, family, size),
    )


@FAMILIES
@pytest.mark.parametrize("road", ROADS)
def test_http_and_half_close(bed: Bed, road: str, family: int) -> None:
    bed.weather(**ROADS[road])
    transfers(bed, family, 300_007)
    assert bed.weather() == []


@FAMILIES
@pytest.mark.parametrize("road", ROADS)
def test_ssh(bed: Bed, road: str, family: int) -> None:
    """A file there and back: with our host as the server, and as the client, by ProxyCommand."""
    bed.weather(**ROADS[road])
    programs.all_at_once(*((programs.ssh, bed, family, 300_007, through_us) for through_us in (False, True)))
    assert bed.weather() == []


@FAMILIES
@pytest.mark.parametrize("road", ROADS)
def test_iperf3(bed: Bed, road: str, family: int) -> None:
    bed.weather(**ROADS[road])
    programs.iperf3(bed, family, 50_000)
    # It ends by the clock, with data on the way, which is answered with resets.
    assert {failure.rpartition(": ")[2] for failure in bed.weather()} <= {"reset", "aborted"}


@FAMILIES
@pytest.mark.parametrize("road", ["reordering", "duplication"])
def test_fragments(bed: Bed, road: str, family: int) -> None:
    """RFC 791 3.2, RFC 8200 4.5, RFC 5722: of echo requests and replies that overtake each other and come twice."""
    bed.weather(**ROADS[road])
    assert programs.unanswered(bed, family, 20, 0.02, 9000) == set()
    answer = bed.ask(do="ping", address=programs.kernel(family), sequence=5, size=20_000)
    assert answer == {"echo": 5, "length": 20_000}


@FAMILIES
@pytest.mark.parametrize("peer", PEERS)
def test_without_an_option(bed: Bed, peer: str, family: int) -> None:
    """RFC 7323, RFC 2018, RFC 3168: each option's absence, and ECN's presence, on a bad road."""
    programs.settings(bed, **{**DEFAULTS, **PEERS[peer]})
    try:
        bed.weather(**BAD, mark=0.03 if peer == "ECN" else 0.0)
        before = counters(bed)
        transfers(bed, family, 300_007)
        programs.ssh(bed, family, 100_000, False)
        assert bed.weather() == []
        marked = {name: counters(bed)[name] - before[name] for name in ("marked-inwards", "marked-outwards")}
        assert all(marked.values()) if peer == "ECN" else not any(marked.values()), marked
    finally:
        programs.settings(bed, **DEFAULTS)


def counters(bed: Bed) -> dict[str, Any]:
    return bed.ask(do="counters")


@FAMILIES
@pytest.mark.parametrize("silent", [False, True], ids=["told", "black hole"])
def test_a_path_that_takes_smaller_packets(tmp_path_factory: pytest.TempPathFactory, silent: bool, family: int) -> None:
    """RFC 1191, RFC 8201, and where nobody says so RFC 4821 (the kernel's: ``tcp_mtu_probing``)."""
    with programs.opened(tmp_path_factory.mktemp("narrow")) as bed:
        programs.settings(bed, **DEFAULTS, mtu_probing=1)
        bed.weather(delay=0.002, mtu=1300, silent=silent)
        # First: once the kernel's IPv6 knows the path's MTU, it offers no larger MSS, and we send no larger segment.
        programs.download(bed, family, 300_007)
        transfers(bed, family, 300_007)
        programs.ssh(bed, family, 100_000, True)
        assert bed.weather() == []
        assert bool(counters(bed).get("path-mtu-reduced")) is not silent
