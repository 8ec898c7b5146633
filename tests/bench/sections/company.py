"""One node in a network of five hundred who are all there: until they have met, at rest, watched, with its page open, and one word to all.

Everything is on this computer's loopback. What a computer with other work stretches (seconds, milliseconds) stands beside the processor
time, which it does not.
"""

from __future__ import annotations

import base64
import json
import secrets
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs

from bridges.socks import build_datagram
from tests.bench.measure import Plan, Samples, Troubles, cpu_seconds, memory, quantile
from tests.bench.programs import ROOT
from tests.bench.programs.chatterers import BROADCAST, TALK_PORT, host
from tests.bench.programs.residents import keys_of, memories_of, port_of
from tests.bench.sections.browser import Browser, missing_browser
from tests.lab.network import end, until
from userlan.cli.client import Client, NotRunningError
from userlan.driver.state import save_json, write_atomically
from userlan.node.memory import Memory

SECTION = "company"
PROCESSES = 2
"""Of those who keep the one company."""
CONFIG = """\
name: {name}
embedded_mediator: never
traversal: {{port_mapping: no, lan_discovery: no}}
discovery: {{enabled: no}}
mdns: {{enabled: no}}
dns: {{listen: none}}
proxy: {{listen: 127.0.0.1:0}}
page: {{listen: 127.0.0.1:0}}
notices: {{enabled: no}}
"""
SETTLE = 20.0
"""Seconds after they have met in which they still find out what their paths carry (no longer than each phase is watched)."""
LOST = 0.02
"""The share of them that may be on their way back at a moment: a computer with other work starves a company in two processes."""
SHARE = 0.1
"""Of the members, that take leave and come back."""
PATIENCE = 240.0
"""Seconds for all to start, to meet, to hear something: the computer may have other work."""
POLL, PROBE = 0.5, 0.05
"""Seconds between two looks, and between two small questions that tell how long the node lets others wait."""
LAST_WORDS = 2.0
"""Seconds without anything heard after which a broadcast is over."""
STATUSES = 5
"""Times that the status is asked for."""


class Residents:
    """One process of those who keep it company."""

    def __init__(self, folder: Path, first: int, count: int, total: int, seed: str) -> None:
        command = [sys.executable, "-m", "tests.bench.programs.residents", str(folder), *map(str, (first, count, total)), seed]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)

    def line(self) -> str:
        """The next line that it prints."""
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], PATIENCE)
        assert ready, f"the company did not say anything for {PATIENCE:.0f} s"
        return output.readline().decode().strip()

    def ask(self, request: str) -> dict[str, Any]:
        """One request, and its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{request}\n".encode())
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


@attrs.define
class One:
    """The node that is weighed, ``userlan up``."""

    folder: Path
    process: subprocess.Popen[bytes]

    def call(self, command: str, **arguments: Any) -> Any:
        """A command of its."""
        client = Client(self.folder, PATIENCE)
        try:
            return client.request(command, arguments)
        finally:
            client.socket.close()

    def command_line(self, *words: str) -> list[str]:
        """``userlan …`` for it."""
        return [sys.executable, "-m", "userlan", "--state", str(self.folder), *words]

    def direct(self) -> set[str]:
        """Whom it reaches, by key."""
        return {row["key"] for row in self.call("status")["peers"] if row["state"] == "direct"}

    def cpu(self) -> float:
        """Seconds that it has used."""
        return cpu_seconds([self.process.pid])


def start(folder: Path, key: bytes, remembered: Memory, listen: str) -> One:
    """It begins with what it remembers."""
    folder.mkdir(mode=0o700)
    write_atomically(folder / "identity.key", base64.urlsafe_b64encode(key).rstrip(b"=") + b"\n")
    save_json(folder / "memory.json", remembered.dump())
    (folder / "config.yaml").write_text(CONFIG.format(name=remembered.name))
    command = [sys.executable, "-m", "userlan", "--state", str(folder), "--config", str(folder / "config.yaml"), "up", "--listen", listen]
    with (folder / "output.log").open("wb") as log:
        return One(folder, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True))


def measure(plan: Plan, samples: Samples, troubles: Troubles) -> None:
    """Everything, once."""
    with troubles.watched(f"a network of {plan.members}"), tempfile.TemporaryDirectory(prefix="userlan-company-") as place:
        folder, total, seed = Path(place), plan.members, secrets.token_hex(8)
        share = -(-(total - 1) // PROCESSES)
        company = [Residents(folder, first, min(share, total - first), total, seed) for first in range(1, total, share)]
        one = None
        try:
            for part in company:
                assert part.line() == "ready", "the company did not start"
            one = start(folder / "one", keys_of(seed, total)[0], memories_of(seed, total)[0], f"{host(0)}:{port_of(seed)}")
            phases(one, company, plan, samples)
        finally:
            for part in company:
                part.stop()
            if one is not None:
                end(one.process)


def phases(one: One, company: list[Residents], plan: Plan, samples: Samples) -> None:
    """One after the other."""
    others = plan.members - 1

    def row(name: str, **figures: float) -> None:
        samples.add(SECTION, name, mib=memory(one.process.pid), **figures)
        print(f"  {name}: {figures}", file=sys.stderr, flush=True)

    row("until all are met", **meeting(one, others))
    time.sleep(min(SETTLE, plan.seconds))
    row("at rest", **watched(one, plan.seconds))
    row("status --json", **statuses(one, others))
    with running(one.command_line("status", "--watch")):
        row("status --watch", **watched(one, plan.seconds))
    row("a broadcast to all", **broadcast(one, company, others))
    row("a chat message to all", **chat(one, others))
    if missing_browser() is None:
        with Browser(one.call("page")["url"], others) as page:
            row("page, at rest", **watched(one, plan.seconds, page))
            row("page, some come and go", **watched(one, plan.seconds, page, lambda: come_and_go(one, company, others)))
            row("page, scrolled", **watched(one, plan.seconds, page, lambda: page.scroll(plan.seconds)))
    until(lambda: len(one.direct()) >= others * (1 - LOST), PATIENCE, f"{others} are still there", POLL)


def meeting(one: One, others: int) -> dict[str, float]:
    """From the process's start on."""
    begin = time.monotonic()

    def started() -> bool:
        assert one.process.poll() is None, (one.folder / "output.log").read_text()[-1000:]
        try:
            return bool(one.call("hello"))
        except NotRunningError:
            return False

    until(started, PATIENCE, "the node runs", POLL)
    up, cpu = time.monotonic(), one.cpu()
    met: set[str] = set()

    def all_met() -> bool:
        met.update(one.direct())
        return len(met) >= others

    until(all_met, PATIENCE, f"{others} direct members", POLL)
    return {"started": up - begin, "seconds": time.monotonic() - up, "busy": one.cpu() - cpu}


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """A program of a person's, whose output nobody reads."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=silent, stdout=silent, stderr=silent, cwd=ROOT, start_new_session=True)
    try:
        time.sleep(1.0)
        yield
        assert process.poll() is None, f"{' '.join(command[-2:])} has ended with {process.returncode}"
    finally:
        end(process)


class Probe:
    """Asks the node something small again and again: as long as an answer takes, it does nothing else."""

    def __init__(self, one: One) -> None:
        self.times: list[float] = []
        self._one, self._over = one, threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _main(self) -> None:
        while not self._over.wait(PROBE):
            begin = time.monotonic()
            self._one.call("hello")
            self.times.append((time.monotonic() - begin) * 1000)


def watched(one: One, seconds: float, page: Browser | None = None, action: Callable[[], object] | None = None) -> dict[str, float]:
    """What the node and the page cost while ``action`` is done, or nothing; then once more with somebody who asks how long an answer
    takes, which costs something itself."""
    if page is not None:
        page.begin()
    begin, cpu = time.monotonic(), one.cpu()
    (action or (lambda: time.sleep(seconds)))()
    passed = time.monotonic() - begin
    figures = {"seconds": passed, "cpu": (one.cpu() - cpu) / passed * 100}
    if page is not None:
        figures |= page.end(passed)
    with Probe(one) as probe:
        (action or (lambda: time.sleep(seconds / 2)))()
    return figures | {"answer": quantile(probe.times, 0.5), "longest": max(probe.times)} if probe.times else figures


def statuses(one: One, others: int) -> dict[str, float]:
    """Asked for by the command line, and through the socket alone."""
    begin = time.monotonic()
    result = subprocess.run(one.command_line("status", "--json"), capture_output=True, check=True, timeout=PATIENCE, cwd=ROOT)
    took = time.monotonic() - begin
    assert len(json.loads(result.stdout)["peers"]) == others, "the status does not tell of all"
    cpu, times = one.cpu(), []
    for _ in range(STATUSES):
        begin = time.monotonic()
        one.call("status")
        times.append((time.monotonic() - begin) * 1000)
    return {"kib": len(result.stdout) / 1024, "seconds": took, "answer": quantile(times, 0.5), "longest": max(times),
            "busy": (one.cpu() - cpu) / STATUSES}


def broadcast(one: One, company: list[Residents], others: int) -> dict[str, float]:
    """By a program of the node's computer, through its proxy."""
    until(lambda: len(one.direct()) >= others * (1 - LOST), PATIENCE, f"{others} are there", POLL)
    for part in company:
        part.ask("heard")
    proxy_host, _, proxy_port = str(one.call("status")["bridges"]["proxy"]).rpartition(":")
    cpu = one.cpu()
    with socket.create_connection((proxy_host, int(proxy_port)), PATIENCE) as control:
        control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(4) + struct.pack("!H", 0))
        with control.makefile("rb") as answers:
            reply = answers.read(12)
        assert reply[:6] == b"\x05\x00\x05\x00\x00\x01", f"the proxy refused: {reply!r}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
            port = int.from_bytes(reply[10:], "big")
            said = time.monotonic()
            program.sendto(build_datagram(BROADCAST, TALK_PORT, b"." * 200), (socket.inet_ntoa(reply[6:10]), port))
            heard, last, before = 0, said, -1
            while heard != before and heard < others:
                before = heard
                time.sleep(LAST_WORDS)
                for answer in [part.ask("heard") for part in company]:
                    heard, last = heard + answer["count"], max(last, answer["last"])
    assert 0 < heard <= others, f"{heard} of {others} heard one broadcast"
    return {"seconds": last - said, "busy": one.cpu() - cpu, "lost": others - heard}


def chat(one: One, others: int) -> dict[str, float]:
    """To the network; until the last has it on its disk."""
    cpu, begin = one.cpu(), time.monotonic()
    network = one.call("status")["networks"][0]["name"]
    with Probe(one) as probe:
        sent = one.call("chat-send", to=network, text="to all of you")["message"]
        assert sent["recipients"] == others, f"it is for {sent['recipients']} of {others}"

        def delivered() -> bool:
            messages = one.call("chat-history", conversation=sent["conversation"], limit=1)["messages"]
            return bool(messages[0]["state"] == "delivered" and messages[0]["delivered"] == others)

        until(delivered, PATIENCE, f"{others} have a message", POLL)
    return {"seconds": time.monotonic() - begin, "busy": one.cpu() - cpu, "longest": max(probe.times, default=0.0)}


def come_and_go(one: One, company: list[Residents], others: int) -> None:
    """Some take leave, and come back."""
    each = max(1, int(others * SHARE / len(company)))
    gone = sum(part.ask(f"away {each}")["away"] for part in company)
    until(lambda: len(one.direct()) <= others - gone, PATIENCE, f"{gone} have gone", POLL)
    for part in company:
        part.ask("back")
    until(lambda: len(one.direct()) >= others * (1 - LOST), PATIENCE, f"{gone} are back", POLL)
