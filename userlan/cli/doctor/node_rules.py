"""What a node that runs says of itself: its mediator, its networks, its router, and what it has dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from userlan.cli.doctor.finding import Finding, Scene, note, wrong
from userlan.cli.output import ago

CLOCK_FAR = 60.0
"""Seconds between this computer's clock and the mediator's from which on relays' permissions may be over before they begin."""

DROPPED = {
    "repeated": ("the same packet came again and again: two computers may bridge the LAN to one network", ""),
    "sender-rate": ("somebody sent more to everybody than is let through", "set lan.broadcast_rate (packets a second; 0: no limit)"),
    "group-rate": ("somebody sent more to one group than is let through", "set lan.group_rate (packets a second; 0: no limit)"),
    "groups-excess": ("members listen to more groups than are kept", ""),
    "sources-excess": ("members listen to more sources of groups than are kept", ""),
}
"""Counters of what goes to many: what they mean, and what to do."""

CARRIED = {
    "outward-rate": "local programs told everybody more than is carried",
    "inward-rate": "a peer told everybody more than is taken",
    "mirrors-full": "a peer has more sockets than are shown here",
    "no-socket": "this computer gave no socket for a peer's",
    "no-lan-port": "there was no port left on the LAN",
    "not-exposed": "a local server could not be exposed",
    "not-forwarded": "a peer's server could not be forwarded",
}
"""Counters of a discovery profile that tell of something lost."""


def mediator(scene: Scene) -> Iterator[Finding]:
    shown, more = scene.status["mediator"], scene.told["mediator"]
    if shown["state"] == "connected":
        return
    if shown["state"] == "none":
        yield wrong("no-mediator", "this node knows no mediator: nobody can introduce it to others", "", "userlan join INVITE")
        return
    since = f" for {ago(scene.now - more['since']).removesuffix(' ago')}" if more["since"] is not None else ""
    goes_on = "; members that are reached stay so, and those who were seen last are tried" if scene.status["peers"] else ""
    evidence = (shown["reason"] or f"{', '.join(more['addresses'])} has not answered yet") + goes_on
    yield wrong("mediator-away", f"the mediator has not been connected{since}", evidence, "userlan netcheck")


def clock(scene: Scene) -> Iterator[Finding]:
    ahead = scene.told["mediator"]["clock"]
    if ahead is not None and abs(ahead) > CLOCK_FAR:
        what = "this computer's clock is far off: relays refuse what seems old"
        evidence = f"the mediator's is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
        yield wrong("clock-off", what, evidence, "sudo timedatectl set-ntp true")


def networks(scene: Scene) -> Iterator[Finding]:
    waiting = scene.status.get("waiting", ())
    for one in waiting:
        evidence, name = f"its owner{' ' + one['owner'] if one['owner'] else ''} has to approve", one["network"]
        yield note("waiting", f"this node waits to be let into {name}", evidence, f"userlan leave {name}   # to wait no more")
    for network in scene.status["networks"]:
        names = [one["name"] for one in network.get("applicants", ())]
        if names:
            what = f"somebody waits to be let into {network['name']}"
            yield note("applicants", what, ", ".join(names[:4]), f"userlan approve {names[0]}")
        yield from _approvals(network)
    if not scene.status["networks"] and not waiting:
        yield wrong("no-network", "this node is in no network: it has nobody to see", "", "userlan join INVITE")
    elif scene.status["networks"] and not scene.status["peers"]:
        name = scene.status["networks"][0]["name"]
        yield note("nobody-else", "nobody else is in this node's networks yet", "", f"userlan invite {name}")


def _approvals(network: dict[str, Any]) -> Iterator[Finding]:
    """What the mediator's list says, and the signed one of the network's owner does not."""
    name, unapproved = network["name"], [one["name"] for one in network.get("unapproved", ())]
    if unapproved:
        what = f"the mediator lists somebody in {name} whom its owner has not approved: not let in"
        remedy = f"userlan approve {unapproved[0]} {name}   # if you know who it is" if network.get("mine") else f"ask the owner of {name}"
        yield wrong("unapproved", what, ", ".join(unapproved[:4]), remedy)
    if not network.get("approved", True):
        what = f"the owner of {name} has not approved this node, though its mediator lists it: the members do not let it in"
        yield wrong("not-approved", what, "", f"ask the owner of {name}")


def router(scene: Scene) -> Iterator[Finding]:
    report = scene.told["netcheck"]
    if report["measured"] is not None and not report["udp"]["passes"]:
        evidence = "; ".join(report["evidence"].get("udp", ())[:2]) or "no answer came by UDP, and some by TCP"
        remedy = f"let UDP out at the firewall of this site, best from port {scene.told['port']}"
        yield wrong("udp-blocked", "UDP does not pass here: peers are reached by TCP, or by a relay", evidence, remedy)


def dropped(scene: Scene) -> Iterator[Finding]:
    counted = scene.status["groups"]["dropped"]
    for reason, (what, remedy) in DROPPED.items():
        if counted.get(reason):
            yield note(f"dropped-{reason}", what, f"{counted[reason]} dropped since the node started ({reason})", remedy)
    for row in scene.bridge("discovery").get("profiles", ()):
        for reason, what in CARRIED.items():
            if row["counters"].get(reason):
                yield note(f"dropped-{reason}", f"{row['profile']}: {what}", f"{row['counters'][reason]} times since it is shared")


def attached(scene: Scene) -> Iterator[Finding]:
    """The computer is in the LAN by an interface."""
    tap, discovery = scene.status["bridges"].get("tap"), scene.bridge("discovery")
    if isinstance(tap, str):
        yield wrong("tap-lost", "this computer is not attached any more", tap, "userlan tap")
    if discovery.get("attached"):
        what = "the discovery relay pauses: programs hear the LAN by this computer's own interface"
        yield note("relay-paused", what, _interface(tap))
    own = scene.status["self"]["ipv4"]
    if isinstance(tap, dict) and own and scene.computer.broadcasts_from not in ("", own):
        what = "what programs send to everybody does not go to the LAN"
        evidence = f"255.255.255.255 leaves from {scene.computer.broadcasts_from}, not from {own} ({tap['name']})"
        yield (wrong if scene.service else note)("broadcasts-elsewhere", what, evidence, "userlan tap --broadcasts")


def _interface(tap: Any) -> str:
    return str(tap["text"]) if isinstance(tap, dict) else "an address of the LAN is on one of its interfaces"


def names_server(scene: Scene) -> Iterator[Finding]:
    dns = scene.bridge("dns")
    wanted, listen = dns.get("wanted", "none"), dns.get("listen")
    if wanted != "none" and listen and wanted != listen and not wanted.endswith(":0"):
        port = int(wanted.rpartition(":")[2])
        held = next(iter(scene.computer.holders(port, "udp") or scene.computer.holders(port, "tcp")), None)
        evidence = f"{wanted} is held by {held.holder}" if held is not None else f"{wanted} was taken when the node started"
        yield note("dns-moved", f"names are served at {listen}: resolvers that ask {wanted} get no answer", evidence, "userlan dns")


def by_hand(scene: Scene) -> Iterator[Finding]:
    """What was forwarded and exposed by hand, and failed."""
    for row in scene.status["bridges"].get("forward") or ():
        if row["error"]:
            held = _holder(scene, row["listen"], row["protocol"]) if row["state"] == "failed" else ""
            what = f"the forward {row['listen']} does not work"
            yield wrong("forward-failed", what, row["error"] + held, f"userlan unforward {row['rule']}")
    for row in scene.bridge("expose") or ():
        if row["error"]:
            evidence = f"{row['target']}: {row['error']}"
            yield wrong("expose-failed", f"port {row['port']} leads nowhere", evidence, f"userlan unexpose {row['service']}")


def _holder(scene: Scene, listen: str, protocol: str) -> str:
    held = next(iter(scene.computer.holders(int(listen.rpartition(":")[2]), protocol)), None)
    return f": {held.holder} has it" if held is not None else ""


def port_problems(scene: Scene) -> Iterator[Finding]:
    """Ports that discovery and multicast DNS were to hold, and could not."""
    for row in scene.bridge("discovery").get("profiles", ()):
        for what, why in row["problems"].items():
            yield held_by_other(scene, row, what, why)
    error = scene.bridge("mdns").get("error")
    if error:
        held = next(iter(scene.computer.holders(5353, "udp")), None)
        by = f"; {held.holder} has port 5353" if held is not None else ""
        what = "multicast DNS is not relayed: another responder may hold the port without sharing it"
        remedy = f"kill {held.pid}" if held is not None and held.pid else "sudo ss -ulpn sport = :5353"
        yield wrong("mdns-port", what, f"{error}{by}", remedy)


def held_by_other(scene: Scene, row: dict[str, Any], what: str, why: str) -> Finding:
    """One port of a profile that is not held; ``what``: ``port N`` for one of this computer."""
    number = what.removeprefix("port ")
    held = next(iter(scene.computer.holders(int(number), "udp")), None) if number.isdecimal() else None
    name = row["profile"]
    if not number.isdecimal():
        return wrong("lan-port-taken", f"{name}: {what} is taken, so that nothing is carried by it", why, "userlan share")
    end = f"kill {held.pid}   # or: " if held is not None and held.pid else ""
    return wrong(
        "port-taken",
        f"{name}: {what} is taken, so that local programs do not find others",
        f"{why}: {held.holder}" if held is not None else why,
        f"{end}userlan share {name} --no-search",
    )


RULES = {
    "the mediator": mediator,
    "the clock": clock,
    "networks": networks,
    "UDP": router,
    "limits of what goes to many": dropped,
    "an attached interface": attached,
    "the DNS server": names_server,
    "forwards and exposed services": by_hand,
    "ports of discovery and multicast DNS": port_problems,
}
