"""``userlan netcheck``: what the own router does to connections, and what that means."""

from __future__ import annotations

import sys
from typing import Any

import click

from userlan.cli.client import NotRunningError, call
from userlan.cli.main import Settings
from userlan.cli.output import as_json, table

VERDICTS = {
    "yes": ("yes", "green", "with nearly everybody, whatever router they have"),
    "most": ("with most", "yellow", "your router gives each destination another port: with others of its kind it takes a relay"),
    "hardly": ("hardly", "red", "UDP does not pass here: some are reached by TCP, the others by a relay"),
    "unknown": ("not known", "yellow", "nobody answered who could tell"),
}
POOLING = {"single": "one address", "paired": "several addresses, one for this computer", "arbitrary": "several addresses, any of them"}
EARLY = {"harmless": "harmless", "moves": "move the port (the other side should not send first)"}
PORT_MAPPING = {"pcp": "PCP", "nat-pmp": "NAT-PMP", "upnp": "UPnP"}
IPV6 = {"none": "none", "open": "open", "firewall": "behind a firewall"}
WIDTH = 18
"""Columns of a property's name."""


@click.command()
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.option("--mediator", metavar="URL", help="Ask this one, without a node: userlan://HOST:PORT/KEY.")
@click.option("-v", "--verbose", is_flag=True, help="Show what each answer rests on.")
@click.pass_obj
def netcheck(settings: Settings, json_output: bool, mediator: str | None, verbose: bool) -> None:
    """What my router does, and whether direct connections pass it."""
    if not json_output and sys.stderr.isatty():
        click.echo("asking from where this computer is seen …", err=True)
    try:
        if mediator is not None:
            raise NotRunningError("")
        told = call(settings.state, "netcheck")
    except NotRunningError:
        told = _alone(settings, mediator)
    click.echo(as_json(told) if json_output else describe(told, verbose or settings.verbose > 0))


def _alone(settings: Settings, mediator: str | None) -> dict[str, Any]:
    """Without a node: with own sockets and a key that is forgotten afterwards."""
    from userlan.cli.netcheck_program import measure

    return measure(settings, mediator)


def describe(told: dict[str, Any], verbose: bool = False) -> str:
    """The report in words: the verdict, then one line for each property; ``verbose``: with the evidence below it."""
    word, colour, why = VERDICTS[told["direct"]]
    lines = [f"Your router lets direct connections through: {click.style(word, fg=colour, bold=True)}", f"  {why}", ""]
    evidence = told["evidence"]
    for name, value, keys in _properties(told):
        lines.append(f"  {click.style(name.ljust(WIDTH), bold=True)}  {value}")
        if verbose:
            lines += [click.style(f"  {'':{WIDTH}}    {line}", dim=True) for key in keys for line in evidence.get(key, ())]
    if told["relays"]:
        rows = [
            {"relay": row["name"], "region": row["region"], "delay": f"{row['rtt_ms']:.1f} ms" if row["rtt_ms"] is not None else None}
            for row in told["relays"]
        ]
        lines += ["", *(f"  {line}" for line in table(rows).splitlines())]
    if not verbose and evidence:
        lines += ["", "  `userlan netcheck -v` shows what each of these rests on."]
    return "\n".join(lines)


def _properties(told: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name, value in words, and the keys of its evidence, in RFC 4787's order."""
    udp, tcp = told["udp"], told["tcp"]
    return [
        ("UDP", _passes(udp), ("udp",)),
        ("seen as", _seen(told["seen"], told["translated"]), ("translated",)),
        ("mapping", _known(udp["mapping"]), ("mapping",)),
        ("filtering", _known(udp["filtering"]), ("filtering",)),
        ("port allocation", allocation(udp), ("allocation",)),
        ("address pooling", POOLING.get(told["pooling"], "not known"), ("pooling",)),
        ("mapping lifetime", _lifetime(udp["lifetime"], told["keepalive"]), ()),
        ("hairpin", _answer(told["hairpin"]), ("hairpin",)),
        ("early packets", EARLY.get(told["early"], "not known"), ("early",)),
        ("NAT behind NAT", _answer(told["nested"]), ("nested",)),
        ("port mapping", PORT_MAPPING.get(told["port_mapping"] or "", "none"), ()),
        ("TCP", _tcp(tcp), ("tcp",)),
        ("IPv6", IPV6.get(told["ipv6"], "not known"), ("ipv6",)),
        ("confidence", f"{told['confidence']:.0%}", ()),
    ]


def allocation(policy: dict[str, Any]) -> str:
    """``incremental, +2 each, others take 48 a second``."""
    kind = policy["allocation"]
    if kind == "incremental":
        others = f", others take {policy['others_a_second']:.0f} a second" if policy["others_a_second"] >= 1 else ""
        return f"incremental, {policy['step']:+d} each{others}"
    if kind == "chunked":
        return f"from a block, about {policy['low']} to {policy['high']}"
    if kind == "random":
        return f"random, about {policy['low']} to {policy['high']}"
    return "preserving (the port of the program)" if kind == "preserving" else "not known"


def _passes(policy: dict[str, Any]) -> str:
    return "passes" if policy["passes"] else "blocked"


def _tcp(policy: dict[str, Any]) -> str:
    if not policy["passes"] or policy["mapping"] == "unknown":
        return _passes(policy)
    return f"passes; mapping {policy['mapping']}, {allocation(policy)}"


def _seen(seen: dict[str, str | None], translated: bool | None) -> str:
    """``192.0.2.1, translated (NAT); 2001:db8::1``: the NAT is IPv4's."""
    ipv4 = f"{seen['ipv4'] or 'not known'}{_translated(translated)}"
    return "; ".join(filter(None, (ipv4 if seen["ipv4"] or not seen["ipv6"] else "", seen["ipv6"])))


def _translated(translated: bool | None) -> str:
    return {True: ", translated (NAT)", False: ", this computer's own address (no NAT)", None: ""}[translated]


def _lifetime(seconds: float | None, keepalive: float) -> str:
    if seconds is None:
        return "not known yet (a running node learns it in an hour or two)"
    return f"at least {seconds:.0f} s; a sign of life every {keepalive:.0f} s holds it"


def _known(word: str) -> str:
    return "not known" if word == "unknown" else word


def _answer(value: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[value]


COMMANDS: dict[str, click.Command] = {"netcheck": netcheck}
