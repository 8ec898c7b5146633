"""The client's side of the local API: plain blocking sockets, since a command lives for one request.

Wire form (JSON lines, one request a connection)::

    → {"command": "ping", "arguments": {"peer": "nas"}}
    ← {"item": …}                     any number, as they happen
    ← {"done": …} or {"error": "one line"}
    ← {"stream": true}                from here on raw bytes both ways (``nc``)

A request may carry one open descriptor (SCM_RIGHTS).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

SOCKET_NAME = "control.sock"
CONNECT_TIMEOUT = 5.0
"""Seconds in which a running node must accept a local connection."""
STOP_PATIENCE = 30.0
"""Seconds in which a node must have ended that was told to: it takes leave of peers, router and neighbours, in a moment as a rule; on a
machine with much else to do in many more."""
STOP_POLL = 0.05
"""Seconds between two looks whether it has."""
MAX_LINE = 64 << 20
"""Bytes of one answer: a status with 1,000 peers is below 1 MB."""


class ApiError(Exception):
    """The node refused or failed; ``str()`` is one line for people."""


class NotRunningError(ApiError):
    """No node answers for the state folder, which is ``state``."""

    def __init__(self, text: str, state: Path | None = None) -> None:
        super().__init__(text)
        self.state = state


class NodeGoneError(ApiError):
    """The node ended, or was killed, before it answered."""


class Client:
    """One connection to the node of a state folder."""

    def __init__(self, state: Path, patience: float = CONNECT_TIMEOUT) -> None:
        """``patience``: seconds in which the node must accept it."""
        self.socket = _connect(state, patience)
        self._buffer = b""

    def request(
        self,
        command: str,
        arguments: dict[str, Any],
        on_item: Callable[[Any], None] | None = None,
        descriptor: int | None = None,
    ) -> Any:
        """Send one command; ``on_item`` sees what it streams; its result comes back. ApiError where it failed.

        ``descriptor``: an open file to hand to the node."""
        self.send(command, arguments, descriptor)
        return self.answer(on_item)

    def answer(self, on_item: Callable[[Any], None] | None = None) -> Any:
        """What comes back for the request that was sent; as ``request``."""
        for answer in self._answers():
            if "error" in answer:
                raise ApiError(str(answer["error"]))
            if "done" in answer:
                return answer["done"]
            if answer.get("stream"):
                return self._buffer
            if "item" in answer and on_item is not None:
                on_item(answer["item"])
        raise NodeGoneError("the node went away before it answered")

    def send(self, command: str, arguments: dict[str, Any], descriptor: int | None = None) -> None:
        """Send a request without waiting; NodeGoneError where the node has ended since it was connected to."""
        self.socket.settimeout(None)
        line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        try:
            if descriptor is not None:
                sent = socket.send_fds(self.socket, [line], [descriptor])
                line = line[sent:]
            if line:
                self.socket.sendall(line)
        except ConnectionError as error:
            raise NodeGoneError(f"the node went away: {error.strerror}") from error

    def arrived(self) -> list[dict[str, Any]]:
        """The answers that have arrived on a connection that does not block; ApiError when the node went away."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ApiError(f"the node went away: {error.strerror}") from error
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if not data:
            raise ApiError("the node went away")
        if len(self._buffer) > MAX_LINE:
            raise ApiError("the node's answer is longer than it may be")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """End the connection (a streaming command is cancelled by it)."""
        self.socket.close()

    def _answers(self) -> Iterator[dict[str, Any]]:
        while True:
            line, separator, rest = self._buffer.partition(b"\n")
            if separator:
                self._buffer = rest
                yield json.loads(line)
                continue
            if len(self._buffer) > MAX_LINE:
                raise ApiError("the node's answer is longer than it may be")
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise NodeGoneError(f"the node went away: {error.strerror}") from error
            if not data:
                return
            self._buffer += data


def stop_node(state: Path) -> None:
    """End the node of a state folder, and wait until it has ended and the folder is free; ApiError when that takes longer than
    ``STOP_PATIENCE``."""
    from userlan.driver.state import holding_node, holds

    process = holding_node(state)
    with suppress(NodeGoneError):       # it was ending already
        call(state, "down")
    give_up = time.monotonic() + STOP_PATIENCE
    while time.monotonic() < give_up:
        try:
            Client(state).close()
        except NotRunningError:
            if process is None or not holds(process, state):
                return
        time.sleep(STOP_POLL)
    raise ApiError(f"the node did not stop within {STOP_PATIENCE:.0f} s")


def call(state: Path, command: str, on_item: Callable[[Any], None] | None = None, /, **arguments: Any) -> Any:
    """One request to the node of a state folder and its result."""
    client = Client(state)
    try:
        return client.request(command, arguments, on_item)
    finally:
        client.close()


def starting_node(state: Path) -> int | None:
    """The process of a node that holds the folder, whose socket may not be there yet."""
    from userlan.driver.state import holding_node, holds

    process = holding_node(state)
    held = holds(process, state) if process is not None else False
    if process is None or held is not None:
        return process if held else None
    if os.name == "posix":      # elsewhere signal 0 is no question
        try:
            os.kill(process, 0)
        except OSError:      # it has ended, or is another user's
            return None
    return process


def _connect(state: Path, patience: float) -> socket.socket:
    path = state / SOCKET_NAME
    what_to_do = "`userlan open` starts it, or `userlan up` in the foreground"
    missing = NotRunningError(f"no node runs with the state folder {state}: {what_to_do}", state)
    try:
        if hasattr(socket, "AF_UNIX"):
            return _connect_unix(path, patience)
        return _connect_loopback(state, patience)
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise missing from None
    except PermissionError:
        raise ApiError(f"{path} belongs to another user: pass --state, or run as that user") from None
    except OSError as error:
        raise ApiError(f"the node at {path} does not answer: {error.strerror or error}") from error


def _connect_unix(path: Path, patience: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(patience)
    folder = -1
    try:
        name = os.fsencode(path)
        if len(name) > 100:     # sun_path holds 108 bytes: reach a deep folder by its descriptor
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            name = f"/proc/self/fd/{folder}/{path.name}".encode()
        connection.connect(name)
    except BaseException:
        connection.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return connection


def _connect_loopback(state: Path, patience: float) -> socket.socket:
    place = json.loads((state / "control.json").read_text())
    connection = socket.create_connection(("127.0.0.1", int(place["port"])), patience)
    connection.sendall(str(place["token"]).encode() + b"\n")
    return connection
