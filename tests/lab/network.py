"""Namespaces, a wire between them, and processes inside them."""

from __future__ import annotations

import contextlib
import copy
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TOOLS = ("ip", "unshare", "nsenter")
ECHO_PATIENCE = 60
"""Seconds for echo requests to be answered."""
START_TIMEOUT = 60.0
"""Seconds in which a namespace must exist: the machine may have other work."""
ORDINARY = ("--map-user=65534", "--map-group=65534")
"""A user that every system names (nobody), to whom the lab's files belong: programs as root would run with all of its rights."""

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where systems keep servers and what administrates; the PATH of Debian's ordinary users is without."""


def find_servers() -> None:
    """Let PATH end with the system folders: as root of a namespace of their own everybody may run what is there."""
    present = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*present, *(folder for folder in SYSTEM_FOLDERS if folder not in present)])


def user_name() -> str:
    """Whom a server that runs :meth:`Namespace.as_ourselves` knows; the environment may name somebody else."""
    return pwd.getpwuid(os.geteuid()).pw_name


def unavailable() -> str | None:
    """Why no namespaces can be made here, or None."""
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"the program {tool} is missing"
    command = ["unshare", "-n", "true"] if os.geteuid() == 0 else ["unshare", "-Urn", "true"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if result.returncode:
        return f"network namespaces are not allowed here: {result.stderr.strip()}"
    return None


def tun_unavailable() -> str | None:
    """Why no TUN or TAP device can be made here, or None."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "/dev/net/tun cannot be opened by this user"
    return None


class Namespace:
    """One network namespace: a sleeping process, and how to run others beside it."""

    def __init__(self, name: str, enter: Sequence[str], lab: Lab) -> None:
        self.name = name
        self.lab = lab
        self._holder = subprocess.Popen([*enter, "unshare", "-n", "sleep", "3600"], start_new_session=True)
        self.pid = self._holder.pid if not enter else self._child_pid()
        self._enter = [*lab.user_enter, "nsenter", "-n", "-t", str(self.pid)]
        self._wait()
        self.ip("link", "set", "lo", "up")

    def _child_pid(self) -> int:
        return self._holder.pid      # nsenter and unshare exec: the process stays the same

    def _wait(self) -> None:
        give_up = time.monotonic() + START_TIMEOUT
        own = os.readlink("/proc/self/ns/net")
        outer = os.readlink(f"/proc/{self.lab.user_holder}/ns/net") if self.lab.user_holder else own
        while time.monotonic() < give_up:
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{self.pid}/ns/net") not in (own, outer):
                    return
            time.sleep(0.01)
        raise RuntimeError(f"the namespace {self.name} did not come up")

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs ``arguments`` inside."""
        return [*self._enter, *arguments]

    def run(self, *arguments: str, check: bool = True, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end, with its output as text."""
        result = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **options
        )
        if check and result.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start in the background; ended with the lab."""
        options.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(self.command(*arguments), start_new_session=True, **options)
        self.lab.processes.append(process)
        return process

    def ip(self, *arguments: str) -> None:
        """One ``ip`` command."""
        self.run("ip", *arguments)

    def nft(self, rules: str) -> None:
        """Load nftables rules."""
        subprocess.run(self.command("nft", "-f", "-"), input=rules, text=True, check=True, timeout=60)

    def ordinary(self) -> Namespace:
        """This namespace as a user without privileges enters it: of another user namespace, as ``nobody``, with no capability."""
        holder = subprocess.Popen([*self.lab.user_enter, "unshare", "-U", *ORDINARY, "sleep", "3600"], start_new_session=True)
        self.lab.processes.append(holder)
        give_up = time.monotonic() + START_TIMEOUT
        while Path(f"/proc/{holder.pid}/comm").read_text() != "sleep\n":
            if time.monotonic() > give_up:
                raise RuntimeError(f"there is no ordinary user in the namespace {self.name}")
            time.sleep(0.01)
        return self.through("nsenter", "--preserve-credentials", "-U", "-t", str(holder.pid))

    def as_ourselves(self) -> Namespace:
        """This namespace as whoever runs the tests: root is root in it; others, who are root of a user namespace there, are themselves
        again, so that sshd, which cannot change users in that one, serves its own user and needs no right for it."""
        if not self.lab.user_enter:
            return self
        return self.through("unshare", "-U", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}")

    def through(self, *prefix: str) -> Namespace:
        """The same, with these words before each command."""
        same = copy.copy(self)
        same._enter = [*self._enter, *prefix]
        return same

    def close(self) -> None:
        """End the namespace."""
        end(self._holder)


class Lab:
    """All namespaces of one test. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.namespaces: list[Namespace] = []
        self.user_enter: list[str] = []
        self.user_holder = 0
        self._holder: subprocess.Popen[bytes] | None = None
        self._links = 0
        if os.geteuid() != 0:
            self._holder = subprocess.Popen(["unshare", "-Urn", "sleep", "3600"], start_new_session=True)
            self.user_holder = self._holder.pid
            own, give_up = os.readlink("/proc/self/ns/user"), time.monotonic() + START_TIMEOUT
            while not self._mapped(own) and time.monotonic() < give_up:
                time.sleep(0.01)
            self.user_enter = ["nsenter", "--preserve-credentials", "-U", "-t", str(self.user_holder)]

    def _mapped(self, own: str) -> bool:
        """Whether the holder has a user namespace of its own, and its users are mapped: before that nobody may do anything in it."""
        holder = Path(f"/proc/{self.user_holder}")
        return os.readlink(holder / "ns/user") != own and bool((holder / "uid_map").read_text())

    def namespace(self, name: str) -> Namespace:
        """A new, empty one (loopback up)."""
        namespace = Namespace(name, self.user_enter, self)
        self.namespaces.append(namespace)
        return namespace

    def number(self) -> int:
        """One that no other link has."""
        self._links += 1
        return self._links

    def wire(self, one: Namespace, two: Namespace, name_one: str = "", name_two: str = "", mtu: int = 1500) -> tuple[str, str]:
        """A veth pair between two namespaces, both ends up; the interface names are returned."""
        self._links += 1
        first, second = name_one or f"v{self._links}a", name_two or f"v{self._links}b"
        one.ip("link", "add", first, "mtu", str(mtu), "type", "veth", "peer", "name", second, "mtu", str(mtu), "netns", str(two.pid))
        one.ip("link", "set", first, "up")
        two.ip("link", "set", second, "up")
        return first, second

    def switch(self, name: str, hosts: Sequence[tuple[Namespace, str]]) -> Namespace:
        """A namespace with a bridge; each host gets a wire to it as ``eth0`` with the address (``10.1.0.2/24``)."""
        middle = self.namespace(name)
        middle.ip("link", "add", "br0", "type", "bridge")
        middle.ip("link", "set", "br0", "up")
        for host, address in hosts:
            self.attach(middle, host, address)
        return middle

    def attach(self, middle: Namespace, host: Namespace, address: str, interface: str = "eth0") -> None:
        """One more host on a switch."""
        self._links += 1
        port = f"p{self._links}"
        host.ip("link", "add", interface, "type", "veth", "peer", "name", port, "netns", str(middle.pid))
        middle.ip("link", "set", port, "master", "br0")
        middle.ip("link", "set", port, "up")
        host.ip("addr", "add", address, "dev", interface)
        host.ip("link", "set", interface, "up")

    def close(self) -> None:
        """End every process that the lab started, then the namespaces."""
        for process in reversed(self.processes):
            end(process)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for namespace in self.namespaces:
            namespace.close()
        if self._holder is not None:
            end(self._holder)

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


def end(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """Terminate a process (and what it started in its session), then kill it."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(patience)


def until(condition: Any, patience: float, what: str, interval: float = 0.05) -> Any:
    """Poll until ``condition()`` is true (its value is returned); AssertionError that names ``what`` after ``patience`` seconds."""
    give_up = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < give_up, f"not within {patience:.0f} s: {what}"
        time.sleep(interval)


def echoes(count: int, interval: float = 0.1) -> tuple[str, ...]:
    """Options by which ping(8) asks until ``count`` requests were answered, however late. Its ``-W`` is for the time in which nothing at
    all was answered: after an answer it waits for the last one no longer than two round trips, or an interval."""
    return ("-n", "-c", str(count), "-i", str(interval), "-w", str(ECHO_PATIENCE))


def answered(output: str, count: int) -> list[int]:
    """Which of its first ``count`` requests ping(8) has an answer to, by ``icmp_seq``: all, one after the other, where none was lost.
    While an answer is late it asks on, and may read those to two requests before it looks whether it has enough."""
    numbers = map(int, re.findall(r" icmp_seq=(\d+) ttl=\d+ time=", output))
    return [number for number in numbers if number <= count]


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """A lab for one test."""
    with Lab(folder) as made:
        yield made
