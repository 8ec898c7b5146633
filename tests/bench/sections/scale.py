"""Scale: what a node, an idle connection and an idle peer cost, in memory and in processor time."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from tests.bench.measure import Plan, Samples, Troubles, cpu_seconds, memory
from tests.bench.peers import Peers
from tests.bench.programs import ROOT
from tests.bench.stage import WIRE_A, WIRE_B, Stage, staged
from tests.bench.systems import Userlan
from tests.lab.network import Namespace, until
from tests.lab.userlan_process import Mediator, Member, wait_for_line

SECTION = "scale"
SERVED, FORWARDED, PORTS = 7100, 7200, 4
"""Ports of the held connections: one exposed or forwarded port takes 4,096 streams."""
OWN_NETWORKS, NETWORK_SIZE = 16, 32
"""Networks that one key may own, and peers in each: short rosters for the crowd."""
LOST = 0.02
"""The share of peers that may be on their way back at a moment: a machine with other work starves a crowd in one process."""
SETTLE = 3.0
"""Seconds before something counts as idle (no longer than it is watched)."""
RESERVE = 1000
"""Open files that a process needs for itself."""


def measure(plan: Plan, samples: Samples, peers: Peers, troubles: Troubles) -> None:
    """Everything; each part on a stage of its own."""
    with troubles.watched(f"{plan.connections} idle connections of the stack alone"):
        command = [sys.executable, "-m", "tests.bench.programs.stack_memory", str(plan.connections)]
        told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=600)
        samples.add(SECTION, "the stack alone", connection_kib=json.loads(told.stdout)["octets"] / 1024, connections=plan.connections)
    with troubles.watched(f"{plan.connections} idle connections"), staged(plan.size) as stage:
        connections(stage, plan, samples, peers)
    with troubles.watched(f"{plan.members} idle peers"), staged(plan.size) as stage:
        crowd(stage, plan, samples)


def program(
    namespace: Namespace, stage: Stage, module: str, *arguments: str, line: str, stdin: int = subprocess.DEVNULL
) -> tuple[subprocess.Popen[bytes], str]:
    """Start one of the bench's programs and wait for a line of it."""
    log = stage.folder / f"{module}-{arguments[0]}.log"
    with log.open("wb") as output:
        process = namespace.start(
            sys.executable, "-m", f"tests.bench.programs.{module}", *arguments, stdout=output, stderr=output, stdin=stdin,
            cwd=str(ROOT),
        )
    return process, wait_for_line(log, line, process, patience=300)


def idle_cpu(pids: list[int], seconds: float) -> float:
    """The share of one core that processes use while nothing happens, in per cent."""
    time.sleep(min(SETTLE, seconds))
    before = cpu_seconds(pids)
    time.sleep(seconds)
    return (cpu_seconds(pids) - before) / seconds * 100


def connections(stage: Stage, plan: Plan, samples: Samples, peers: Peers) -> None:
    """Idle connections through the stacks of two nodes: forward on B, expose on A."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(plan.connections, hard - RESERVE)
    system = Userlan(stage, stage.folder / "system", peers)
    try:
        system.start()
        server, _ = program(stage.a, stage, "holders", "serve", str(SERVED), str(PORTS), line="ready")
        anna, ben = system.members
        for offset in range(PORTS):
            anna.run("expose", str(SERVED + offset))
            ben.run("forward", f"{FORWARDED + offset}:anna:{SERVED + offset}")
        pids = system.pids()
        samples.add(SECTION, "two nodes, one peer each", idle_cpu=idle_cpu(pids, plan.seconds) / 2, node_mib=max(map(memory, pids)))
        before = [memory(pid) for pid in pids]
        holder, _ = program(stage.b, stage, "holders", "open", str(FORWARDED), str(PORTS), str(count), line="open", stdin=subprocess.PIPE)
        cpu = idle_cpu(pids, plan.seconds) / 2
        after = [memory(pid) for pid in pids]
        assert holder.stdin is not None
        holder.stdin.write(b"\n")
        holder.stdin.close()
        answer = wait_for_line(stage.folder / "holders-open.log", "{", holder, patience=120)
        alive = json.loads(answer)["alive"]
        assert alive == count, f"{count - alive} of {count} idle connections are dead"
        assert server.poll() is None
        each = [(late - early) * 1024 / count for early, late in zip(before, after, strict=True)]
        for name, kib, mib in zip(("the node that exposes", "the node that forwards"), each, after, strict=True):
            samples.add(SECTION, name, connections=count, connection_kib=kib, node_mib=mib, idle_cpu=cpu)
    finally:
        system.stop()


def crowd(stage: Stage, plan: Plan, samples: Samples) -> None:
    """Idle peers of one node."""
    count, folder = plan.members, stage.folder
    mediator = Mediator(stage.a, folder / "mediator", f"{WIRE_A}:41414")
    anna = Member(stage.a, folder / "anna", "anna")
    anna.up("--mediator", mediator.url, "--listen", "0.0.0.0:41424")
    networks = min(OWN_NETWORKS, -(-count // NETWORK_SIZE))
    invites = [anna.run("create", f"own{number}").stdout.split()[0] for number in range(networks)]
    assert anna.process is not None
    pid = anna.process.pid
    before, begin = memory(pid), time.monotonic()
    program(stage.b, stage, "crowd", WIRE_B, str(count), anna.status()["self"]["key"], *invites, line="joined")

    def direct() -> int:
        return len([peer for peer in anna.status()["peers"] if peer["state"] == "direct"])

    until(lambda: direct() >= count, 60 + count, f"{count} direct peers", 1.0)
    took = time.monotonic() - begin
    cpu = idle_cpu([pid], plan.seconds)
    lost, mib = count - direct(), memory(pid)
    assert lost <= LOST * count, f"{lost} of {count} peers were lost while nothing happened"
    samples.add(
        SECTION, "one node", peers=count, peer_kib=(mib - before) * 1024 / count, node_mib=mib, idle_cpu=cpu, lost=lost,
        seconds_to_meet=took,
    )
    anna.stop()
