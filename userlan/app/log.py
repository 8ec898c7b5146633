"""What a program writes about itself: lines for people, or JSON for programs; each part as detailed as it is asked for.

::

    log:
      level: info                 of everything that is not named below
      format: text | json
      parts: {tunnel: debug, bridges.chat: warn}

A part is a package of ``userlan``, ``bridges`` (all of them), or a bridge. ``json`` is one object a line with ``time`` (seconds since
1970), ``level``, ``part``, ``message``, and whatever the message was made of; ``traceback`` where something failed. What others wrote is
in both forms without control characters. Where the lines go to systemd's journal it knows their time, and is told how important they are
(sd-daemon(3)).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TextIO

from twisted.logger import LogLevel, eventAsText

from userlan.node.config import Log

OWN = ("userlan", "bridges")
"""Whose messages are told from ``level`` on; others' (Twisted's, libraries') from ``warn`` on."""
LEVELS = ("error", "warn", "info", "debug")
PRIORITIES = {"critical": 2, "error": 3, "warn": 4, "info": 6, "debug": 7}
"""syslog(3)'s."""
MAX_FIELD = 2000
"""Characters of one field in a line of JSON."""


class Logs:
    """An observer of Twisted's log."""

    def __init__(self, output: TextIO, modules: Mapping[str, str], louder: int = 0) -> None:
        """``modules``: of each bridge, by its name. ``louder``: so many levels more than the configuration says."""
        self._output = output
        self._modules = dict(modules)
        self._louder = louder
        self._journal = _is_journal(output)
        self._levels: dict[str, Any] = {}
        """Of the namespaces that have said something: as many as there are modules."""
        self.set(Log())

    def set(self, options: Log) -> None:
        """From now on so."""
        self._format: Callable[[Mapping[str, Any]], str] = self._json if options.format == "json" else self._text
        self._default = LEVELS[min(LEVELS.index(options.level) + self._louder, len(LEVELS) - 1)]
        self._parts = sorted(((self._module(part), level) for part, level in options.parts.items()), key=lambda one: -len(one[0]))
        self._levels.clear()

    def _module(self, part: str) -> str:
        head, dot, bridge = part.partition(".")
        if head == "bridges":
            return self._modules.get(bridge, part) if dot else head
        return f"userlan.{part}"

    def __call__(self, event: Mapping[str, Any]) -> None:
        """One event of the log."""
        level = event.get("log_level", LogLevel.info)
        namespace = str(event.get("log_namespace", ""))
        least = self._levels.get(namespace)
        if least is None:
            least = self._levels[namespace] = LogLevel.lookupByName(self._least(namespace))
        if level >= least:
            self._output.write(self._format(event) + "\n")
            self._output.flush()

    def _least(self, namespace: str) -> str:
        """The least important level that this namespace's messages are told at; a module's siblings (``bridges.mdns_link``) go with it."""
        for module, level in self._parts:
            if namespace == module or namespace.startswith((f"{module}.", f"{module}_")):
                return level
        own = namespace.startswith(OWN) or any(namespace.startswith(module) for module in self._modules.values())
        return self._default if own or self._default in ("error", "debug") else "warn"

    # --- forms -------------------------------------------------------------------------------------------------------

    def _text(self, event: Mapping[str, Any]) -> str:
        level = event.get("log_level", LogLevel.info).name
        written = eventAsText(dict(event), includeTimestamp=False, includeSystem=False)
        lines = ["".join(map(_visible, line)) for line in written.splitlines()] or [""]
        head = f"[{_part(event)}#{level}] "
        if self._journal:
            return "\n".join(f"<{PRIORITIES[level]}>{head if not number else '  '}{line}" for number, line in enumerate(lines))
        when = datetime.fromtimestamp(event.get("log_time", 0.0)).astimezone().isoformat(timespec="milliseconds")
        return f"{when} {head}" + "\n\t".join(lines)

    def _json(self, event: Mapping[str, Any]) -> str:
        level = event.get("log_level", LogLevel.info).name
        message = eventAsText({**event, "log_failure": None}, includeTraceback=False, includeTimestamp=False, includeSystem=False)
        told: dict[str, Any] = {
            "time": round(event.get("log_time", 0.0), 3),
            "level": level,
            "part": _part(event),
            "message": message,
        }
        for name, value in event.items():
            if not name.startswith("log_") and name not in told and name not in ("isError", "system", "format"):
                told[name] = _field(value)
        failure = event.get("log_failure")
        if failure is not None:
            told["traceback"] = failure.getTraceback()
        line = json.dumps(told, ensure_ascii=False)
        line = "".join(character if character.isprintable() else json.dumps(character)[1:-1] for character in line)
        return f"<{PRIORITIES[level]}>{line}" if self._journal else line


def _part(event: Mapping[str, Any]) -> str:
    return str(event.get("log_namespace", "-")).removeprefix("userlan.")


def _field(value: Any) -> Any:
    """As JSON has it; what is nothing of JSON's as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping) and all(isinstance(one, str | int | float) for one in value.values()):
        return {str(key): one for key, one in value.items()}
    return str(value)[:MAX_FIELD]


def _visible(character: str) -> str:
    return character if character.isprintable() or character == "\t" else json.dumps(character)[1:-1]


def _is_journal(output: TextIO) -> bool:
    """Whether what is written there goes to the journal (``$JOURNAL_STREAM`` in systemd.exec(5))."""
    try:
        found = os.fstat(output.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
