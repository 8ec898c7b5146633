"""What is written of a log: levels for each part, text and JSON."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from tests.architecture.source import modules
from userlan.app.log import Logs
from userlan.node.config import PARTS, Log

BRIDGES = {"chat": "bridges.chat", "mdns": "bridges.mdns", "others": "acme.lanbridge"}


class Written:
    """Logs to memory, and Twisted's own way there."""

    def __init__(self, options: Log, louder: int = 0) -> None:
        self._output = io.StringIO()
        self.logs = Logs(self._output, BRIDGES, louder)
        self.logs.set(options)
        observer: Any = self.logs
        self._publisher: Any = LogPublisher(observer)

    def logger(self, namespace: str) -> Logger:
        return Logger(namespace=namespace, observer=self._publisher)

    def lines(self) -> list[str]:
        told = self._output.getvalue().splitlines()
        self._output.seek(0)
        self._output.truncate()
        return told

    def levels(self, namespace: str) -> list[str]:
        """The levels that are told of one namespace."""
        logger = self.logger(namespace)
        told = []
        for level in ("debug", "info", "warn", "error"):
            logger.emit(LogLevel.lookupByName(level), "x")
            told += [level] if self.lines() else []
        return told


ALL = ["debug", "info", "warn", "error"]


@pytest.mark.parametrize(
    ("namespace", "least"),
    [
        ("userlan.tunnel", "debug"),
        ("userlan.tunnel.device", "debug"),
        ("userlan.tunnels", "info"),
        ("userlan.node", "info"),
        ("bridges.expose", "error"),
        ("bridges.mdns", "warn"),
        ("bridges.mdns_sides", "warn"),
        ("bridges.chat.wire", "debug"),
        ("acme.lanbridge.core", "debug"),
        ("twisted.internet", "warn"),
    ],
)
def test_each_part_has_its_level_and_the_nearest_name_counts(namespace: str, least: str) -> None:
    parts: Mapping[str, Any] = {
        "tunnel": "debug",
        "bridges": "error",
        "bridges.mdns": "warn",
        "bridges.chat": "debug",
        "bridges.others": "debug",
    }
    assert Written(Log(parts=parts)).levels(namespace) == ALL[ALL.index(least) :]


def test_louder_by_option_and_set_anew_while_it_runs() -> None:
    written = Written(Log(), louder=1)
    assert written.levels("userlan.node") == ALL
    assert written.levels("twisted.web") == ALL
    written.logs.set(Log("error"))
    assert written.levels("userlan.node") == ["warn", "error"]
    assert written.levels("twisted.web") == ["warn", "error"]


def test_text_is_for_people_and_for_terminals() -> None:
    written = Written(Log())
    written.logger("userlan.node").warn("{name} is gone", name="a\x1b[2J\nb")
    first, second = written.lines()
    assert first[first.index(" ") :] == " [node#warn] a\\u001b[2J"
    assert second == "\tb is gone"


def test_json_is_an_object_a_line_with_what_the_message_was_made_of() -> None:
    written = Written(Log(format="json"))
    written.logger("bridges.chat").info("{count} to {name}", count=3, name="ä\x1b\u202e\n", more={"a": 1}, ratio=0.5, thing=object)
    (line,) = written.lines()
    assert line.isprintable()
    told = json.loads(line)
    assert 1e9 < told.pop("time") < 1e11
    assert told == {
        "level": "info",
        "part": "bridges.chat",
        "message": "3 to ä\x1b\u202e\n",
        "count": 3,
        "name": "ä\x1b\u202e\n",
        "more": {"a": 1},
        "ratio": 0.5,
        "thing": "<class 'object'>",
    }


def test_a_failure_has_its_traceback_in_one_object() -> None:
    written = Written(Log(format="json"))
    try:
        raise ValueError("broken\nin two")
    except ValueError:
        failure = Failure()  # type: ignore[no-untyped-call]
    written.logger("userlan.app").failure("it failed", failure)
    (line,) = written.lines()
    told = json.loads(line)
    assert (told["level"], told["message"], told["part"]) == ("critical", "it failed", "app")
    assert "ValueError: broken\nin two" in told["traceback"]


def test_the_journal_is_told_how_important_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """sd-daemon(3): ``<N>`` before each line; the journal has the time itself."""
    with (tmp_path / "journal").open("w+") as output:
        found = os.fstat(output.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        logs: Any = Logs(output, {})
        publisher: Any = LogPublisher(logs)
        Logger(namespace="userlan.node", observer=publisher).warn("one\ntwo")
        assert (tmp_path / "journal").read_text() == "<4>[node#warn] one\n<4>  two\n"


def test_every_part_that_can_be_named_has_something_to_say() -> None:
    """And each package of userlan that logs can be named: ``cli`` logs only that a program failed."""
    texts = {name: module.path.read_text() for name, module in modules("userlan").items()}
    saying = {name.split(".")[1] for name, text in texts.items() if "Logger()" in text}
    named = {part for part in PARTS for text in texts.values() if f'Logger(namespace="userlan.{part}")' in text}
    assert saying - {"cli"} <= set(PARTS)
    assert set(PARTS) - {"bridges", "web"} <= saying | named
