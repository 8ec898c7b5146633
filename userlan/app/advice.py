"""``advice``: what ``userlan doctor`` finds, for whoever asks the node instead of the command line.

Why a child process: the doctor looks at this computer as the user's commands do, with programs of the system that block; its findings
must be the same, and must not hold up a packet. It asks this node in turn, by the local socket. A thread waits for it, which needs
nothing of the reactor, so that it works in programs that embed a node, and where a reactor cannot start processes.

One runs at a time. Who asks the same meanwhile gets the same answer; who asks something else waits for its turn, and few may wait.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred, DeferredLock

from userlan.driver.bridge import CommandError
from userlan.driver.threads import in_thread

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram

PATIENCE = 60.0
"""Seconds that one may take: twelve for the echoes and connections that it tries, and a slow computer five times as long."""
MAX_WAITING = 8
"""Questions that wait for their turn: about one peer each."""
MAX_ANSWER = 1 << 20
"""Octets of an answer that is believed."""
MAX_TEXT = 256
"""Characters of a peer's or a service's name: the longest that is one has 253."""

_Asked = tuple[str, str]


class Advice:
    """Of one program."""

    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        self._turn = DeferredLock()
        self._asked: dict[_Asked, list[Deferred[Any]]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def stop(self) -> None:
        """End the one that runs; those that wait fail."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def advice(self, arguments: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """``peer``, ``service``: as ``userlan doctor`` takes them, both may be missing. The answer is that of ``doctor --json``."""
        asked = (_short(arguments, "peer"), _short(arguments, "service"))
        waiting = self._asked.get(asked)
        answer: Deferred[dict[str, Any]] = Deferred(lambda called_off: self._called_off(asked, called_off))
        if waiting is not None:
            waiting.append(answer)
            return answer
        if len(self._asked) >= MAX_WAITING:
            raise CommandError(f"{MAX_WAITING} questions to the doctor wait already: ask again in a moment")
        self._asked[asked] = [answer]
        running: Deferred[Any] = self._turn.run(self._run, asked)
        running.addBoth(self._answered, asked)
        return answer

    def _run(self, asked: _Asked) -> Deferred[dict[str, Any]]:
        if not self._asked[asked]:
            raise CommandError("nobody waits for it any more")
        return in_thread(self._program.reactor, self._ask, self._command(asked))

    def _command(self, asked: _Asked) -> list[str]:
        peer, service = asked
        command = [sys.executable, "-m", "userlan", "--state", str(self._program.folder.path)]
        if self._program.options.config_path is not None:
            command += ["--config", str(self._program.options.config_path)]
        command += ["doctor", "--json"]
        command += [f"--service={service}"] if service else []
        return command + (["--", peer] if peer else [])

    def _ask(self, command: Sequence[str]) -> dict[str, Any]:
        """In a thread."""
        if self._stopped:
            raise CommandError("the node is stopping")
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self._process = process
            if self._stopped:       # just now, and whoever said so saw no process yet
                process.kill()
            try:
                out, error = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise CommandError(f"the doctor found nothing out within {PATIENCE:.0f} s: try `userlan doctor` by hand") from None
            finally:
                self._process = None
        try:
            told = msgspec.json.decode(out[:MAX_ANSWER], type=dict[str, Any])
        except msgspec.DecodeError:
            last = error.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"it ended with {process.returncode}"]
            raise CommandError(f"the doctor could not look: {last[0][:MAX_TEXT]}") from None
        return told

    def _answered(self, result: Any, asked: _Asked) -> None:
        for answer in self._asked.pop(asked, []):
            answer.callback(result)     # a Failure as such

    def _called_off(self, asked: _Asked, answer: Deferred[Any]) -> None:
        waiting = self._asked.get(asked, [])
        if answer in waiting:
            waiting.remove(answer)


def _short(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name) or ""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise CommandError(f"the argument {name!r} is no name")
    return value
