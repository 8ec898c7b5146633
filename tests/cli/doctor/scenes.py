"""Scenes in which nothing is wrong, to be changed in one place."""

from __future__ import annotations

from typing import Any

from userlan.cli.doctor.finding import Computer, Scene
from userlan.cli.doctor.verdict import judge

NOW = 1_000_000.0
POLICY = {"passes": True, "mapping": "endpoint-independent"}


def row(**changes: Any) -> dict[str, Any]:
    """Ben, in the status."""
    base = {
        "name": "ben", "key": "KB", "ipv4": "25.0.0.2", "networks": ["home"], "state": "direct", "path": "udp", "relay": None,
        "endpoint": "192.0.2.9:41414", "last_seen": NOW - 1,
    }  # fmt: skip
    return base | changes


def member(**changes: Any) -> dict[str, Any]:
    """Ben, as ``diagnosis.peer`` tells of him."""
    base = {
        "key": "KB", "name": "ben", "own": False, "address": "25.0.0.2", "online": True, "handshake": NOW - 60, "heard": NOW - 1,
        "tried": ["udp 192.0.2.9:41414"], "mtu": 1420, "groups": ["224.0.0.251", "239.255.255.250"],
    }  # fmt: skip
    return base | changes


def profile(name: str = "ssdp", **changes: Any) -> dict[str, Any]:
    """A discovery profile that is on."""
    base = {
        "profile": name, "title": "UPnP", "by": "discovery", "on": True, "with": "everybody", "picks_up": True, "problems": {},
        "counters": {}, "ports": [1900], "groups": ["239.255.255.250"], "broadcast": False, "asks": True, "default": True, "types": [],
        "admits": None,
    }  # fmt: skip
    return base | changes


def mdns(**changes: Any) -> dict[str, Any]:
    """The relay of multicast DNS: a printer of ben's is shown."""
    printer = {"peer": "ben", "name": "Laser", "type": "_ipp._tcp", "error": ""}
    base = {
        "enabled": True, "show": True, "offer": ["*"], "deny": [], "with": "everybody", "admits": None, "error": "", "attached": False,
        "services": [printer], "offered": [], "held_back": [],
    }  # fmt: skip
    return base | changes


def exposed(**changes: Any) -> dict[str, Any]:
    """A service that is exposed by hand."""
    base = {
        "service": "8000", "target": "127.0.0.1:8000", "port": 8000, "protocol": "tcp", "name": "", "allow": [], "error": "",
        "text": "port 8000 → 127.0.0.1:8000", "host": "", "service_port": 8000, "admits": None,
    }  # fmt: skip
    return base | changes


def node(**changes: Any) -> dict[str, Any]:
    """The node's answer; a change replaces a part, or of ``status``, ``mediator``, ``netcheck`` and ``bridges`` what it names."""
    base: dict[str, Any] = {
        "status": {
            "self": {"name": "anna", "ipv4": "25.0.0.1"},
            "mediator": {"url": "userlan://m", "state": "connected", "reason": ""},
            "networks": [{"name": "home"}],
            "peers": [row()],
            "groups": {"dropped": {}},
            "bridges": {"tap": None, "forward": []},
        },
        "mediator": {"since": None, "clock": 0.2, "addresses": ["192.0.2.1:41414"]},
        "netcheck": {"measured": NOW - 9, "direct": "yes", "udp": POLICY, "relays": [], "evidence": {}},
        "peer": None,
        "port": 41414,
        "mtu": 1420,
        "bridges": {
            "discovery": {"profiles": [profile()], "attached": False, "addresses": ["192.0.2.2"]},
            "mdns": mdns(),
            "dns": {"wanted": "127.0.0.1:5354", "listen": "127.0.0.1:5354"},
            "expose": [],
        },
    }
    for key, value in changes.items():
        base[key] = base[key] | value if key in ("status", "mediator", "netcheck", "bridges") else value
    return base


def scene(told: dict[str, Any] | None = None, **changes: Any) -> Scene:
    """With a node in which nothing is wrong."""
    return Scene(node=node() if told is None else told, now=NOW, **changes)


def alone(computer: Computer, **changes: Any) -> Scene:
    """Without a node."""
    return Scene(computer, absent="nothing answers", now=NOW, **changes)


def found(of: Scene) -> dict[str, tuple[str, str]]:
    """The findings: code → (level, everything that is said)."""
    return {one.code: (one.level, f"{one.what} | {one.evidence} | {one.remedy}") for one in judge(of).findings}
