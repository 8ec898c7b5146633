"""Our host behind a TUN device: the process that the tests talk to, and their side of it.

::

    curl, iperf3, ping, servers ─ kernel TCP/IP ─ lan0 (TUN) ─ Road ─▶ join ─▶ Host ─ services
                                                             ◀─ Road ◀─ cut ◀─

Run in a namespace of its own: ``python -m tests.interop.kernel FOLDER``, which gets a trace of what each side sent and
got, ``kernel.pcap`` and ``host.pcap``: the difference is the weather. It prints ``ready``, and then one line of JSON for
each line of JSON on its standard input: a connection to open, an echo to send, other weather on the road.

::

    a program ─ 127.0.0.1, a gate ─ Splice ─ our Host as the client ─ Road ─ lan0 ─ kernel TCP/IP ─ a server
    a program ─ kernel TCP/IP ─ lan0 ─ Road ─ our Host as the server ─ Splice ─ 127.0.0.1, a server
"""

from __future__ import annotations

import ipaddress
import json
import os
import selectors
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from tests.interop.kernel_services import IPERF_PORTS, SSH_PORT, Gate, Services, Splice, content
from tests.interop.kernel_stage import HOST_IPV4, HOST_IPV6, KERNEL_IPV4, KERNEL_IPV6, MTU, Road, Trace, Tun, Weather
from tests.lab.network import Lab, Namespace, end
from userlan.stack import EchoFailed, EchoReply, Host, HostConfig
from userlan.wire.superpacket import cut, join

SERVERS = (SSH_PORT, 8000, 9000, *IPERF_PORTS)
"""Ports of the kernel's services that have a gate for each family."""

SEED = 7


def gate_port(family: int, port: int) -> int:
    """Where, on the kernel's loopback, our host can be made to connect to ``port`` of the kernel."""
    return port + (10_000 if family == 4 else 20_000)


class Harness:
    """The process behind the TUN."""

    def __init__(self, folder: Path) -> None:
        self.tun = Tun()
        self.kernels, self.ours = (Trace(str(folder / name)) for name in ("kernel.pcap", "host.pcap"))
        self.inwards, self.outwards = Road(Weather(), SEED), Road(Weather(), SEED + 1)
        self.selector = selectors.DefaultSelector()
        self.host = Host(entropy=Random(SEED).randbytes, config=HostConfig(mtu=MTU))
        for address in (HOST_IPV4, HOST_IPV6):
            self.host.add_address(ipaddress.ip_address(address).packed)
        self.services = Services(self.host, self.selector)
        addresses = {4: ipaddress.ip_address(KERNEL_IPV4).packed, 6: ipaddress.ip_address(KERNEL_IPV6).packed}
        self.services.open_gates(
            [Gate(gate_port(family, port), (address, port)) for family, address in addresses.items() for port in SERVERS]
        )
        self.counters: Counter[str] = Counter()
        self._commands = b""
        self._running = True

    def run(self) -> None:
        os.set_blocking(0, False)
        self.selector.register(self.tun.handle, selectors.EVENT_READ)
        self.selector.register(0, selectors.EVENT_READ)
        print("ready", flush=True)
        while self._running:
            ready = self.selector.select(self._pause())
            now = time.monotonic()
            for key, _ in ready:
                if isinstance(key.data, Splice):
                    key.data.go_on(now)
                elif isinstance(key.data, Gate):
                    self.services.enter(key.data, now)
                elif key.fd == 0:
                    self._read_commands(now)
                else:
                    packets = self.tun.read()
                    self.kernels.add(packets, now)
                    self._to_kernel(self.inwards.send(packets, now), now)
            self._turn(now)

    def _pause(self) -> float | None:
        times = (self.inwards.deadline(), self.outwards.deadline(), self.host.deadline())
        first = min((at for at in times if at is not None), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    def _turn(self, now: float) -> None:
        self._to_host(self.inwards.arrived(now), now)
        deadline = self.host.deadline()
        if deadline is not None and deadline <= now:
            self.host.tick(now)
        for event in self.host.events():
            if isinstance(event, EchoReply):
                self._say({"echo": event.sequence, "length": len(event.payload)})
            elif isinstance(event, EchoFailed):
                self._say({"echo": event.sequence, "error": event.reason})
            else:
                self.services.handle(event, now)
        for superpacket in self.host.packets(now):
            pieces = cut(superpacket, True)
            self.ours.add(pieces, now)
            self._to_host(self.outwards.send(pieces, now), now)
        self._to_kernel(self.outwards.arrived(now), now)
        for client in [client for client in self.services.clients if client.outcome is not None]:
            self.services.clients.remove(client)
            self._say(client.outcome)

    def _to_host(self, packets: list[bytes], now: float) -> None:
        self.ours.add(packets, now)
        for packet in join(packets, False, self.counters):
            self.host.receive(packet, now)

    def _to_kernel(self, packets: list[bytes], now: float) -> None:
        self.kernels.add(packets, now)
        for packet in packets:
            self.tun.write(packet)

    def _read_commands(self, now: float) -> None:
        data = os.read(0, 65536)
        self._running = bool(data)
        self._commands += data
        *lines, self._commands = self._commands.split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["do"] == "counters":
                marked = {"marked-inwards": self.inwards.marked, "marked-outwards": self.outwards.marked}
                self._say({**self.counters, **self.host.counters, **marked})
                continue
            if command["do"] == "weather":
                self.inwards.weather = self.outwards.weather = Weather(**command["weather"])
                failures, self.services.failures = self.services.failures, []
                self._say({"failures": failures})
                continue
            address = ipaddress.ip_address(command["address"]).packed
            if command["do"] == "ping":
                self.host.ping(address, 77, command["sequence"], content(command["size"]), now)
            else:
                request = command["request"].encode("latin-1") + content(command["size"])
                self.services.connect(address, command["port"], request, command["half_close"], now)

    def _say(self, value: object) -> None:
        print(json.dumps(value), flush=True)


class Bed:
    """The tests' side: a namespace with the harness in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lab = Lab(folder)
        self._lab.__enter__()
        self.namespace: Namespace = self._lab.namespace("kernel")
        root = Path(__file__).parents[2]
        self._errors = folder / "harness.log"
        with self._errors.open("wb") as log:
            self._process = subprocess.Popen(
                self.namespace.command(sys.executable, "-m", "tests.interop.kernel", str(folder)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=root,
                start_new_session=True,
            )
        assert self._line() == "ready", self._errors.read_text()

    def ask(self, **command: object) -> dict[str, Any]:
        """One command to the harness and its answer; AssertionError with its last words when it has died."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        line = self._line()
        assert line, self._errors.read_text()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def connect(self, address: str, port: int, request: str = "", size: int = 0, half_close: bool = False) -> Any:
        """Our host as the client: the outcome of one connection."""
        return self.ask(
            do="connect", address=address, port=port, request=request, size=size, half_close=half_close
        )

    def weather(self, **weather: float) -> list[str]:
        """Other weather on the road from now on (``kernel_stage.Weather``); the connections of our host that ended
        badly since the last time."""
        failures: list[str] = self.ask(do="weather", weather=weather)["failures"]
        return failures

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A program of the kernel's side, to its end."""
        return self.namespace.run(*arguments, check=False, timeout=timeout)

    def close(self) -> None:
        """End everything; AssertionError when the harness had died or complained."""
        alive = self._process.poll() is None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        end(self._process)
        self._lab.__exit__(None, None, None)
        assert alive, self._errors.read_text()
        assert "Traceback" not in self._errors.read_text()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


if __name__ == "__main__":
    Harness(Path(sys.argv[1])).run()
