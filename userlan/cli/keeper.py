"""The keeper of the place in which the programs of ``userlan run`` are: one process for all of a state folder.

::

    STATE/namespace.lock     held by each `userlan run` until its program is there, by a keeper that makes the place, and
                             by one that ends: nobody enters what is not there yet, or about to go
    STATE/namespace.keeper   held as long as the keeper lives; its text is its process id and its network namespace's inode

    forked ── namespaces, TAP, furniture ── node: "namespace" ─▶ addresses ── "" to the command: ready
                                              │ the node goes away: look for it again, hand it the same TAP
                                              │ the last program ends: let the node go first, then end

The TAP stays open here, unread, so that interface, connections and groups outlive a node that is started anew.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from userlan.cli.client import ApiError, Client, stop_node

LOCK_NAME, KEEPER_NAME, LOG_NAME = "namespace.lock", "namespace.keeper", "namespace.log"
INTERFACE = "lan0"
NODE_PATIENCE, ADDRESS_PATIENCE = 60.0, 10.0
"""Seconds for the node's first word, on a machine with much else to do, and for the IPv4 address of one that has just started; programs
then begin without."""
NODE_POLL = 1.0
"""Seconds between two looks whether a node that went away is there again."""
ENTERING_POLL = 0.1
"""Seconds between two looks for the first program, and for those that cannot be waited for."""
RESOLVER_POLL = 5.0
"""Seconds between two looks whether resolv.conf is still ours."""
LEAVE_PATIENCE = 5.0
"""Seconds in which the node must have closed its end of the TAP."""

STALE_FRAMES, FRAME_SIZE = 4_096, 1 << 17
"""Frames that may have waited in the kernel (its queue holds 500), and more octets than one has."""


@attrs.frozen
class Wanted:
    """What the first program asks for, and all others then have."""

    mtu: int | None
    internet: bool
    stop_node: bool = False
    """Whether the node is there for the programs alone, and ends with them."""


@attrs.frozen
class KeptBy:
    """Who keeps a place, and which network namespace that is."""

    pid: int
    network: int

    def is_here(self) -> bool:
        """Whether this process is there."""
        return os.stat("/proc/self/ns/net").st_ino == self.network


def take_lock(state: Path, wait: bool = True) -> int:
    """Hold the entrance; BlockingIOError where somebody does and ``wait`` is false. It goes with the descriptor."""
    descriptor = os.open(state / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def keeper_of(state: Path) -> KeptBy | None:
    """The keeper that lives, for whoever holds the entrance."""
    try:
        descriptor = os.open(state / KEEPER_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return None     # nobody holds it: killed
    except BlockingIOError:
        pid, network = os.read(descriptor, 40).split()
        return KeptBy(int(pid), int(network))
    finally:
        os.close(descriptor)


def is_inside(state: Path) -> bool:
    """Whether this process is one of the programs of a state folder's node."""
    with suppress(OSError, IndexError):
        return (state / KEEPER_NAME).read_text("ascii", "replace").split()[1] == str(os.stat("/proc/self/ns/net").st_ino)
    return False


def start_keeper(state: Path, wanted: Wanted, entrance: int) -> tuple[KeptBy, list[str]]:
    """Make the place, with a keeper; who that is, and warnings. ``entrance``: the lock, which is the keeper's, too, until the place is
    made: a caller that is killed meanwhile leaves nobody in who would find half of it.

    Raises ApiError with the reason why there can be none. This process must have one thread alone; it becomes the program,
    which is not to find a child that it has not made: the keeper is nobody's.
    """
    ours, theirs = os.pipe()
    between = os.fork()
    if between == 0:
        status = 1
        try:
            os.close(ours)
            status = 0 if os.fork() else _keep(state, wanted, theirs, entrance)
        finally:
            os._exit(status)
    os.close(theirs)
    os.waitpid(between, 0)
    with os.fdopen(ours, "rb") as told:
        *lines, last = told.read().decode("utf-8", "replace").split("\n")
    keeper = keeper_of(state)
    if last != "ready" or keeper is None:
        raise ApiError((last if last != "ready" else "") or f"the keeper of the namespace has ended: see {state / LOG_NAME}")
    return keeper, lines


def _keep(state: Path, wanted: Wanted, told: int, entrance: int) -> int:
    """All of the keeper's life; its exit status."""
    from userlan.driver.namespace.refusals import NamespaceError
    from userlan.driver.tap.device import TapError

    keeper = None
    try:
        keeper = Keeper(state, wanted, told, entrance)
        keeper.open()
        keeper.stay()
    except (NamespaceError, TapError, ApiError) as error:
        if keeper is not None and keeper.ready:
            _note(str(error))
        else:
            with suppress(BrokenPipeError):
                os.write(told, str(error).encode())
        return 1
    except Exception:
        import traceback

        _note(traceback.format_exc())
        return 1
    finally:
        (state / KEEPER_NAME).unlink(missing_ok=True)
    return 0


def _note(text: str) -> None:
    """To the log, which standard error is by now."""
    os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n".encode())


class Keeper:
    """Of one place. ``told``: where ``ready`` is written, or why it is not; ``entrance``: held until then."""

    def __init__(self, state: Path, wanted: Wanted, told: int, entrance: int) -> None:
        self.ready = False
        self._state = state
        self._wanted = wanted
        self._told = told
        self._warnings: list[str] = []
        self._client: Client | None = None
        self._setup: Any = None
        self._another = False
        """Whether the next node has not said yet what the interface is to be."""
        self._next_try = 0.0
        self._next_check = 0.0
        self._entrance = entrance
        self._name = -1

    # ------------------------------------------------------------------ opening

    def open(self) -> None:
        """Make the place, and wait until the node carries for it. Raises NamespaceError, TapError, ApiError."""
        from userlan.driver.namespace.furnishing import furnish
        from userlan.driver.namespace.making import make
        from userlan.driver.namespace.refusals import device_refused, namespaces_refused
        from userlan.driver.namespace.residents import Residents
        from userlan.driver.namespace.resolver import Resolver
        from userlan.driver.tap.device import TapError, open_tap, stack_ports

        self._go_to_the_background()
        make()
        os.write(self._name, f"{os.getpid()} {os.stat('/proc/self/ns/net').st_ino}".encode())
        try:
            self._tap = open_tap(INTERFACE)
        except TapError as error:
            raise device_refused(error) from None
        try:
            furnish(self._state)
        except OSError as error:
            raise namespaces_refused(error, {}) from None
        self._ports = stack_ports()
        self._resolver = Resolver(self._state)
        self._warn(self._resolver.keep())
        self._residents = Residents()
        self._connect()
        began = time.monotonic()
        while not self._has_ipv4():
            left = began + (NODE_PATIENCE if self._setup is None else ADDRESS_PATIENCE) - time.monotonic()
            if left <= 0:
                break
            self._wait(left)
            self._hear()
        if self._setup is None:
            raise ApiError("the node does not say which address it has: see `userlan status`")
        if not self._has_ipv4():
            self._warn("there is no IPv4 address yet: see `userlan status`")
        with suppress(BrokenPipeError):     # the command was called off: then nobody comes, and we end in order
            os.write(self._told, "\n".join((*self._warnings, "ready")).encode())
        os.close(self._told)
        os.close(self._entrance)
        self.ready = True

    def _go_to_the_background(self) -> None:
        """Out of the terminal's sight, as a daemon; and say who it is."""
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        name = os.open(self._state / KEEPER_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_TRUNC, 0o600)
        fcntl.flock(name, fcntl.LOCK_EX)
        self._name = name
        log = os.open(self._state / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for target, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, target)
        kept = {0, 1, 2, name, self._told, self._entrance}
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor not in kept:
                with suppress(OSError):
                    os.close(descriptor)    # what the caller had open is not kept open by us
        os.chdir("/")

    # ------------------------------------------------------------------ staying

    def stay(self) -> None:
        """Until the last program has ended."""
        while not self._deserted():
            self._wait(self._patience())
            if self._client is None and time.monotonic() >= self._next_try:
                self._try_again()
            self._hear()
            if time.monotonic() >= self._next_check:
                self._next_check = time.monotonic() + RESOLVER_POLL
                self._warn(self._resolver.keep())
        self._leave()

    def _patience(self) -> float:
        """Seconds until something is due that nobody tells."""
        now = time.monotonic()
        due = [self._next_check - now]
        if self._client is None:
            due.append(self._next_try - now)
        if self._residents.unwatched or not self._residents.descriptors():
            due.append(ENTERING_POLL)
        return max(0.0, min(due))

    def _deserted(self) -> bool:
        """Whether no program is here, and none enters any more."""
        if self._residents.look():
            return False
        try:
            self._entrance = take_lock(self._state, wait=False)
        except BlockingIOError:
            return False
        except FileNotFoundError:       # the state folder was removed: nobody can enter
            return True
        if self._residents.look():      # it entered in between
            os.close(self._entrance)
            return False
        return True

    def _leave(self) -> None:
        """The node closes its end of the TAP before anybody makes the next place."""
        if self._client is not None:
            with suppress(OSError, ApiError):
                self._client.socket.shutdown(socket.SHUT_WR)
                self._client.socket.settimeout(LEAVE_PATIENCE)
                self._client.answer()
        if self._wanted.stop_node:
            with suppress(ApiError):
                stop_node(self._state)

    def _wait(self, patience: float) -> None:
        """Until the node says something, a program ends, or so many seconds have passed."""
        poll = select.poll()
        for descriptor in self._residents.descriptors():
            poll.register(descriptor, select.POLLIN)
        if self._client is not None:
            poll.register(self._client.socket, select.POLLIN)
        poll.poll(patience * 1000)

    # ------------------------------------------------------------------ the node

    def _connect(self) -> None:
        self._client = Client(self._state)
        arguments = {"mtu": self._wanted.mtu, "ports": self._ports, "internet": self._wanted.internet, "keeper": os.getpid()}
        self._client.send("namespace", arguments, self._tap)
        self._client.socket.setblocking(False)

    def _try_again(self) -> None:
        try:
            self._forget_frames()
            self._connect()
        except (ApiError, OSError):
            self._lose("")

    def _forget_frames(self) -> None:
        """Those that have waited for a node: what was in them has long been said again, or given up."""
        with suppress(BlockingIOError):
            for _ in range(STALE_FRAMES):
                os.read(self._tap, FRAME_SIZE)

    def _lose(self, reason: str) -> None:
        """The node is not there, or does not want us: it is asked again."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if reason:
            _note(reason)
        self._another = True
        self._next_try = time.monotonic() + NODE_POLL

    def _hear(self) -> None:
        """What the node has said, if anything. Raises ApiError where it refuses and nothing is ready yet."""
        if self._client is None:
            return
        try:
            for message in self._client.arrived():
                if "item" in message:
                    self._follow(message["item"])
                elif "error" in message:
                    raise ApiError(str(message["error"]))
                else:
                    raise ApiError(str(message.get("done", {}).get("text", "the node let go")))
        except ApiError as error:
            if not self.ready:
                raise
            self._lose(str(error))

    def _follow(self, told: dict[str, Any]) -> None:
        """The interface is to be so. Raises TapError."""
        from userlan.driver.namespace.furnishing import lead_out
        from userlan.driver.tap.device import TapError
        from userlan.driver.tap.setup import InterfaceSetup

        hardware = bytes.fromhex(told["hardware"].replace(":", ""))
        if self._setup is None:
            self._setup = InterfaceSetup(told["name"], hardware, told["mtu"])
        elif self._another:
            self._setup.bring_up(hardware, told["mtu"])
        self._another = False
        self._addresses = list(told["addresses"])
        self._setup.follow(self._addresses)
        self._warn(self._setup.warning)
        try:
            lead_out(told["name"], self._addresses)
        except OSError as error:
            if self._has_ipv4():
                raise TapError(f"the routes of {told['name']} cannot be set: {error.strerror}") from error

    def _has_ipv4(self) -> bool:
        return self._setup is not None and any(":" not in written for written in self._addresses)

    def _warn(self, text: str) -> None:
        """Once each: to the command while it waits, then to the log."""
        if text and text not in self._warnings:
            self._warnings.append(text)
            if self.ready:
                _note(text)
