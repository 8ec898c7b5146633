"""One service, or the kinds of them: discovery profiles, what multicast DNS announces, ports that are exposed.

``service`` as people say it: a profile (``openttd``), a type (``_ipp._tcp``), a port (``8000``), or a service's own name.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from userlan.cli.doctor.computer_rules import bound_elsewhere
from userlan.cli.doctor.finding import Finding, Rule, Scene, note, wrong


def profile(scene: Scene) -> dict[str, Any] | None:
    """The discovery profile that is asked for."""
    rows = scene.bridge("discovery").get("profiles", ())
    return next((row for row in rows if row["profile"] == scene.service.lower()), None)


def switched_off(scene: Scene) -> Iterator[Finding]:
    """Without a service's name: what somebody has switched off that is on by itself."""
    rows = [row for row in scene.bridge("discovery").get("profiles", ()) if row["by"] == "discovery"]
    off = [row["profile"] for row in rows if row["default"] and not row["on"]]
    if off and len(off) == sum(1 for row in rows if row["default"]):
        yield note("discovery-off", "nothing is shared by discovery", "all profiles are off", "userlan share all")
    elif off:
        yield note("profiles-off", f"not shared: {', '.join(off)}", "they are, unless somebody says otherwise", f"userlan share {off[0]}")
    denied = [row["profile"] for row in rows if row["on"] and row["admits"] is False]
    if denied:
        evidence = f"they are shared with {next(row['with'] for row in rows if row['profile'] == denied[0])}"
        what = f"not shared with {scene.peer}: {_some(denied)}"
        yield note("profiles-denied", what, evidence, f"userlan share {denied[0]} --peer {scene.peer}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def discovery(scene: Scene) -> Iterator[Finding]:
    """The profile that is asked for is carried, with that peer, in both directions."""
    row = profile(scene)
    if row is None or row["by"] != "discovery" or scene.bridge("discovery").get("attached"):
        return
    name = row["profile"]
    if not row["on"]:
        yield wrong("profile-off", f"{name} is not shared: nothing of it is carried", f"{row['title']}: off", f"userlan share {name}")
        return
    if row["admits"] is False:
        what = f"{name} is not shared with {scene.peer}"
        yield wrong("profile-denied", what, f"it is shared with {row['with']}", f"userlan share {name} --peer {scene.peer}")
    if not row["picks_up"] and not row["problems"]:
        what = f"local programs of {name} are found by others, but do not find others: nothing holds their ports to hear them ask"
        evidence = "programs that do not share the port could not start beside it, so it is off unless asked for"
        yield wrong("not-searching", what, evidence, f"userlan share {name} --search")
    for reason, what in (("forbidden", "from members with whom it is not shared"), ("not-understood", "that is not the profile's")):
        if row["counters"].get(reason):
            evidence = f"{row['counters'][reason]} datagrams"
            yield note(f"dropped-{reason}", f"{name}: something was dropped {what}", evidence, "userlan share")
    yield from _peer_listens(scene, row)
    if row["asks"]:
        for port in row["ports"]:
            yield from bound_elsewhere(scene.computer, port, "udp", everybody=True)


def _peer_listens(scene: Scene, row: dict[str, Any]) -> Iterator[Finding]:
    member, shown = scene.member, scene.peer_row
    if member is None or shown is None or shown["state"] not in ("direct", "relayed") or row["broadcast"]:
        return
    for group in row["groups"]:
        if group not in member["groups"]:
            what = f"{member['name']} does not listen to {group}: {row['profile']} is not shared there"
            listens = ", ".join(member["groups"][:6]) or "no group"
            remedy = f"on {member['name']}: userlan share {row['profile']}"
            yield wrong("group-not-heard", what, f"it listens to {listens}", remedy)


def mdns(scene: Scene) -> Iterator[Finding]:
    """Multicast DNS is relayed."""
    found, row = scene.bridge("mdns"), profile(scene)
    if not found:
        return
    serious = wrong if scene.service else note
    if not found["enabled"]:
        what = "multicast DNS is not relayed: no service is announced"
        yield serious("mdns-off", what, "mdns.enabled is false", "set mdns.enabled: true")
        return
    if not found["show"]:
        yield serious("mdns-hidden", "services of members are not shown to local programs", "mdns.show is false", "set mdns.show: true")
    if found["admits"] is False:
        evidence = f"they are offered to {found['with']}"
        what = f"services of this computer are not offered to {scene.peer}"
        yield serious("mdns-denied", what, evidence, "set mdns.networks or mdns.peers")
    if found["attached"]:
        yield note("mdns-paused", "multicast DNS is not relayed: local programs speak on the LAN themselves", "an interface is attached")
    back = [one for one in found["held_back"] if not scene.service or _is(one, scene.service, row)]
    if back:
        named = _some([f"{one['name']} ({one['type']})" for one in back])
        patterns = f"mdns.offer: {', '.join(found['offer']) or 'nothing'}; mdns.deny: {', '.join(found['deny']) or 'nothing'}"
        yield serious("mdns-type-denied", f"not offered to the LAN: {named}", patterns, f"take {back[0]['type']} out of mdns.deny")


def announced(scene: Scene) -> Iterator[Finding]:
    """The service that is asked for is announced by somebody."""
    found, row = scene.bridge("mdns"), profile(scene)
    if not found or not found["enabled"] or found["attached"]:
        return
    rows = [one for one in found["services"] if scene.member is None or one["peer"] == scene.member["name"]]
    matching = [one for one in rows if _is(one, scene.service, row)]
    for one in matching:
        if one.get("error"):
            yield wrong("service-no-port", f"{one['name']} of {one['peer']} cannot be forwarded", one["error"], "userlan services")
    mine = [one for one in found["offered"] if _is(one, scene.service, row)]
    if matching or (mine and scene.member is None):
        return
    who = scene.member["name"] if scene.member is not None else "nobody"
    names = sorted({str(one["name"]) for one in rows})
    profiles = [each["profile"] for each in scene.bridge("discovery").get("profiles", ())]
    near = difflib.get_close_matches(scene.service, [*names, *profiles], 1)
    verb = "announces no" if scene.member is not None else "announces"
    evidence = f"announced: {_some(names)}" if names else "nothing is announced by anybody that is seen"
    remedy = "there: userlan expose PORT"
    if near and near[0].isprintable():      # what a member calls a service is to be typed, and must be no command of its own
        remedy = shlex.join(("userlan", "doctor", *([scene.peer] if scene.peer else []), "--service", near[0]))
    yield wrong("service-not-announced", f"{who} {verb} {scene.service}", evidence, remedy)


def _is(one: dict[str, Any], service: str, row: dict[str, Any] | None) -> bool:
    if row is not None and row["types"]:
        return str(one["type"]) in row["types"]
    if service.startswith("_"):
        return str(one["type"]).lower() == service.lower().removesuffix(".local")
    return fnmatchcase(str(one["name"]).lower(), service.lower())


def port(scene: Scene) -> Iterator[Finding]:
    """The port that is asked for is exposed and served: the peer's, or without a peer this computer's."""
    number, member = int(scene.service), scene.member
    if member is not None:
        if scene.connects:
            what = f"port {number} of {member['name']} is not reached"
            yield wrong("port-refused", what, scene.connects, f"on {member['name']}: userlan expose {number}")
        return
    rows = [one for one in scene.bridge("expose") or () if number in (one["port"], one["service_port"])]
    if not rows and not scene.bridge("discovery").get("attached"):
        yield wrong("not-exposed", f"port {number} is not exposed: no member reaches it", "", f"userlan expose {number}")
    for one in rows:
        if one["host"] in ("", "127.0.0.1", "localhost") and scene.computer.linux:
            yield from _served(scene, one)


def _served(scene: Scene, one: dict[str, Any]) -> Iterator[Finding]:
    number, protocol = one["service_port"], one["protocol"]
    held = scene.computer.holders(number, protocol)
    if not held:
        what = f"nothing listens on port {number}/{protocol} of this computer"
        yield wrong("not-served", what, f"exposed as {one['text']}", f"start the server; ss -lnp sport = :{number}")
    elif protocol == "udp" or not any(each.host in ("::", "::1") for each in held):      # TCP is tried at ::1, too
        yield from bound_elsewhere(scene.computer, number, protocol)


def allowed(scene: Scene) -> Iterator[Finding]:
    """What is exposed here for some, and not for the peer."""
    for one in scene.bridge("expose") or ():
        if one["admits"] is False and (not scene.service or scene.service in (str(one["port"]), str(one["service_port"]), one["name"])):
            evidence = f"allowed: {', '.join(one['allow'])}"
            remedy = f"userlan unexpose {one['service']}   # and expose it with --allow {scene.peer}"
            yield note("expose-denied", f"{scene.peer} may not use port {one['port']} of this computer", evidence, remedy)


RULES = {
    "what is switched off": switched_off,
    "discovery": discovery,
    "multicast DNS": mdns,
    "what is announced": announced,
    "the port": port,
    "who may use what is exposed": allowed,
}


def idle(scene: Scene) -> set[Rule]:
    """Those that have nothing to look at."""
    row, found = profile(scene), set[Rule]()
    if not scene.service:
        found = {discovery, announced, port}
    elif scene.service.isdecimal():
        found = {switched_off, discovery, mdns, announced}
        if (scene.peer and scene.member is None) or (scene.member is not None and scene.connects is None):
            found.add(port)     # whose it is, is not known; or it was not tried, since the peer is not reached
    elif row is not None and row["by"] == "discovery":
        found = {switched_off, mdns, announced, port}
    else:
        found = {switched_off, discovery, port}
    return found if scene.member is not None else {*found, allowed}
