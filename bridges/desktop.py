"""Where this computer's desktop shows notices: asked by what is there, not by the platform's name.

::

    a session bus and gdbus          org.freedesktop.Notifications: shown, replaced and closed by number
    a session bus and notify-send    the same without closing
    osascript                        macOS: shown only
    none of them                     nothing

Each is a program that runs for a moment (a client of D-Bus in this process would be a dependency for a few calls an hour). What members
have written reaches it as an argument of its own, never as a part of a script, and where the notices' server reads markup, escaped
(Desktop Notifications Specification 1.2, "Markup"). Windows has none yet: its toasts need an installed application's identity.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.protocol import ProcessProtocol

TIME_LIMIT = 5.0
"""Seconds for a program to have told the desktop; a server of notices that hangs holds up nothing but notices."""
MAX_OUTPUT = 4096
"""Octets that are kept of what a program prints: a number, or some forty capabilities."""
APPLICATION = "userlan"
CATEGORIES = {"chat": "im.received", "file": "transfer", "member": "presence", "online": "presence.online"}
"""Of kinds of notices (Desktop Notifications Specification 1.2, "Categories")."""

BUS_NAME, BUS_PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"

SCRIPT = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
"""AppleScript; what is shown comes as arguments."""


class DesktopError(Exception):
    """The desktop did not take it; ``str()`` says what its program said."""


class Desktop(Protocol):
    """One way to show a notice. Handles are the way's own; 0 is none."""

    name: str

    def show(self, kind: str, title: str, text: str, replaced: int) -> Deferred[int]:
        """Show it, in the place of the notice ``replaced``; its handle. Fails with DesktopError."""

    def close(self, handle: int) -> Deferred[None]:
        """Take a notice away, where that can be done. Fails with DesktopError."""


class _Run(ProcessProtocol):
    """One program to its end, or to its time limit."""

    def __init__(self, reactor: Any, argv: Sequence[str], environment: Mapping[str, str], limit: float) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._printed: dict[int, bytes] = {1: b"", 2: b""}
        self._name = argv[0]
        reactor.spawnProcess(self, argv[0], argv, env=dict(environment))
        self._timer = reactor.callLater(limit, self._too_long)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._printed[childFD] = (self._printed[childFD] + data)[:MAX_OUTPUT]

    def _too_long(self) -> None:
        transport: Any = self.transport
        transport.signalProcess("KILL")

    def processEnded(self, reason: Any) -> None:
        late = not self._timer.active()
        if not late:
            self._timer.cancel()
        if reason.value.exitCode == 0:
            self.done.callback(self._printed[1])
        else:
            said = self._printed[2].decode("utf-8", "replace").strip().splitlines()
            why = "did not end in time" if late else said[0] if said else "failed"
            self.done.errback(DesktopError(f"{os.path.basename(self._name)}: {why}"))


def run(reactor: Any, argv: Sequence[str], environment: Mapping[str, str], limit: float = TIME_LIMIT) -> Deferred[bytes]:
    """What a program prints; fails with DesktopError when it fails, cannot be started, or takes longer than ``limit`` seconds."""
    try:
        return _Run(reactor, argv, environment, limit).done
    except OSError as error:
        done: Deferred[bytes] = Deferred()
        done.errback(DesktopError(f"{argv[0]}: {error.strerror}"))
        return done


class Bus:
    """The notices' server of a D-Bus session, by GLib's ``gdbus``.

    Why no hint ``desktop-entry``: GNOME takes the notices of a known application away when their sender leaves the bus, which a program
    that runs for a moment does at once.
    """

    name = "D-Bus"

    def __init__(self, reactor: Any, program: str, environment: Mapping[str, str]) -> None:
        self._reactor, self._environment = reactor, environment
        self._call = [program, "call", "--session", "--timeout", str(int(TIME_LIMIT)), "--dest", BUS_NAME, "--object-path", BUS_PATH]
        self._markup: bool | None = None

    @inlineCallbacks
    def show(self, kind: str, title: str, text: str, replaced: int) -> Any:
        if self._markup is None:
            told = yield self._method("GetCapabilities")
            self._markup = b"'body-markup'" in told
        body = escaped(text) if self._markup else text
        hints = f"{{'category': <{variant(CATEGORIES.get(kind, 'im'))}>}}"
        own = variant(APPLICATION)
        told = yield self._method(
            "Notify", own, f"uint32 {replaced}", own, variant(title), variant(body), "@as []", hints, "int32 -1"
        )
        number = re.search(rb"\(uint32 (\d+),\)", told)
        return int(number[1]) if number is not None else 0

    @inlineCallbacks
    def close(self, handle: int) -> Any:
        yield self._method("CloseNotification", f"uint32 {handle}")

    def _method(self, method: str, *words: str) -> Deferred[bytes]:
        return run(self._reactor, [*self._call, "--method", f"{BUS_NAME}.{method}", *words], self._environment)


class NotifySend:
    """The same server by libnotify's ``notify-send`` (0.7.10 and later tells numbers); it cannot be asked whether markup is read, which
    nearly all servers do."""

    name = "notify-send"

    def __init__(self, reactor: Any, program: str, environment: Mapping[str, str]) -> None:
        self._reactor, self._program, self._environment = reactor, program, environment

    @inlineCallbacks
    def show(self, kind: str, title: str, text: str, replaced: int) -> Any:
        options = ["--print-id", f"--app-name={APPLICATION}", f"--icon={APPLICATION}", f"--category={CATEGORIES.get(kind, 'im')}"]
        if replaced:
            options.append(f"--replace-id={replaced}")
        told = yield run(self._reactor, [self._program, *options, "--", title, escaped(text)], self._environment)
        number = told.strip()
        return int(number) if number.isdigit() else 0

    def close(self, handle: int) -> Deferred[None]:
        return succeed(None)


class Osascript:
    """macOS."""

    name = "osascript"

    def __init__(self, reactor: Any, program: str, environment: Mapping[str, str]) -> None:
        self._reactor, self._environment = reactor, environment
        self._script = [program, *(word for line in SCRIPT for word in ("-e", line)), "--"]

    @inlineCallbacks
    def show(self, kind: str, title: str, text: str, replaced: int) -> Any:
        yield run(self._reactor, [*self._script, title, text], self._environment)
        return 0

    def close(self, handle: int) -> Deferred[None]:
        return succeed(None)


def find(reactor: Any, environment: Mapping[str, str]) -> Desktop | None:
    """The desktop's way to show notices; None without a session, or without a program for it.

    A session bus that is not named and not at its usual place is not looked for: programs would start one of their own.
    """
    path = environment.get("PATH")
    bus = environment.get("DBUS_SESSION_BUS_ADDRESS")
    runtime = environment.get("XDG_RUNTIME_DIR")
    if bus or (runtime and os.path.exists(os.path.join(runtime, "bus"))):
        for program, kind in (("gdbus", Bus), ("notify-send", NotifySend)):
            found = shutil.which(program, path=path)
            if found is not None:
                return kind(reactor, found, environment)
    found = shutil.which("osascript", path=path)
    return Osascript(reactor, found, environment) if found is not None else None


def escaped(text: str) -> str:
    """Text for a body that is read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def variant(text: str) -> str:
    """A string in GVariant's text format, which ``gdbus`` takes: quoted whatever it holds."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
