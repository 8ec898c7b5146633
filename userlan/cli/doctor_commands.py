"""``userlan doctor``: why a neighbour or a service is not seen, and what to do about it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any

import attrs
import click

from userlan.cli.client import ApiError, Client, NodeGoneError, NotRunningError, call
from userlan.cli.doctor.finding import Echoes, Finding, Scene
from userlan.cli.doctor.verdict import Verdict, judge
from userlan.cli.main import EXIT_FAILED, Settings
from userlan.cli.output import as_json, printable

ECHOES, ECHO_INTERVAL, ECHO_PATIENCE = 10, 0.1, 2.0
"""Echoes to the peer, seconds between them, and seconds for the last one's answer."""
CONNECT_PATIENCE = 10.0
"""Seconds for a connection to the peer's port."""

SYMBOLS = {"wrong": ("✗", "red"), "note": ("!", "yellow"), "unseen": ("?", "yellow")}


@click.command()
@click.argument("peer", required=False)
@click.option("--service", metavar="NAME", help="One service: a profile (openttd), a type (_ipp._tcp), a port, or its own name.")
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def doctor(settings: Settings, peer: str | None, service: str | None, json_output: bool) -> None:
    """Why PEER, or a service, is not seen: what is wrong, how that shows, what to do. Exit status 1 when something is.

    Works without a node too: then it looks at this computer alone.
    """
    if not json_output and sys.stderr.isatty():
        click.echo("looking …", err=True)
    scene = look(settings, peer or "", service or "")
    verdict = judge(scene)
    click.echo(as_json(told(verdict, scene)) if json_output else describe(verdict, scene))
    if verdict.wrong:
        sys.exit(EXIT_FAILED)


def look(settings: Settings, peer: str, service: str) -> Scene:
    """Everything that is to be judged. With a peer that is reached, some echoes; with its port, a connection."""
    from userlan.cli.doctor.computer import look as look_at_computer

    node, absent, mute = None, "", ""
    try:
        node = call(settings.state, "doctor", peer=peer)
    except NotRunningError:
        absent = f"nothing answers for the state folder {settings.state}"
    except ApiError as error:
        mute = str(error)
    scene = Scene(look_at_computer(settings), node, absent, mute, peer, service, now=time.time())
    row = scene.peer_row if node is not None else None
    if row is None or row["state"] not in ("direct", "relayed"):
        return scene
    echoes = _echo(settings, peer)
    if echoes is not None and not echoes.answered:      # the node has noticed, too, meanwhile
        with suppress(ApiError):
            return attrs.evolve(scene, node=call(settings.state, "doctor", peer=peer), echoes=echoes)
    connects = _connect(settings, peer, int(service)) if service.isdecimal() else None
    return attrs.evolve(scene, echoes=echoes, connects=connects)


def _echo(settings: Settings, peer: str) -> Echoes | None:
    items: list[Any] = []
    arguments = {"peer": peer, "count": ECHOES, "interval": ECHO_INTERVAL, "timeout": ECHO_PATIENCE}
    with suppress(ApiError):
        call(settings.state, "ping", items.append, **arguments)
    times = sorted(item["rtt_ms"] for item in items if item["rtt_ms"] is not None)
    return Echoes(len(items), len(times), times[len(times) // 2] if times else None) if items else None


def _connect(settings: Settings, peer: str, port: int) -> str:
    """Why a connection to the peer's port fails; empty when it does not. What is exposed there and served by nobody is accepted, and
    reset at once."""
    client = Client(settings.state)
    try:
        client.send("nc", {"peer": peer, "port": port})
        client.socket.settimeout(CONNECT_PATIENCE)
        if client.answer():
            return ""
        client.socket.settimeout(1.0)
        return "" if client.socket.recv(1) else "it is exposed there, and the connection was closed at once: does its server run?"
    except NodeGoneError:
        return f"no answer within {CONNECT_PATIENCE:.0f} s"
    except ApiError as error:
        return str(error)
    except TimeoutError:
        return ""       # open, and silent: as servers are that wait for a question
    except OSError as error:
        return f"it is exposed there, and the connection ended at once ({error.strerror})"
    finally:
        client.close()


def told(verdict: Verdict, scene: Scene) -> dict[str, Any]:
    """``--json``."""
    return {
        "wrong": verdict.wrong,
        "node": scene.node is not None,
        "peer": scene.peer or None,
        "service": scene.service or None,
        "findings": [attrs.asdict(finding) for finding in verdict.findings],
        "checked": list(verdict.checked),
        "fine": list(verdict.fine),
    }


def describe(verdict: Verdict, scene: Scene) -> str:
    """One line for each finding; where nothing is wrong, what was looked at."""
    lines = [line(finding) for finding in verdict.findings]
    row = scene.peer_row if scene.node is not None else None
    if row is not None and row["state"] in ("direct", "relayed") and (scene.echoes is None or scene.echoes.answered):
        from userlan.cli.show_commands import path_text

        echoes = scene.echoes
        rtt = f", {echoes.rtt_ms:.1f} ms" if echoes is not None and echoes.rtt_ms is not None else ""
        lines.append(f"{click.style('✓', fg='green')} {row['name']} is reached: {path_text(row)}{rtt}")
    if verdict.fine:
        told = f"{len(verdict.fine)} other things were looked at" if verdict.wrong else f"nothing wrong with: {', '.join(verdict.fine)}"
        lines.append(f"{click.style('✓', fg='green')} {told}")
    return "\n".join(lines)


def line(finding: Finding) -> str:
    """``✗ what — evidence → remedy``; what others wrote is made safe for a terminal."""
    symbol, colour = SYMBOLS[finding.level]
    evidence = f" — {printable(finding.evidence)}" if finding.evidence else ""
    remedy = f" → {click.style(printable(finding.remedy), bold=True)}" if finding.remedy else ""
    return f"{click.style(symbol, fg=colour)} {printable(finding.what)}{evidence}{remedy}"


COMMANDS: dict[str, click.Command] = {"doctor": doctor}
