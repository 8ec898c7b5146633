"""A chatty LAN: what broadcasts and multicasts of fifty members cost each of them, over real sockets; and what it costs them to meet."""

from __future__ import annotations

import json
import secrets
import select
import subprocess
import sys
import time
from typing import IO, Any

from tests.bench.measure import Plan, Samples, Troubles
from tests.bench.programs import ROOT
from tests.bench.programs.chatterers import LISTENER_TURN

SECTION = "chatty"
MEMBERS = 50
MESH, MESH_PROCESSES = 50, 3
"""Members that have a tunnel to each other, 1,225 of fifty, and the processes that they are in."""
SIZE = 200
"""Octets of a datagram: an announcement of a game or of mDNS."""
PHASES = (
    ("nobody says anything", 0.0, 0.0),
    ("each says 1 a second", 1.0, 1.0),
    ("each says 10 a second", 10.0, 10.0),
    ("one says 200 a second", 200.0, 0.0),
)
"""What each phase is called, and how much the weighed node says and each of the others, datagrams a second."""
SETTLE = 3.0
"""Seconds after they have met in which they still find out what their paths carry."""
PATIENCE = 60.0
"""Seconds for all to meet, or to answer: the machine may have other work."""


class Chatterers:
    """One process of them."""

    def __init__(self, first: int, count: int, total: int, seed: str, *more: str) -> None:
        command = [sys.executable, "-m", "tests.bench.programs.chatterers", *map(str, (first, count, total)), seed, *more]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def line(self, patience: float) -> str:
        """The next line that it prints."""
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], patience)
        assert ready, f"it did not say anything for {patience:.0f} s"
        return output.readline().decode().strip()

    def met(self) -> float:
        """Wait until its nodes reach all that they know; the seconds of processor time that this took."""
        word, _, cpu = self.line(PATIENCE).partition(" ")
        assert word == "met", "they did not meet"
        return float(cpu)

    def phase(self, seconds: float, rate: float) -> None:
        """Begin one; ``line`` gives what came of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds} {rate} {SIZE}\n".encode())
        self.process.stdin.flush()

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


def measure(plan: Plan, samples: Samples, troubles: Troubles) -> None:
    """Every phase, once."""
    with troubles.watched(f"{MEMBERS} members of a chatty LAN"):
        seed = secrets.token_hex(8)
        others = Chatterers(1, MEMBERS - 1, MEMBERS, seed)
        one = Chatterers(0, 1, MEMBERS, seed)
        try:
            begin = time.monotonic()
            for each in (one, others):
                each.met()
            took = time.monotonic() - begin
            time.sleep(SETTLE)
            for name, own, theirs in PHASES:
                one.phase(plan.seconds, own)
                others.phase(plan.seconds, theirs)
                told, answer = (json.loads(each.line(plan.seconds + PATIENCE)) for each in (one, others))
                samples.add(SECTION, f"{MEMBERS} members, {name}", **figures(told, answer), meet=took)
        finally:
            for each in (one, others):
                each.stop()
    with troubles.watched(f"a full mesh of {MESH} members"):
        mesh(plan, samples)


def mesh(plan: Plan, samples: Samples) -> None:
    """Members that all know each other, and are started at one moment in a few processes: until each has a tunnel to each, and a while
    after that, in which nobody may be lost again."""
    seed, share = secrets.token_hex(8), -(-MESH // MESH_PROCESSES)
    begin = time.monotonic()
    parts = [Chatterers(first, min(share, MESH - first), MESH, seed, "mesh") for first in range(0, MESH, share)]
    try:
        cpu = sum(part.met() for part in parts)
        took = time.monotonic() - begin
        time.sleep(SETTLE)
        for part in parts:
            part.phase(plan.seconds, 0.0)
        told = [json.loads(part.line(plan.seconds + PATIENCE)) for part in parts]
    finally:
        for part in parts:
            part.stop()
    gone = sum(one["gone"] for one in told)
    assert not gone, f"{gone} times a member was lost that nothing had happened to"
    idle = sum(one["cpu"] / one["seconds"] for one in told)
    samples.add(
        SECTION, f"full mesh of {MESH}, nobody says anything", cpu=idle / MESH * 100, meet=took, pair=cpu / (MESH * (MESH - 1) / 2) * 1e3,
    )


def figures(one: dict[str, Any], others: dict[str, Any]) -> dict[str, float]:
    """What the weighed node sent and heard, and what of it was lost on either way."""
    listeners = len(range(LISTENER_TURN, MEMBERS, LISTENER_TURN))      # of the others; the weighed node is one, too
    out = one["sent"]["broadcast"] * (MEMBERS - 1) + one["sent"]["group"] * listeners
    arrived = sum(others["heard"].values())
    coming = sum(others["sent"].values())
    heard = sum(one["heard"].values())
    lost = 1 - (arrived + heard) / (out + coming) if out + coming else 0.0
    assert arrived <= out, f"{arrived} packets arrived at the others, and {out} were sent"
    assert heard <= coming, f"{heard} packets arrived at the one, and {coming} were sent"
    assert arrived or not out, "nothing of what the one said has arrived"
    seconds = one["seconds"]
    return {
        "sent": out / seconds, "heard": heard / seconds, "lost": lost, "cpu": one["cpu"] / seconds * 100,
        "cost": one["cpu"] / (out + heard) * 1e6 if out + heard else 0.0,
    }
