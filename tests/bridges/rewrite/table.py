"""A translation out of a table, and what it was asked."""

from __future__ import annotations

from collections.abc import Mapping

from bridges.rewrite import Place

LOCAL = "192.168.77.1"
VIRTUAL = "25.4.5.6"
ALIAS = "127.4.5.6"
PEER_ALIAS = "127.7.8.9"


class Table:
    """Hosts of ``hosts`` become others, ports keep their number but for those in ``ports``; nothing else is known."""

    def __init__(self, hosts: Mapping[str, str], ports: Mapping[int, int] | None = None) -> None:
        self.asked: list[tuple[str, int, str]] = []
        self._hosts = hosts
        self._ports = ports or {}

    def place(self, host: str, port: int, protocol: str) -> Place | None:
        """As a relay does it."""
        self.asked.append((host, port, protocol))
        moved = self._hosts.get(host)
        return None if moved is None else (moved, self._ports.get(port, port))

    def host(self, host: str) -> str | None:
        """As a relay does it."""
        return self._hosts.get(host)


def outward(ports: Mapping[int, int] | None = None) -> Table:
    """This computer's addresses become the node's virtual one."""
    return Table({LOCAL: VIRTUAL, "127.0.0.1": VIRTUAL, "fd00::77:1": "fd75::456", "": VIRTUAL}, ports)


def inward(ports: Mapping[int, int] | None = None) -> Table:
    """A peer's virtual address becomes its alias."""
    return Table({VIRTUAL: ALIAS, "": ALIAS}, ports)
