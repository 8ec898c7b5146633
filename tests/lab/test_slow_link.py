"""The slow link itself: its model in virtual time, and how much it really carries."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.lab.network import Lab, Namespace, tun_unavailable, until
from tests.lab.slow_link import Cable, Profile, arguments, profile_of
from tests.lab.userlan_process import wait_for_line

FRAME = bytes(1250)      # 10,000 bits


def flow(cable: Cable, count: int, interval: float) -> list[tuple[float, int]]:
    """Numbered frames, one every ``interval`` seconds; (arrival, number), by a clock of 0.1 ms."""
    arrivals = []
    step, now, sent = 0.0001, 0.0, 0
    while sent < count or cable.deadline() is not None:
        while sent < count and sent * interval <= now:
            cable.admit(sent.to_bytes(4, "big") + FRAME[4:], now)
            sent += 1
        arrivals += [(now, int.from_bytes(frame[:4], "big")) for frame in cable.due(now)]
        now += step
    return arrivals


def test_the_rate_is_kept_and_the_delay_added() -> None:
    arrivals = flow(Cable(Profile(delay=0.02, rate=10e6, queue=10**9), 1), 1000, 0.0001)
    assert [number for _, number in arrivals] == list(range(1000))
    assert arrivals[0][0] == pytest.approx(0.021, abs=0.0002)       # 1 ms on the wire, then the delay
    assert arrivals[-1][0] == pytest.approx(1.020, abs=0.0002)


def test_a_full_queue_drops_its_tail() -> None:
    cable = Cable(Profile(rate=10e6, queue=12_500), 1)               # ten frames: 10 ms
    arrivals = flow(cable, 1000, 0.0005)                             # twice the rate
    assert cable.counters["queue-full"] == pytest.approx(490, abs=5)
    assert max(time - number * 0.0005 for time, number in arrivals) == pytest.approx(0.0115, abs=0.001)
    assert [number for _, number in arrivals[:10]] == list(range(10)), "those that were there first stay"


def test_chance_follows_the_seed() -> None:
    profile = Profile(loss=0.05, reorder=0.05, reorder_delay=0.003, duplicate=0.05, corrupt=0.05)
    one, two, other = (flow(Cable(profile, seed), 2000, 0.0005) for seed in (7, 7, 8))
    assert one == two
    assert one != other


def test_each_fault_happens_as_often_as_asked() -> None:
    for fault, counter in (("loss", "lost"), ("reorder", "reordered"), ("duplicate", "duplicated"), ("corrupt", "corrupted")):
        cable = Cable(Profile(**{fault: 0.1}), 3)       # type: ignore[arg-type]  # one float by name
        arrivals = flow(cable, 5000, 0.0005)
        assert cable.counters[counter] == pytest.approx(500, abs=100)
        assert len(arrivals) == 5000 - cable.counters["lost"] + cable.counters["duplicated"]


def test_held_back_frames_are_overtaken_and_corruption_is_one_bit() -> None:
    numbers = [number for _, number in flow(Cable(Profile(reorder=0.1, reorder_delay=0.003), 3), 1000, 0.0005)]
    assert numbers != sorted(numbers)
    assert sorted(numbers) == list(range(1000))
    cable = Cable(Profile(corrupt=1.0), 3)
    cable.admit(FRAME, 0.0)
    [frame] = cable.due(1.0)
    assert int.from_bytes(frame, "big").bit_count() == 1
    assert frame[:14] == bytes(14)


def test_a_queue_in_milliseconds() -> None:
    options = arguments().parse_args(["1", "--addresses", "a", "b", "--rate", "100e6", "--queue-ms", "50"])
    assert profile_of(options).queue == 625_000


def start(lab: Lab, folder: Path, *options: str) -> tuple[Namespace, Namespace, int]:
    one, two = lab.namespace("one"), lab.namespace("two")
    log = folder / "link.log"
    with log.open("wb") as output:
        link = one.start(
            sys.executable, "-m", "tests.lab.slow_link", str(two.pid), "--addresses", "10.98.0.1/24", "10.98.0.2/24", *options,
            stdout=output, cwd=str(Path(__file__).parents[2]),
        )
    wait_for_line(log, "ready", link)
    return one, two, link.pid


@pytest.mark.lab
def test_it_carries_a_fast_flow_and_no_more_than_its_rate(lab: Lab, tmp_path: Path) -> None:
    reason = tun_unavailable() or (None if shutil.which("iperf3") else "the program iperf3 is missing")
    if reason:
        pytest.skip(reason)
    one, two, pid = start(lab, tmp_path, "--rate", "200e6", "--queue-ms", "20", "--delay", "0.002")
    one.start("iperf3", "-s", "-1", stdout=-3)
    until(lambda: ":5201" in one.run("ss", "-ltn").stdout, 60, "the server listens")
    result = two.run("iperf3", "-c", "10.98.0.1", "-t", "2", "-O", "1", "-f", "k")
    rates = [float(line.split("Kbits/sec")[0].split()[-1]) for line in result.stdout.splitlines() if "receiver" in line]
    assert 0 < rates[0] < 200_000, result.stdout     # how near it comes to the rate is this machine's affair
    os.kill(pid, signal.SIGUSR1)
    log = tmp_path / "link.log"
    until(lambda: '"sent"' in log.read_text(), 60, "the counters are told")
