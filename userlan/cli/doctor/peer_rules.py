"""One peer: whether its name means somebody, whether it is there, and how it is reached. Without a name: all of them, briefly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from userlan.cli.doctor.finding import Finding, Rule, Scene, note, wrong
from userlan.cli.output import ago

LOSS_NOTED, LOSS_WRONG = 0.05, 0.2
"""Shares of unanswered echoes: one of ten is chance, more is a path on which discovery's single datagrams get lost."""
LEAST_MTU = 1_280
"""Octets that IPv6 asks of every link (RFC 8200 5)."""
MDNS_GROUP = "224.0.0.251"


def known(scene: Scene) -> Iterator[Finding]:
    """The name means one member."""
    asked = scene.told["peer"]
    if asked is None or asked["key"] is not None:
        if asked is not None and asked["own"]:
            yield note("peer-self", f"{scene.peer} is this node itself", "", "userlan doctor")
        return
    nearest = asked["nearest"]
    if asked["ambiguous"]:
        yield wrong("peer-ambiguous", f"several members are called {scene.peer}", asked["error"], f"userlan doctor {nearest[0]}")
        return
    networks = [network["name"] for network in scene.status["networks"]]
    if not networks:
        return      # said already, and the reason of this
    if nearest:
        yield wrong("peer-unknown", f"nobody is called {scene.peer}", asked["error"], f"userlan doctor {nearest[0]}")
    elif asked["elsewhere"] and "." in scene.peer:
        short = scene.peer.split(".")[0]
        where = f"{short}.{asked['elsewhere'][0]}"
        yield wrong("peer-elsewhere", f"{scene.peer} is nobody, but there is {where}", asked["error"], f"userlan doctor {where}")
    else:
        evidence = f"{asked['error']}; this node is in {', '.join(networks)}"
        remedy = f"userlan invite {networks[0]}   # and there: userlan join INVITE"
        yield wrong("peer-unknown", f"{scene.peer} shares no network with this node, or has another name", evidence, remedy)


def there(scene: Scene) -> Iterator[Finding]:
    """The peer is reached."""
    member, row = scene.member, scene.peer_row
    if member is None or row is None or row["state"] in ("direct", "relayed"):
        return
    name, seen = row["name"], row["last_seen"]
    if row.get("blocked"):
        what = f"{name} is blocked by this node: nothing goes there, and nothing comes from there"
        yield wrong("peer-blocked", what, "", f"userlan unblock {name}")
        return
    if scene.status["mediator"]["state"] != "connected":
        last = f"it was seen {ago(scene.now - seen)}" if seen else "it was never seen"
        evidence = f"{last}; without the mediator nobody tells whether it is online, or where"
        yield wrong("peer-unreached", f"{name} is not reached", evidence, "userlan netcheck")
    elif not member["online"]:
        last = f"last seen {ago(scene.now - seen)}" if seen else "never seen by this node"
        yield wrong("peer-offline", f"{name} is offline", f"the mediator knows of no node of that name; {last}", f"on {name}: userlan up")
    elif member["handshake"] is None:
        yield _no_handshake(scene, member, name)
    else:
        last = ago(scene.now - member["heard"]) if member["heard"] is not None else "never"
        evidence = f"it is online for the mediator; heard last: {last}; tried: {_tried(member)}"
        yield wrong("peer-silent", f"{name} has stopped to answer", evidence, f"userlan netcheck   # and on {name}")


def _no_handshake(scene: Scene, member: dict[str, Any], name: str) -> Finding:
    report = scene.told["netcheck"]
    relays = "there is no relay" if not report["relays"] else f"{len(report['relays'])} relays were offered"
    evidence = f"it is online, and no handshake was ever completed; tried: {_tried(member)}; {relays}"
    return wrong("peer-no-handshake", f"{name} is online and cannot be reached", evidence, f"userlan netcheck   # and on {name}")


def _tried(member: dict[str, Any]) -> str:
    return ", ".join(member["tried"][:4]) or "nothing yet"


def path(scene: Scene) -> Iterator[Finding]:
    """The way is a good one."""
    member, row = scene.member, scene.peer_row
    if member is None or row is None:
        return
    name = row["name"]
    if row["state"] == "relayed":
        relay = row["relay"] or row["endpoint"]
        yield note("peer-relayed", f"{name} is reached by the relay {relay} only: slower, and all works", why_relayed(scene, name),
                   f"userlan netcheck   # and on {name}")
    elif row["path"] == "tcp":
        yield note("peer-tcp", f"{name} is reached by TCP only: what is lost delays what follows", why_relayed(scene, name),
                   f"userlan netcheck   # and on {name}")
    echoes = scene.echoes
    if echoes is not None and echoes.sent:
        lost = 1 - echoes.answered / echoes.sent
        evidence = f"{echoes.sent - echoes.answered} of {echoes.sent} echoes were not answered"
        if not echoes.answered:
            yield wrong("peer-lossy", f"{name} was reached a moment ago, and answers no more", evidence, f"userlan ping {name}")
        elif lost > LOSS_WRONG:
            yield wrong("peer-lossy", f"{name} hears only part of what is sent", evidence, f"userlan ping {name}")
        elif lost > LOSS_NOTED:
            yield note("peer-lossy", f"something is lost on the way to {name}", evidence, f"userlan ping {name}")
    mtu = member["mtu"]
    if mtu is not None and mtu < LEAST_MTU:
        what = f"the way to {name} carries small packets only: large datagrams that may not be split get lost"
        yield note("peer-mtu", what, f"{mtu} octets pass, and the LAN has {scene.told['mtu']}", "set tunnel.mtu: 1280")


def why_relayed(scene: Scene, name: str) -> str:
    """What is known of the two routers that explains it."""
    report = scene.told["netcheck"]
    udp = report["udp"]
    if report["measured"] is None:
        return "this node's router was not measured yet"
    if not udp["passes"]:
        return "netcheck: UDP does not pass here"
    if report["direct"] == "most":
        return f"netcheck: the router here gives each destination another port ({udp['mapping']}), which takes a better one at {name}'s"
    if report["direct"] == "yes":
        return f"netcheck: the router here is no obstacle; look at {name}'s"
    return "netcheck: nobody answered who could tell what the router here does"


def hears(scene: Scene) -> Iterator[Finding]:
    """The peer takes part in multicast DNS."""
    member, row = scene.member, scene.peer_row
    if member is None or row is None or (scene.echoes is not None and not scene.echoes.answered):
        return
    if MDNS_GROUP not in member["groups"]:
        what = f"{row['name']} does not listen to {MDNS_GROUP}: its services are not announced, and it sees none"
        listens = ", ".join(member["groups"][:6]) or "no group"
        yield note("peer-no-mdns", what, f"it listens to {listens}", f"on {row['name']}: set mdns.enabled: true")


def everybody(scene: Scene) -> Iterator[Finding]:
    """Without a name: who is online and not reached, and who is reached by a relay."""
    if scene.peer or scene.status["mediator"]["state"] != "connected":
        return
    rows = scene.status["peers"]
    stuck = [row["name"] for row in rows if row["state"] == "connecting"]
    if stuck:
        some = f"{', '.join(stuck[:5])}{' …' if len(stuck) > 5 else ''}"
        evidence = f"{len(stuck)} of {len(rows)} members"
        yield wrong("peers-unreached", f"{some}: online, and not reached", evidence, f"userlan doctor {stuck[0]}")
    relayed = [row["name"] for row in rows if row["state"] == "relayed"]
    if relayed:
        some = f"{', '.join(relayed[:5])}{' …' if len(relayed) > 5 else ''}"
        yield note("peers-relayed", f"{some}: reached by a relay only", why_relayed(scene, relayed[0]), f"userlan doctor {relayed[0]}")
    if rows and all(row["state"] == "offline" for row in rows):
        yield note("peers-offline", "nobody else is online", f"{len(rows)} members, all offline", f"userlan doctor {rows[0]['name']}")


RULES = {
    "the peer's name": known,
    "whether the peer is there": there,
    "the way to the peer": path,
    "groups that the peer listens to": hears,
    "all peers": everybody,
}


def idle(scene: Scene) -> set[Rule]:
    """Those that have nothing to look at."""
    if not scene.peer:
        return {known, there, path, hears}
    row = scene.peer_row
    if row is None:
        return {everybody, there, path, hears}
    return {everybody} if row["state"] in ("direct", "relayed") else {everybody, path, hears}
