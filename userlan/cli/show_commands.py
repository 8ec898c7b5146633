"""Commands that tell: status, ping, proxy."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from userlan.cli.client import ApiError, Client, call
from userlan.cli.main import Settings
from userlan.cli.output import ago, as_json, byte_count, signal, table

WATCH_HELP = """Go on, and show what changes; with --json an object a line: first {"snapshot": …}, which is what --json alone prints, then
{"changes": …}, its parts that are new, of the peers the rows by their keys (null: gone)."""


@click.command()
@click.option("--connections", is_flag=True, help="The TCP connections of the LAN instead, one a line.")
@click.option("--watch", "watching", is_flag=True, help=WATCH_HELP)
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def status(settings: Settings, connections: bool, watching: bool, json_output: bool) -> None:
    """Me, my networks, my peers and how each is reached."""
    if watching:
        from userlan.cli.watch_view import watch

        if connections:
            raise click.UsageError("--watch shows the status: leave out --connections")
        watch(settings.state, json_output, lambda snapshot: describe(snapshot, settings.verbose > 0, True))
        return
    snapshot = call(settings.state, "connections" if connections else "status")
    if json_output:
        click.echo(as_json(snapshot))
    elif connections:
        click.echo(describe_connections(snapshot))
    else:
        click.echo(describe(snapshot, settings.verbose > 0, True))


def describe(snapshot: dict[str, Any], verbose: bool = False, painted: bool = False) -> str:
    """The snapshot in words and columns; ``verbose``: with what few ask for; ``painted``: with colours. A node of an older version has
    fewer keys."""
    me, mediator = snapshot["self"], snapshot["mediator"]
    lines = [f"{me['name']}  {me['ipv4'] or '(no address yet)'}  {me['ipv6']}"]
    told = mediator["state"] + (f": {mediator['reason']}" if mediator["reason"] else "")
    lines.append(f"mediator  {mediator['url'] or 'none'}  {told}")
    for name, where in snapshot["bridges"].items():
        if where:
            lines.append(f"{name}  {_bridge(where)}")
    lines += [_waiting(one) for one in snapshot.get("waiting", ())]
    lines += [f"not in {one['network']}: {one['reason']}" for one in snapshot.get("denied", ())]
    if snapshot.get("page"):
        lines.append(f"page  {snapshot['page']}  (userlan open)")
    lines += [f"configuration  {line}" for line in snapshot.get("configuration", ())]
    if not snapshot["networks"]:
        lines += ["", "in no network: `userlan create NAME` makes one, `userlan join INVITE` joins one"]
    for network in snapshot["networks"]:
        lines += ["", _heading(network, me)]
        peers = [peer for peer in snapshot["peers"] if network["name"] in peer["networks"]]
        paint = _painter(peers) if painted else None
        rows = [_row(peer, verbose) for peer in peers]
        lines += [f"  {line}" for line in table(rows, paint).splitlines()] if rows else ["  nobody else yet"]
    return "\n".join(lines)


def _heading(network: dict[str, Any], me: dict[str, Any]) -> str:
    """``home (yours), you are vm-2, locked, joined with approval; ben and carla wait for it``. The name only where it is another one there,
    because a member had it before."""
    marks = [mark for mark, is_so in (("locked", network["locked"]), ("joined with approval", network.get("approval"))) if is_so]
    waiting = [one["name"] for one in network.get("applicants", ())]
    own_name = network.get("own_name", me["name"])
    if own_name != me["name"]:
        marks.insert(0, f"you are {own_name}")
    line = ", ".join([network["name"] + (" (yours)" if network["owner"] == me["key"] else ""), *marks])
    unapproved = [one["name"] for one in network.get("unapproved", ())]
    if unapproved:
        more = f" and {len(unapproved) - 3} more" if len(unapproved) > 3 else ""
        line += f"; not let in, since its owner has not approved: {', '.join(unapproved[:3])}{more}"
    if not waiting:
        return line
    names = ", ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if len(waiting) > 3 else "")
    return f"{line}; {names} wait{'s' if len(waiting) == 1 else ''}: userlan approve"


def _waiting(one: dict[str, Any]) -> str:
    since = f", asked {ago(time.time() - one['since'])}" if one["since"] else ""
    return f"waiting to join {one['network']}: its owner{' ' + one['owner'] if one['owner'] else ''} has to approve{since}"


def _painter(peers: Sequence[dict[str, Any]]) -> Callable[[int, str, str], str]:
    """Colours of the rows of peers: the path, and the name, in those of the peer's state."""
    states = ["blocked" if peer.get("blocked") else peer["state"] for peer in peers]
    return lambda row, key, cell: signal(states[row], cell) if key in ("name", "path") else cell


def describe_connections(snapshot: dict[str, Any]) -> str:
    """The TCP connections in columns."""
    told, total, refused = snapshot["connections"], snapshot["total"], snapshot.get("refused", 0)
    lines = [table([_connection(row) for row in told]) if told else "no connections"]
    if total > len(told):
        lines.append(f"and {total - len(told)} more, which moved less")
    if refused:
        lines.append(f"{refused} were refused: their members made too many in a short time")
    return "\n".join(lines)


def _connection(row: dict[str, Any]) -> dict[str, Any]:
    peer = row["peer"] or row["remote"]
    opened = "<" if row["passive"] else ">"
    rate = row["delivery_rate"]
    return {
        "peer": f"{row['local_port']} {opened} {peer}:{row['remote_port']}",
        "state": row["state"],
        "rtt": f"{row['rtt'] * 1000:.1f} ms" if row["rtt"] is not None else None,
        "sent": byte_count(row["octets_sent"]),
        "received": byte_count(row["octets_received"]),
        "again": byte_count(row["octets_retransmitted"]),
        "queued": f"{byte_count(row['send_queue'])} / {byte_count(row['receive_queue'])}",
        "window": f"{byte_count(row['cwnd'])} / {byte_count(row['send_window'])}",
        "rate": f"{rate * 8 / 1e6:.1f} Mbit/s" if rate else None,
        "control": row["congestion"],
        "mss": row["mss"],
    }


def _bridge(where: Any) -> str:
    if isinstance(where, list):
        return ", ".join(str(one.get("text", one)) if isinstance(one, dict) else str(one) for one in where)
    return str(where["text"]) if isinstance(where, dict) and "text" in where else str(where)


def path_text(peer: dict[str, Any]) -> str:
    """``direct udp 192.0.2.1:41414``, ``connecting``, ``offline, last seen 3 min ago``, ``blocked``."""
    if peer.get("blocked"):
        return "blocked"
    if peer["state"] == "direct":
        transport = "tcp" if peer["path"] == "tcp" else "udp"
        return f"direct {transport} {peer['endpoint']}{' (lan)' if peer['path'] == 'lan' else ''}"
    if peer["state"] == "relayed":
        return f"relay {peer['relay'] or peer['endpoint']}"
    if peer["state"] == "offline":
        seen = peer["last_seen"]
        return "offline" + (f", last seen {ago(time.time() - seen)}" if seen else "")
    return str(peer["state"])


def _row(peer: dict[str, Any], verbose: bool) -> dict[str, Any]:
    row = {
        "name": peer["name"],
        "address": peer["ipv4"] or peer["ipv6"],
        "path": path_text(peer),
        "latency": f"{peer['rtt_ms']:.1f} ms" if peer["rtt_ms"] is not None else None,
        "received": byte_count(peer["rx_bytes"]),
        "sent": byte_count(peer["tx_bytes"]),
    }
    return row | {"cipher": peer["cipher"] or None} if verbose else row


@click.command()
@click.argument("peer")
@click.option("-c", "--count", type=click.IntRange(min=1), help="Stop after this many (default: until interrupted).")
@click.option("-i", "--interval", type=click.FloatRange(min=0.01), default=1.0, show_default=True, help="Seconds between requests.")
@click.option("-s", "--size", type=click.IntRange(0, 65000), default=56, show_default=True, help="Octets of payload.")
@click.option("-W", "--timeout", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def ping(settings: Settings, peer: str, count: int | None, interval: float, size: int, timeout: float, json_output: bool) -> None:
    """Echo requests to a peer; each answer names its path."""
    tally = Tally(json_output)
    client = Client(settings.state)
    arguments = {"peer": peer, "count": count, "interval": interval, "size": size, "timeout": timeout}
    try:
        client.request("ping", arguments, tally.item)
    except KeyboardInterrupt:
        client.close()
    if not json_output:
        tally.summary(peer)
    if not tally.times:
        raise ApiError(f"no answer from {peer}: {tally.hint}")


def answer_text(item: dict[str, Any], before: str) -> str:
    """One answer to a ping; ``before``: the path of the one before it, empty for none."""
    turned = " — now direct" if before and not before.startswith("direct") and item["path"].startswith("direct") else ""
    who = f"{item['name']} ({item['address']})"
    return f"{item['size']} bytes from {who}: seq={item['sequence']} time={item['rtt_ms']:.2f} ms, {item['path']}{turned}"


class Tally:
    """Prints answers as they come and sums them up."""

    def __init__(self, json_output: bool) -> None:
        self.times: list[float] = []
        self.sent = 0
        self.hint = "is it online? see `userlan status`"
        self._json = json_output
        self._path = ""

    def item(self, item: dict[str, Any]) -> None:
        """One line of the node's: an answer, or none in time."""
        self.sent += 1
        if item["rtt_ms"] is not None:
            self.times.append(item["rtt_ms"])
        elif item["reason"]:
            self.hint = item["reason"]
        if self._json:
            import json

            click.echo(json.dumps(item))
            return
        if item["rtt_ms"] is None:
            click.echo(f"no answer to {item['sequence']}: {item['reason'] or 'timed out'}")
            return
        click.echo(answer_text(item, self._path))
        self._path = item["path"]

    def summary(self, peer: str) -> None:
        """As ping's own."""
        lost = 100.0 * (1 - len(self.times) / self.sent) if self.sent else 0.0
        click.echo(f"--- {peer}: {self.sent} sent, {len(self.times)} answered, {lost:.0f} % lost")
        if self.times:
            ordered = sorted(self.times)
            mean = sum(ordered) / len(ordered)
            click.echo(f"round trip min/avg/max = {ordered[0]:.2f}/{mean:.2f}/{ordered[-1]:.2f} ms")


@click.command()
@click.option("--env", "as_environment", is_flag=True, help="As shell lines: eval \"$(userlan proxy --env)\".")
@click.option("--json", "json_output", is_flag=True, help="As JSON.")
@click.pass_obj
def proxy(settings: Settings, as_environment: bool, json_output: bool) -> None:
    """The proxy's address and how to use it."""
    told = call(settings.state, "proxy")
    address = told["listen"]
    if not address:
        raise ApiError("the proxy is not running: see proxy.listen in the configuration")
    if json_output:
        click.echo(as_json({"proxy": address, "socks": f"socks5h://{address}", "http": f"http://{address}", **told}))
    elif as_environment:
        click.echo("\n".join(f"export {name}={shlex.quote(value)}" for name, value in told["environment"].items()))
    else:
        click.echo(f"SOCKS5, SOCKS4a and HTTP proxy: {address}\n")
        click.echo(f"  curl --proxy socks5h://{address} http://PEER:8000/")
        click.echo("  ssh -o ProxyCommand='userlan nc %h %p' PEER")
        click.echo('  eval "$(userlan proxy --env)"      # for programs that read the environment')
        click.echo(f"  browsers: SOCKS v5 host {address}, with names resolved by the proxy")


COMMANDS: dict[str, click.Command] = {"status": status, "ping": ping, "proxy": proxy}
