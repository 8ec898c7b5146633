"""Group membership as the kernel has it: its own reports beside ours, and its bridge, which asks us and believes us."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop import kernel_groups as groups
from tests.lab.network import Lab, Namespace, end, tun_unavailable, unavailable, until
from tests.stack.listening import LINK_LOCAL
from tests.stack.packets import OURS4, OURS6, packed
from userlan.stack import Host, UdpSocket
from userlan.wire.superpacket import cut, parse

pytestmark = [pytest.mark.interop, pytest.mark.lab]

ROOT = Path(__file__).parents[2]
Told = tuple[str, str, tuple[str, ...]]
EXCLUDING: dict[str, Counter[Told]] = {
    name: Counter(
        ("MODE_IS_INCLUDE", groups.group(version, number), tuple(groups.source(version, each) for each in wanted))
        for version in (4, 6)
    )
    for name, number, wanted in (("sources 4", 4, (1, 3)), ("sources 6", 6, (3,)))
}
"""The answers of RFC 3376 5.2 about sources 1 and 3 of a group in EXCLUDE mode."""


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Namespace]:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    with Lab(tmp_path) as lab:
        yield lab.namespace("groups")


class Ours:
    """Our host through the same steps, in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.host = Host(entropy=lambda size: bytes((0x55,)) * size)
        for address in (OURS4, OURS6, LINK_LOCAL):
            self.host.add_address(packed(address))
        self.sockets: dict[tuple[int, int], UdpSocket] = {}
        self.sources: dict[tuple[int, int], tuple[bool, set[bytes]]] = {}

    def change(self, version: int, number: int, change: groups.Change) -> None:
        """A call of RFC 3678 as a whole filter."""
        key = version, number
        socket = self.sockets.get(key) or self.sockets.setdefault(key, self.host.udp_bind())
        excludes, sources = self.sources.get(key, (change.call != "join-source", set()))
        if change.call == "leave":
            socket.leave(packed(groups.group(version, number)))
            return
        if change.call == "include":
            excludes, sources = False, set()
        if change.source:
            named = packed(groups.source(version, change.source))
            if change.call in ("unblock", "leave-source"):
                sources.discard(named)
            else:
                sources.add(named)
        self.sources[key] = excludes, sources
        wish = {"exclude": sources} if excludes else {"sources": sources}
        socket.join(packed(groups.group(version, number)), **wish)

    def told(self, seconds: float) -> Counter[Told]:
        """Let time pass, and what was reported meanwhile."""
        found: Counter[Told] = Counter()
        end_at = self.now + seconds
        while True:
            for packet in self.host.packets(self.now):
                found.update(hashable(groups.told(cut(packet, True)[0])))
            deadline = self.host.deadline()
            if deadline is None or deadline > end_at:
                break
            self.now = max(self.now, deadline)
            self.host.tick(self.now)
        self.now = end_at
        return found


def hashable(told: list[Any]) -> list[Told]:
    return [(name, group, tuple(sources)) for name, group, sources in told]


def test_our_reports_are_the_kernels(space: Namespace) -> None:
    """The same calls, then the same queries: the same records, as often (RFC 3376 5, RFC 3810 6, and an older querier).

    The kernel differs in two places. It repeats its first MLD reports once more when its link-local address is ready;
    and asked for some sources of a group that it has in EXCLUDE mode, it answers with its whole state, where RFC 3376
    5.2 has a table for the sources alone.
    """
    result = space.run(sys.executable, "-m", "tests.interop.kernel_groups", "listen", cwd=ROOT, timeout=60)
    kernel = {name: Counter(hashable(told)) for name, told in json.loads(result.stdout).items()}
    ours = Ours()
    for step in range(len(groups.STEPS[1])):
        for number, changes in groups.STEPS.items():
            change = changes[step]
            if change is not None:
                for version in (4, 6):
                    ours.change(version, number, change)
        told = kernel[f"step {step}"]
        if step == 0:
            told = Counter({record: min(times, 2) for record, times in told.items()})
        assert ours.told(groups.STEP) == told, f"step {step}"
        assert step == 4 or told
    for name in groups.QUERIES:
        for query in groups.queries(name):
            ours.host.receive(parse(query), ours.now)
        told = ours.told(groups.ANSWER)
        if name in EXCLUDING:
            assert kernel[name] == kernel[name.replace("sources", "group")], "it is still so"
            assert told == EXCLUDING[name]
        else:
            assert told == kernel[name], name
        assert name == "group 1" or told
    for version in (4, 6):
        ours.change(version, 4, groups.Change("leave"))
    assert ours.told(0.5) == kernel[groups.OLDER_LEAVE]
    assert len(kernel[groups.OLDER_LEAVE]) == 2


def entries(space: Namespace) -> dict[str, tuple[str, list[str]]]:
    """The bridge's table of our groups: filter mode and sources that are, or are not, forwarded."""
    shown = json.loads(space.run("bridge", "-d", "-j", "mdb", "show", "dev", "br0").stdout)
    found: dict[str, tuple[str, list[str]]] = {}
    for entry in shown[0]["mdb"]:
        if entry["grp"] in groups.WISHES and "src" not in entry and entry["port"] == "port0":
            sources = sorted(each["address"] for each in entry.get("source_list", []))
            found[entry["grp"]] = (entry["filter_mode"], sources)
    return found


def test_the_kernels_bridge_learns_and_keeps_our_groups(space: Namespace) -> None:
    """It asks once a second and forgets within three what is not answered; its IGMP queries come from 0.0.0.0."""
    log = space.lab.folder / "switch.log"
    wanted = {
        group: ("include" if "sources" in wish else "exclude", wish.get("sources") or wish.get("exclude", []))
        for group, wish in groups.WISHES.items()
    }
    command = space.command(sys.executable, "-m", "tests.interop.kernel_groups", "switch")
    options: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": ROOT, "start_new_session": True}
    with log.open("wb") as errors, subprocess.Popen(command, stderr=errors, **options) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"joined\n", log.read_text()
            until(lambda: entries(space) == wanted, 60, "the bridge knows our groups")
            for _ in range(9):
                time.sleep(0.5)
                assert entries(space) == wanted
            process.stdin.close()
            counters = json.loads(process.stdout.readline())
            assert not {name for name in counters if name.startswith(("igmp", "mld", "group", "checksum"))}, counters
        finally:
            end(process)
