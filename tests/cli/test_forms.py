"""How all commands print: JSON for programs, colours for terminals alone, and for nobody who has not asked to be spared."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import click

from tests.cli.two_nodes import Nodes
from userlan.cli.main import cli
from userlan.cli.output import SIGNALS, table
from userlan.cli.output import signal as signal_of

WITHOUT_JSON = {
    *("demo", "up", "mediator", "relay", "down"),      # hold the terminal, or end what does
    *("run", "tap", "nc", "capture"),                   # are pipes, or another program's
    *("open", "inbox open", "inbox forget"),            # show something elsewhere, or nothing
    *("completion", "service install", "service remove", "service links"),      # print files, or which they have written
}

ESCAPE = "\x1b["


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command, with its name in full."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from walk(inner, (*path, name))


def test_every_command_that_tells_something_tells_it_as_json_too() -> None:
    lacking = {name for name, command in walk(cli) if not any("--json" in parameter.opts for parameter in command.params)}
    assert lacking == WITHOUT_JSON


def test_what_is_done_is_told_as_json(nodes: Nodes) -> None:
    def told(*words: str) -> object:
        done = nodes.run("anna", *words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    created = told("create", "work")
    assert isinstance(created, dict)
    assert created["invite"].startswith("userlan://")
    assert told("invite", "work") == created
    assert told("leave", "work") == {"network": "work", "later": False}
    assert told("nick", "anna") == {"name": "anna", "later": False}


def test_parts_of_the_log_have_their_own_levels(nodes: Nodes) -> None:
    whole, _, _ = (nodes.state("ben") / "log").read_text().rpartition("\n")      # it goes on being written
    told = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
    below = {(one["part"], one["level"]) for one in told if one["level"] in ("debug", "info")}
    assert below == {("tunnel", "debug"), ("control", "debug")}
    assert any(one["message"].startswith("anna: udp 127.0.0.1:") for one in told)


def test_each_state_of_a_peer_has_its_signal_and_its_word() -> None:
    """Green, cyan and grey are Hamachi's."""
    assert {state: look.get("fg") for state, look in SIGNALS.items()} == {
        "direct": "green",
        "relayed": "cyan",
        "connecting": "green",
        "offline": "bright_black",
        "blocked": "bright_black",
    }
    assert signal_of("connecting", "x") == "\x1b[32m\x1b[5mx\x1b[0m"
    assert signal_of("of a newer version", "x") == "x\x1b[0m"


def test_colours_do_not_move_columns() -> None:
    rows = [{"name": "anna", "path": "direct", "n": 1}, {"name": "bo", "path": "offline", "n": 22}]
    painted = table(rows, lambda row, key, cell: signal_of("direct" if row == 0 else "offline", cell))
    assert ESCAPE in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted).splitlines() == table(rows).splitlines()


def at_a_terminal(nodes: Nodes, *words: str, enough: str | None = None, **environment: str) -> str:
    """What a command prints there; ``enough``: with what it is interrupted."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "userlan", "--state", str(nodes.state("anna")), *words]
    told = b""
    try:
        environment = {**nodes.environment, "TERM": "xterm", **environment}
        with subprocess.Popen(command, env=environment, stdin=follower, stdout=follower, stderr=follower) as process:
            os.close(follower)
            try:
                while data := os.read(leader, 65536):
                    told += data
                    if enough is not None and enough in told.decode(errors="replace"):
                        process.send_signal(signal.SIGINT)
                        enough = None
            except OSError:     # EIO: the other end is closed
                pass
            assert process.wait(60) == 0
    finally:
        os.close(leader)
    return told.decode()


def test_a_terminal_gets_colours_unless_it_is_asked_not_to(nodes: Nodes) -> None:
    assert "\x1b[32mdirect" in at_a_terminal(nodes, "status", NO_COLOR="")
    for spared in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        told = at_a_terminal(nodes, "status", **spared)
        assert "direct" in told
        assert ESCAPE not in told
    assert ESCAPE not in at_a_terminal(nodes, "netcheck", NO_COLOR="1")


def test_the_status_that_goes_on_has_the_same_colours(nodes: Nodes) -> None:
    assert "\x1b[32mdirect" in at_a_terminal(nodes, "status", "--watch", enough="direct", NO_COLOR="")
    assert "\x1b[32m" not in at_a_terminal(nodes, "status", "--watch", enough="direct", NO_COLOR="1")


def test_a_pipe_gets_none(nodes: Nodes) -> None:
    told = nodes.run("anna", "status").stdout
    assert "direct" in told
    assert ESCAPE not in told
