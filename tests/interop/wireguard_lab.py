"""A network namespace with wireguard-go in it, and our device on a plain UDP socket beside it.

The namespace is held by a process that this module starts; the socket is opened inside by a helper that hands its
descriptor over, so that the test itself never leaves its own namespace.
"""

from __future__ import annotations

import base64
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.lab.network import until
from userlan.tunnel.device import Device
from userlan.tunnel.events import SessionEstablished, TunnelEvent
from userlan.wire import icmp
from userlan.wire.endpoint import Endpoint
from userlan.wire.superpacket import SuperPacket

KERNEL = bytes((25, 7, 0, 1))
OURS = bytes((25, 7, 0, 2))
INTERFACE = "userlan-wg"
GO_PORT = 51820
GO_ENDPOINT = Endpoint("udp", "127.0.0.1", GO_PORT)
PRIVILEGED = os.geteuid() == 0
_POLL = 0.02  # seconds between looks at what the test waits for
_OPEN_SOCKET = """
import socket, sys
channel = socket.socket(fileno=int(sys.argv[1]))
opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
opened.bind(("127.0.0.1", 0))
socket.send_fds(channel, [b"socket"], [opened.fileno()])
"""


def missing() -> str:
    """Why these tests cannot run here; empty when they can."""
    for program in ("wireguard-go", "wg", "unshare", "nsenter", "ip", "ping"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"/dev/net/tun cannot be opened: {error}"
    try:
        with Namespace():
            return ""
    except OSError as error:
        return str(error)


class Namespace:
    """A network and mount namespace (with a /run of its own) and the processes in it."""

    def __init__(self) -> None:
        user = [] if PRIVILEGED else ["--user", "--map-root-user"]
        script = "mount -t tmpfs none /run && mkdir /run/wireguard && ip link set lo up && echo ready && read end"
        self._holder = subprocess.Popen(
            ["unshare", *user, "--net", "--mount", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise OSError("no network namespace can be made here")
        self._enter = ["nsenter", f"--target={self._holder.pid}", "--net", "--mount"]
        if not PRIVILEGED:
            self._enter += ["--user", "--preserve-credentials"]

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdin, self._holder.stdout):
            if stream is not None:
                stream.close()

    def start(self, *command: str, log: Path | None = None, **environment: str) -> subprocess.Popen[bytes]:
        with (log or Path(os.devnull)).open("wb") as output:
            return subprocess.Popen(
                [*self._enter, *command], stdout=output, stderr=output, env={**os.environ, **environment}
            )

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            [*self._enter, *command], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr.strip()}")
        return done.stdout

    def udp_socket(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(
                [*self._enter, sys.executable, "-c", _OPEN_SOCKET, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                timeout=60,
                check=True,
            )
            _, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
        return socket.socket(fileno=descriptors[0])


class WireguardGo:
    """wireguard-go in a namespace, with the address 25.7.0.1, port 51820 on the loopback, and us as its peer."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self._namespace = namespace
        self.log = folder / "wireguard-go.log"
        self._process = namespace.start(
            "wireguard-go", "--foreground", INTERFACE, log=self.log, WG_PROCESS_FOREGROUND="1", LOG_LEVEL="verbose"
        )
        self.private_key = namespace.run("wg", "genkey").strip()
        self.public_key = base64.b64decode(namespace.run("wg", "pubkey", text=self.private_key))
        until(self._begins, 60, "wireguard-go takes its key", 0.01)
        namespace.run("ip", "address", "add", "25.7.0.1/24", "dev", INTERFACE)
        namespace.run("ip", "link", "set", INTERFACE, "mtu", "1420", "up")

    def _begins(self) -> bool:
        if self._process.poll() is not None:
            raise OSError(f"wireguard-go ended: {self.log.read_text()[-300:]}")
        try:
            self._set("listen-port", str(GO_PORT), "private-key", "/dev/stdin", text=self.private_key)
        except RuntimeError:
            return False
        return True

    def _set(self, *arguments: str, text: str = "") -> None:
        self._namespace.run("wg", "set", INTERFACE, *arguments, text=text)

    def set_peer(self, public_key: bytes, port: int | None = None, preshared_key: bytes = bytes(32)) -> None:
        """Make us its peer; with a port it knows where we are."""
        where = ["endpoint", f"127.0.0.1:{port}"] if port is not None else []
        self._set(
            "peer", base64.b64encode(public_key).decode(), "allowed-ips", "25.7.0.2/32", *where,
            "preshared-key", "/dev/stdin", text=base64.b64encode(preshared_key).decode(),
        )  # fmt: skip

    def endpoint_port(self, public_key: bytes) -> int:
        """Where it believes us to be."""
        lines = self._namespace.run("wg", "show", INTERFACE, "endpoints").splitlines()
        (ours,) = [line for line in lines if line.startswith(base64.b64encode(public_key).decode())]
        return int(ours.rsplit(":", 1)[1])

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Node:
    """Our device with a socket in the namespace; it answers pings to 25.7.0.2."""

    def __init__(self, namespace: Namespace, **options: float) -> None:
        self._namespace = namespace
        self.device = Device(
            os.urandom(32),
            entropy=os.urandom,
            now=time.monotonic(),
            wall_offset=time.time() - time.monotonic(),
            **options,  # type: ignore[arg-type]
        )
        self.socket = namespace.udp_socket()
        self.events: list[TunnelEvent] = []
        self.kinds: list[int] = []
        self.replies: list[int] = []
        self.answered = 0

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    @property
    def established(self) -> list[SessionEstablished]:
        return [event for event in self.events if isinstance(event, SessionEstablished)]

    def roam(self, elsewhere: socket.socket) -> None:
        """Go on from another port."""
        self.socket.close()
        self.socket = elsewhere

    def close(self) -> None:
        self.socket.close()

    def ping(self, go: WireguardGo, sequence: int, size: int = 56) -> None:
        request = icmp.Echo(True, 1, sequence, bytes(size))
        self.device.send(go.public_key, icmp.build(request, OURS, KERNEL), time.monotonic())

    def run(self, until: Callable[[], bool], seconds: float = 30.0) -> bool:
        """Serve the socket until something holds; whether it does."""
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            self.device.tick(now)
            for burst in self.device.datagrams(now):
                for start in range(0, len(burst.data), burst.segment):
                    address = (burst.endpoint.host, burst.endpoint.port)
                    self.socket.sendto(burst.data[start : start + burst.segment], address)
            self.events += self.device.events()
            if until():
                return True
            if now >= end:
                return False
            due = self.device.deadline()
            wait = min(end - now, _POLL, _POLL if due is None else max(due - now, 0.0))
            if select.select([self.socket], [], [], wait)[0]:
                self._receive()

    def _receive(self) -> None:
        data, (host, port) = self.socket.recvfrom(65535)
        self.kinds.append(data[0])
        now = time.monotonic()
        for inbound in self.device.receive(data, 0, Endpoint("udp", host, port), now):
            for packet in inbound.packets:
                self._answer(inbound.peer.public_key, packet, now)

    def _answer(self, public_key: bytes, packet: SuperPacket, now: float) -> None:
        if packet.protocol != 1:
            return
        message = icmp.parse(packet)
        if not isinstance(message, icmp.Echo) or packet.destination != OURS:
            return
        if message.request:
            self.answered += 1
            self.device.send(public_key, icmp.build(message._replace(request=False), OURS, packet.source), now)
        else:
            self.replies.append(message.sequence)
