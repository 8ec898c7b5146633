"""``userlan path``: how a peer is reached, and why so."""

from __future__ import annotations

import time
from typing import Any

import click

from userlan.cli.client import call
from userlan.cli.main import Settings
from userlan.cli.output import ago, as_json, printable, table

WHY = {
    "same-computer": "it is on this computer",
    "same-network": "both are in one local network",
    "ipv6": "both have IPv6, where nothing is translated",
    "mapped-here": "the router here opened a port",
    "mapped-there": "the router there opened a port",
    "open-here": "this computer has an address of the Internet",
    "open-there": "it has an address of the Internet",
    "punched": "both sent at one moment, so that each NAT took the other's packets for answers",
    "remembered": "it was tried where it was reached the last time",
    "framed-tcp": "by TCP, since UDP does not pass",
    "udp-blocked-here": "UDP does not pass here",
    "udp-blocked-there": "UDP does not pass there",
    "unforeseeable-both": "both NATs give each destination another port by chance, so that neither side knows where to send",
    "unforeseeable-here": "the NAT here gives each destination another port by chance",
    "unforeseeable-there": "the NAT there gives each destination another port by chance",
    "failed": "a direct way was tried and not found; it is tried again every minute",
    "trying": "a direct way is being tried at this moment",
    "untried": "nobody has introduced the two yet; the relay carries meanwhile",
    "offline": "nobody says that it is online",
    "silent": "it is said to be online, and does not answer",
    "no-mediator": "no mediator is connected who could introduce the two",
}
"""The words of ``userlan.node.path_report``."""


@click.command()
@click.argument("peer")
@click.option("--json", "json_output", is_flag=True, help="As JSON, with the round trips of the last ten minutes.")
@click.pass_obj
def path(settings: Settings, peer: str, json_output: bool) -> None:
    """How PEER is reached, and why so: its NAT and ours, the relay, what was tried, all ways that are known."""
    told = call(settings.state, "path", peer=peer)
    click.echo(as_json(told) if json_output else describe(told, time.time()))


def describe(told: dict[str, Any], now: float) -> str:
    """The same in words. ``now``: seconds since 1970."""
    lines = [_headline(told, now), *(f"  {WHY[why]}" for why in told["why"] if why in WHY), ""]
    lines += [f"  {term:10}  {value}" for term, value in _facts(told) if value]
    if told["tried"]:
        rows = [
            {
                "tried": ago(now - one["time"]),
                "how": printable(one["technique"]) + (" (by a member)" if one["by"] == "member" else ""),
                "outcome": {True: "met", False: "not met", None: "under way"}[one["met"]],
                "took": f"{one['seconds']:.2f} s" if one["seconds"] is not None else None,
                "packets": one["packets"],
            }
            for one in reversed(told["tried"])
        ]
        lines += ["", *(f"  {line}" for line in table(rows).splitlines())]
    if told["paths"]:
        rows = [
            {
                "way": f"relay {printable(one['relay'])}" if one["relay"] else f"{one['transport']} {one['endpoint']}",
                "round trip": _ms(one["rtt_ms"]),
                "state": "in use" if one["used"] else "in reserve" if one["sound"] else "does not answer",
            }
            for one in told["paths"]
        ]
        lines += ["", *(f"  {line}" for line in table(rows).splitlines())]
    return "\n".join(lines)


def _headline(told: dict[str, Any], now: float) -> str:
    name = told["name"]
    if told["state"] == "direct":
        return f"{name} is reached directly: {told['path']} {told['endpoint']}, {_ms(told['rtt_ms']) or 'not measured yet'}"
    if told["state"] == "relayed":
        relay = printable(told["relay"]["name"]) if told["relay"] else "?"
        return f"{name} is reached by the relay {relay}: {_ms(told['rtt_ms']) or 'not measured yet'}"
    if told["state"] == "connecting":
        return f"a way to {name} is being sought"
    return f"{name} is not reached; last heard {ago(now - told['heard']) if told['heard'] else 'never'}"


def _facts(told: dict[str, Any]) -> list[tuple[str, str]]:
    relay = told["relay"]
    return [
        ("NAT here", _nat(told["own"]["nat"])),
        ("NAT there", _nat(told["theirs"]["nat"]) if told["theirs"]["nat"] else "not told yet"),
        ("relay", f"{_ms(relay['rtt_ms'])} from here and back" if relay and relay["rtt_ms"] is not None else ""),
        ("cipher", told["cipher"]),
        ("packets", f"up to {told['mtu']} octets" if told["mtu"] is not None else ""),
        ("bulk", f"tcp {told['bulk']}" if told["bulk"] else ""),
    ]


def _nat(nat: dict[str, Any]) -> str:
    if nat["translated"] is False:
        return "none"
    udp = nat["udp"]
    if not udp["passes"]:
        return "UDP is blocked"
    known = {"mapping": udp["mapping"], "filtering": udp["filtering"], "ports": udp["allocation"]}
    words = [f"{name} {value}" for name, value in known.items() if value != "unknown"]
    return ", ".join(words + ([f"opens ports by {nat['port_mapping']}"] if nat["port_mapping"] else [])) or "not measured yet"


def _ms(value: float | None) -> str | None:
    return f"{value:.1f} ms" if value is not None else None


COMMANDS: dict[str, click.Command] = {"path": path}
