"""Commands for what is shared by discovery: share, unshare."""

from __future__ import annotations

from typing import Any

import click

from userlan.cli.client import call
from userlan.cli.main import Settings
from userlan.cli.output import ago, as_json, json_option, say, table

LEGEND = (
    "shared: programs of the others find those of this computer. Picked up here: programs of this computer find those of the others;"
    "\nwhere that is no, `userlan share PROFILE --search` holds the ports for it (then no server of that kind can start here)"
)


@click.command()
@click.argument("profile", metavar="[PROFILE|all]", required=False)
@click.option("--network", "networks", multiple=True, metavar="NETWORK", help="With the members of this network only; may be repeated.")
@click.option("--peer", "peers", multiple=True, metavar="PEER", help="With this peer only; may be repeated.")
@click.option("--search/--no-search", default=None, help="Hold the profile's ports, so that local programs find others.")
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def share(
    settings: Settings, profile: str | None, networks: tuple[str, ...], peers: tuple[str, ...], search: bool | None, json_output: bool
) -> None:
    """Let programs find each other over the LAN; without an argument, list what is shared and what was found."""
    if profile is None:
        if networks or peers or search is not None:
            raise click.UsageError("say which PROFILE, or all", click.get_current_context())
        listed = call(settings.state, "shares")
        click.echo(as_json(listed) if json_output else _listing(listed))
        return
    result = call(settings.state, "share", profile=profile, networks=networks, peers=peers, search=search)
    click.echo(as_json(result) if json_output else result["text"])


@click.command()
@click.argument("profile", metavar="PROFILE|all")
@click.option("--network", "networks", multiple=True, metavar="NETWORK", help="Not with the members of this network; may be repeated.")
@click.option("--peer", "peers", multiple=True, metavar="PEER", help="Not with this peer; may be repeated.")
@json_option
@click.pass_obj
def unshare(settings: Settings, profile: str, networks: tuple[str, ...], peers: tuple[str, ...], json_output: bool) -> None:
    """Let programs of a profile find each other no more, with anybody or with some."""
    result = call(settings.state, "unshare", profile=profile, networks=networks, peers=peers)
    say(result, result["text"], json_output)


def _listing(listed: dict[str, Any]) -> str:
    rows = [
        {
            "profile": row["profile"],
            "shared with": row["with"],
            "picked up here": ("yes" if row["picks_up"] else "no") if row["by"] == "discovery" else "by mdns",
            "what": row["title"],
        }
        for row in listed["profiles"]
    ]
    parts = [table(rows), LEGEND]
    problems = [f"{row['profile']}: {what}: {why}" for row in listed["profiles"] for what, why in row["problems"].items()]
    if listed["attached"]:
        problems.append("this computer is in the LAN by an interface: its programs find others by themselves, and nothing is relayed")
    found = [
        {
            "found": row["profile"],
            "peer": row["peer"],
            "port": f"{row['port']}/{row['protocol']}",
            "here": row["address"],
            "heard of": ago(row["seconds"]),
        }
        for row in listed["found"]
    ]
    exposed = [f"port {row['port']}/{row['protocol']} → {row['target']}" for row in listed["on_demand"] if row["kind"] == "exposed"]
    parts += [table(found)] if found else []
    parts += ["exposed for what local programs said:\n  " + "\n  ".join(exposed)] if exposed else []
    return "\n\n".join([*parts, "\n".join(problems)] if problems else parts)


COMMANDS: dict[str, click.Command] = {"share": share, "unshare": unshare}
