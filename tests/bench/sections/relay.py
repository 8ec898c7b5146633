"""Relays: what one process carries from one end to the other on one core, beside coturn's.

Two ends and the relay are namespaces, with a wire from the relay to each end. The relay is held to one core and the ends to the others,
where there are any. Per round and system: a flood (what arrives of it is what the relay carries at most), a steady gigabit (what is lost of
it), and the processor time for each octet, which says what one core carries where the machine has other work to do.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.measure import Plan, Samples, Troubles, cpu_seconds
from tests.bench.programs import ROOT
from tests.lab.network import Lab, Namespace, lab
from tests.lab.userlan_process import wait_for_line
from userlan.lan.addresses import key_text

SECTION = "relay"
SENDER, RELAY_A, RELAY_B, RECEIVER = "10.1.1.2", "10.1.1.1", "10.1.2.1", "10.1.2.2"
PORT, TURN_PORT, SINK_PORT = 41414, 3478, 5000
GIGABIT = 125e6
"""Octets a second."""
START = 20.0
"""Seconds for a relay to come up."""


def measure(plan: Plan, samples: Samples, troubles: Troubles) -> None:
    """All rounds of both systems, in turn."""
    systems: dict[str, Callable[[Stage], None]] = {"userlan": userlan, "bare wire": bare}
    if shutil.which("turnserver"):
        systems["coturn"] = coturn
    for number in range(plan.rounds):
        for name, start in systems.items():
            with troubles.watched(f"round {number + 1}: relay {name}"), tempfile.TemporaryDirectory() as folder, lab(Path(folder)) as made:
                stage = Stage(made, Path(folder))
                start(stage)
                stage.trial(0.5, 0.0)
                sent, received, cpu = stage.trial(plan.flood, 0.0)
                samples.add(SECTION, name, rate=received["octets"] * 8 / received["seconds"] / 1e6)
                if cpu > 0:
                    samples.add(SECTION, name, one_core=received["octets"] * 8 / cpu / 1e6, busy=cpu / sent["seconds"])
                sent, received, _ = stage.trial(plan.flood, GIGABIT)
                samples.add(SECTION, name, gigabit_loss=100 * max(0.0, 1 - received["packets"] / sent["packets"]))


class Stage:
    """The ends and what is between them. ``sending``, ``receiving``: arguments of ``tests.bench.programs.relayed``."""

    def __init__(self, made: Lab, folder: Path) -> None:
        self.folder = folder
        self.a, self.middle, self.b = (made.namespace(name) for name in ("sender", "relay", "receiver"))
        self.pid = 0
        self.sending: list[str] = []
        self.receiving: list[str] = []
        self._sink: Path | None = None
        for end, own, other in ((self.a, SENDER, RELAY_A), (self.b, RECEIVER, RELAY_B)):
            outside, inside = made.wire(end, self.middle)
            end.ip("addr", "add", f"{own}/24", "dev", outside)
            end.ip("route", "add", "default", "via", other)
            self.middle.ip("addr", "add", f"{other}/24", "dev", inside)

    def start(self, namespace: Namespace, name: str, *command: str, core: bool = False) -> tuple[subprocess.Popen[bytes], Path]:
        """A process, held to the first core (the relay) or to the others; its output goes to a file."""
        log = self.folder / f"{name}.log"
        cores = sorted(os.sched_getaffinity(0))
        chosen = cores[:1] if core else cores[1:] or cores
        held = ["taskset", "-c", ",".join(map(str, chosen)), *command] if shutil.which("taskset") else list(command)
        with log.open("wb") as output:
            return namespace.start(*held, stdout=output, stderr=output, cwd=str(ROOT)), log

    def trial(self, seconds: float, rate: float) -> tuple[dict[str, Any], dict[str, Any], float]:
        """What was sent, what arrived, and the relay's processor time in seconds."""
        if self._sink is None:
            program = [sys.executable, "-m", "tests.bench.programs.relayed", "receive", *self.receiving]
            process, self._sink = self.start(self.b, "sink", *program)
            wait_for_line(self._sink, "ready", process, patience=START)
        told = len(self._sink.read_text().splitlines())
        program = [sys.executable, "-m", "tests.bench.programs.relayed", "send", *self.sending]
        before = cpu_seconds([self.pid]) if self.pid else 0.0
        process, log = self.start(self.a, "source", *program, "--seconds", str(seconds), "--rate", str(rate))
        assert process.wait(60 + seconds) == 0, log.read_text()
        give_up = time.monotonic() + 30.0
        while len(lines := self._sink.read_text().splitlines()) <= told:
            assert time.monotonic() < give_up, f"nothing arrived: {lines}"
            time.sleep(0.05)
        cpu = cpu_seconds([self.pid]) - before if self.pid else 0.0
        return json.loads(log.read_text().splitlines()[-1]), json.loads(lines[-1]), cpu


def userlan(stage: Stage) -> None:
    """``userlan relay``, with a pool's key from an earlier run and a mediator that is away."""
    mediator, key = key_text(secrets.token_bytes(32)), secrets.token_bytes(32)
    state, config = stage.folder / "relay", stage.folder / "relay.yaml"
    state.mkdir(mode=0o700)
    (state / "relay.json").write_text(json.dumps({"pools": {mediator: base64.b64encode(key).decode()}}))
    config.write_text("relay:\n  client_rate: 0\n")
    url = f"userlan://127.0.0.1:9/{mediator}"
    command = [sys.executable, "-m", "userlan", "--state", str(state), "--config", str(config), "-v", "relay", "--mediator", url]
    process, log = stage.start(stage.middle, "userlan", *command, "--listen", f"0.0.0.0:{PORT}", core=True)
    stage.pid = process.pid
    wait_for(lambda: process.poll() is None and bound(stage.middle, PORT), log)
    stage.sending = ["userlan", RELAY_A, str(PORT), "--key", key.hex()]
    stage.receiving = ["userlan", RELAY_B, str(PORT), "--key", key.hex()]


def coturn(stage: Stage) -> None:
    """coturn with one relay thread."""
    command = [
        "turnserver", "-n", "--no-auth", "--no-tls", "--no-dtls", "--no-cli", "-m", "1", "-L", RELAY_A, "-E", RELAY_B,
        "--allow-loopback-peers", "--log-file", "stdout", "--pidfile", str(stage.folder / "turn.pid"), "-b", str(stage.folder / "turn.db"),
    ]
    process, log = stage.start(stage.middle, "coturn", *command, core=True)
    stage.pid = process.pid
    wait_for(lambda: process.poll() is None and bound(stage.middle, TURN_PORT), log)
    stage.sending = ["turn", RELAY_A, str(TURN_PORT), "--peer", f"{RECEIVER}:{SINK_PORT}"]
    stage.receiving = ["turn", RELAY_B, str(TURN_PORT), "--own-port", str(SINK_PORT)]


def bare(stage: Stage) -> None:
    """The kernel's own forwarding: what the ends and the wires can do."""
    stage.middle.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    stage.sending = ["bare", RECEIVER, str(SINK_PORT)]
    stage.receiving = ["bare", RECEIVER, str(SINK_PORT), "--own-port", str(SINK_PORT)]


def bound(namespace: Namespace, port: int) -> bool:
    """Whether a UDP socket listens on a port."""
    return f":{port:04X} " in namespace.run("cat", "/proc/net/udp").stdout


def wait_for(condition: Callable[[], bool], log: Path) -> None:
    """Until a relay is up; AssertionError with what it said otherwise."""
    give_up = time.monotonic() + START
    while not condition():
        assert time.monotonic() < give_up, f"it did not come up: {log.read_text()[-500:]}"
        time.sleep(0.1)
