"""TCP between two ends that connect at once (RFC 9293 3.5): behind firewalls, behind two NATs, behind NATs that answer with RST."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest

from tests.lab.network import Lab, Namespace, tun_unavailable
from tests.lab.tcp_punch import GREETING
from tests.lab.userlan_process import wait_for_line

pytestmark = pytest.mark.lab

DELAY = 0.03
"""Seconds one way between the NATs."""
SLACK = 1.0
"""Seconds in which both processes are surely told."""
REPEATED = 1.0
"""Seconds after which a kernel repeats a SYN (RFC 6298 2): who is open before that has not waited for it."""
OPENING = 0.5
"""Seconds in which it is open once both have begun."""


@attrs.define
class End:
    """One side: its process, and how the other reaches it."""

    space: Namespace
    public: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> int:
        """Begin; the group's local port, which the NAT preserves."""
        with self.log.open("wb") as log:
            self.process = self.space.start(
                sys.executable, "-m", "tests.lab.tcp_punch", "192.0.2.200:9", stdout=log, stderr=log, stdin=subprocess.PIPE
            )
        return int(wait_for_line(self.log, "port ", self.process).split()[1])

    def meet(self, host: str, ports: str, at: float) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{host} {ports} {at}\n".encode())
        self.process.stdin.close()

    def outcome(self) -> tuple[float, float]:
        """When it began, and the seconds until it opened; AssertionError where it does not, or where the greeting does not come."""
        assert self.process is not None
        opened = wait_for_line(self.log, "opened ", self.process)
        assert wait_for_line(self.log, "heard ", self.process) == f"heard {GREETING.decode()}"
        return float(wait_for_line(self.log, "began ", self.process).split()[1]), float(opened.split()[1])


FIREWALL = """
table inet guard {
  chain input { type filter hook input priority 0; ct state new meta l4proto tcp %s; }
}
"""
NAT = """
table ip nat {
  chain out { type nat hook postrouting priority 100; oifname "eth0" masquerade; }
}
table ip guard {
  chain input { type filter hook input priority 0; iifname "eth0" ct state new meta l4proto tcp %s; }
  chain forward { type filter hook forward priority 0; iifname "eth0" ct state new drop; }
}
"""


def behind_nats(lab: Lab, folder: Path, verdict: str) -> tuple[End, End]:
    """Two hosts, each behind a NAT that preserves ports and does ``verdict`` with what nobody asked for; a slow cable between the NATs."""
    reason = tun_unavailable()
    if reason:
        pytest.skip(reason)
    nats = [lab.namespace(f"nat{number}") for number in (1, 2)]
    with (folder / "cable.log").open("wb") as log:
        cable = nats[0].start(
            sys.executable, "-m", "tests.lab.slow_link", str(nats[1].pid),
            "--addresses", "192.0.2.1/24", "192.0.2.2/24", "--delay", str(DELAY), stdout=log, stderr=log,
        )  # fmt: skip
    wait_for_line(folder / "cable.log", "ready", cable)
    ends = []
    for number, nat in enumerate(nats, 1):
        host = lab.namespace(f"host{number}")
        inner, outer = lab.wire(host, nat)
        host.ip("addr", "add", f"10.0.{number}.2/24", "dev", inner)
        nat.ip("addr", "add", f"10.0.{number}.1/24", "dev", outer)
        host.ip("route", "add", "default", "via", f"10.0.{number}.1")
        nat.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        nat.nft(NAT % verdict)
        ends.append(End(host, f"192.0.2.{number}", folder / f"host{number}.log"))
    return ends[0], ends[1]


def meet(ends: tuple[End, End], skew: float, spread: int = 0) -> tuple[float, float]:
    """Both are told to begin, the second later by ``skew``: by how much it really was, and how long the slower one took.
    ``spread``: wrong ports named, too."""
    ports = [end.start() for end in ends]
    at = time.monotonic() + SLACK
    for number, (end, other) in enumerate(zip(ends, reversed(ends), strict=True)):
        right = ports[1 - number]
        named = ",".join(str(port) for port in range(right - spread, right + spread + 1))
        end.meet(other.public, named, at + number * skew)
    (began, took), (other_began, other_took) = (end.outcome() for end in ends)
    return abs(began - other_began), max(took, other_took)


def test_two_firewalls_on_one_link(lab: Lab, tmp_path: Path) -> None:
    """Neither lets a connection in that it did not begin; both begin one."""
    spaces = (lab.namespace("one"), lab.namespace("two"))
    names = lab.wire(*spaces)
    ends = []
    for number, (space, name) in enumerate(zip(spaces, names, strict=True), 1):
        space.ip("addr", "add", f"192.0.2.{number}/24", "dev", name)
        space.nft(FIREWALL % "drop")
        ends.append(End(space, f"192.0.2.{number}", tmp_path / f"host{number}.log"))
    skew, took = meet((ends[0], ends[1]), skew=0.05)
    assert took < max(REPEATED, skew + OPENING)


@pytest.mark.parametrize(("skew", "spread"), [(0.0, 0), (0.2, 0), (0.0, 5)])
def test_nats_that_drop(lab: Lab, tmp_path: Path, skew: float, spread: int) -> None:
    """RFC 5382, REQ-4: an inbound SYN is not answered for 6 s, so that the later one finds the way open; a prediction names more ports."""
    skew, took = meet(behind_nats(lab, tmp_path, "drop"), skew, spread)
    assert took < max(REPEATED, skew + OPENING)


@pytest.mark.parametrize("skew", [0.0, 0.1])
def test_nats_that_answer_with_rst(lab: Lab, tmp_path: Path, skew: float) -> None:
    """Only SYNs that cross make the connection: at once where both leave together, else by one of the next attempts."""
    skew, took = meet(behind_nats(lab, tmp_path, "reject with tcp reset"), skew)
    assert took < (0.7 if skew < DELAY / 2 else 10.0), f"the second one left {1000 * skew:.0f} ms later"
