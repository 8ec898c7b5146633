"""A conversation on a terminal: what is said is printed above the line that is being written.

::

    thread ── chat-watch ──▶ lines above the input line          main ── input() ──▶ chat-send

The input line is readline's where there is one: it knows what is half written, so that it can be put back below what has arrived. Where
there is none, what arrives is printed as it is, and the terminal keeps what is half written.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from userlan.cli.chat_text import Printer, preview, state_text
from userlan.cli.client import ApiError, Client, call

try:
    import readline
except ImportError:     # pragma: no cover - Windows
    readline = None  # type: ignore[assignment]

PROMPT = "> "
START_PATIENCE = 5.0
"""Seconds in which the node must begin to tell what happens."""
KEPT_AFTER = 3.0
"""Seconds after which a message that was not delivered is said to be kept."""


class Talk:
    """With one peer or network. ``to``: as it was written."""

    def __init__(self, state: Path, to: str) -> None:
        self._state, self._to = state, to
        self._printer = Printer()
        self._conversation = ""
        self._client = Client(state)
        self._watching, self._begun = threading.Event(), threading.Event()
        self._last = 0
        self._gone = ""
        self._prompting = False
        self._lock = threading.RLock()
        self._sent: dict[int, threading.Timer] = {}
        """Own messages that are on their way."""
        self._kept: set[int] = set()
        """Those that were said to be kept."""

    def run(self, number: int) -> None:
        """Show the last messages; talk until Ctrl-D, or Ctrl-C. ApiError when the node goes away."""
        told = call(self._state, "chat-history", conversation=self._to, limit=1)
        self._conversation = told["conversation"]
        threading.Thread(target=self._watch, name="chat-watch", daemon=True).start()
        if not self._watching.wait(START_PATIENCE):
            raise ApiError(self._gone or "the node does not tell what is said")
        for message in call(self._state, "chat-history", conversation=self._conversation, limit=number)["messages"]:
            click.echo(self._printer.text(message))
            self._last = message["seq"]
        self._read()
        self._begun.set()
        click.echo(f"— you talk with {self._to}; Ctrl-D ends —")
        try:
            self._talk()
        except (EOFError, KeyboardInterrupt):
            click.echo("")
        finally:
            self._prompting, gone = False, self._gone       # what the thread finds now is our own end
            self._client.close()
            for timer in list(self._sent.values()):
                timer.cancel()
        if gone:
            raise ApiError(gone)

    def _talk(self) -> None:
        while not self._gone:
            self._prompting = True
            if self._gone:      # before there was anybody to be interrupted
                return
            line = input(PROMPT)
            self._prompting = False
            if not line.strip():
                continue
            try:
                message = call(self._state, "chat-send", to=self._conversation, text=line)["message"]
            except ApiError as error:
                click.echo(f"userlan: {error}", err=True)
                continue
            self._on_its_way(message)

    # --- what happens, in the thread ---------------------------------------------------------------------------------

    def _watch(self) -> None:
        try:
            self._client.request("chat-watch", {}, self._item)
            self._gone = "the node ended"
        except (ApiError, OSError, ValueError) as error:
            self._gone = str(error)
        if self._prompting and hasattr(signal, "pthread_kill"):
            os.kill(os.getpid(), signal.SIGINT)     # whoever waits for input must learn of it

    def _item(self, item: dict[str, Any]) -> None:
        if "watching" in item:
            self._watching.set()
            return
        message = item.get("message") or item.get("delivery")
        if message is None or message["conversation"] != self._conversation:
            return
        self._begun.wait()
        if "delivery" in item:
            self._settled(message)
        elif not message["own"] and message["seq"] > self._last:
            self._above(self._printer.text(message))
            self._read()

    def _above(self, text: str) -> None:
        """Print above the input line, and put back what is half written."""
        with self._lock:
            if not self._prompting:
                sys.stdout.write(f"{text}\n")
            elif readline is None or os.environ.get("TERM", "dumb") == "dumb":
                sys.stdout.write(f"\n{text}\n{PROMPT}")
            else:
                sys.stdout.write(f"\r\x1b[K{text}\n{PROMPT}{readline.get_line_buffer()}")
            sys.stdout.flush()

    def _read(self) -> None:
        call(self._state, "chat-read", conversation=self._conversation)

    # --- what becomes of own messages --------------------------------------------------------------------------------

    def _on_its_way(self, message: dict[str, Any]) -> None:
        with self._lock:
            if message["seq"] in self._kept or message["state"] != "waiting":
                return
            timer = threading.Timer(KEPT_AFTER, self._say_kept, (message,))
            timer.daemon = True
            self._sent[message["seq"]] = timer
            timer.start()

    def _say_kept(self, message: dict[str, Any]) -> None:
        """In the timer's thread. What was delivered while the node was asked is not on its way any more: its answer is an old one."""
        now: list[dict[str, Any]] = []
        with suppress(ApiError):        # it ended: then that is said
            now = call(self._state, "chat-history", conversation=self._conversation, before=message["seq"] + 1, limit=1)["messages"]
        with self._lock:
            waits = self._sent.pop(message["seq"], None) is not None
            if waits and now and now[0]["seq"] == message["seq"] and now[0]["state"] == "waiting":
                self._kept.add(message["seq"])
                self._above(f"  ({state_text(now[0], self._to)}: {preview(message['text'], 30)})")

    def _settled(self, message: dict[str, Any]) -> None:
        if message["state"] == "waiting":
            return
        with self._lock:
            timer = self._sent.pop(message["seq"], None)
            if timer is not None:
                timer.cancel()
            if message["seq"] in self._kept or message["state"] == "failed":
                self._kept.discard(message["seq"])
                self._above(f"  ({state_text(message, self._to)}: {preview(message['text'], 30)})")
