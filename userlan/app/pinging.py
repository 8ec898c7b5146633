"""Echo requests for a command: one answer an item, with the path that it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from userlan.driver.commands import Reply
from userlan.lan.addresses import text
from userlan.stack.events import EchoFailed, EchoReply
from userlan.wire.endpoint import host_port

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram

SMALL = 512
"""Octets of an echo whose time is the path's, not its own length's."""


class Pinging:
    """One ``userlan ping``."""

    def __init__(
        self,
        program: NodeProgram,
        reply: Reply,
        identifier: int,
        key: bytes,
        name: str,
        address: bytes,
        count: int | None,
        interval: float,
        size: int,
        timeout: float,
    ) -> None:
        self.program, self.reply, self.identifier = program, reply, identifier
        self.key, self.name, self.address = key, name, address
        self.count, self.interval, self.size, self.timeout = count, max(0.01, interval), min(size, 65000), timeout
        self._sequence = 0
        self._waiting: dict[int, Any] = {}
        self._next: Any = None

    def start(self) -> None:
        """The first request."""
        self.program.echoes[self.identifier] = self._answered
        self._send()

    def stop(self) -> None:
        """The command went away."""
        self.program.echoes.pop(self.identifier, None)
        for call in (self._next, *self._waiting.values()):
            if call is not None and call.active():
                call.cancel()
        self._waiting.clear()

    def _send(self) -> None:
        self._sequence += 1
        sequence = self._sequence % 65536
        payload = bytes(index & 0xFF for index in range(self.size))
        last = self.count is not None and self._sequence >= self.count
        self._next = None if last else self.program.reactor.callLater(self.interval, self._send)
        self._waiting[sequence] = self.program.reactor.callLater(self.timeout, self._item, sequence, None, "")
        self.program.node.host.ping(self.address, self.identifier, sequence, payload, self.program.reactor.seconds())
        self.program.runner.touch()
        self.program.engine.pump()      # at once: what is measured is the path, not this turn of the reactor. The answer may come inside

    def _answered(self, event: EchoReply | EchoFailed) -> None:
        if isinstance(event, EchoReply):
            if self.size <= SMALL:
                self.program.ways.measured(self.key, event.rtt)
            self._item(event.sequence, event.rtt * 1000, "")
        else:
            blocked = self.key in self.program.node.blocking.blocked
            self._item(event.sequence, None, f"{self.name} is {'blocked: userlan unblock ' + self.name if blocked else event.reason}")

    def _item(self, sequence: int, rtt_ms: float | None, reason: str) -> None:
        call = self._waiting.pop(sequence, None)
        if call is None:
            return
        if call.active():
            call.cancel()
        self.reply.item(
            {
                "name": self.name,
                "address": text(self.address),
                "sequence": sequence,
                "size": self.size,
                "rtt_ms": round(rtt_ms, 3) if rtt_ms is not None else None,
                "path": self._path(),
                "reason": reason,
            }
        )
        if self._next is None and not self._waiting:
            self.stop()
            self.reply.done({})

    def _path(self) -> str:
        if self.key == self.program.node.key:
            return "self"
        state, path = self.program.node.peers.shown(self.key)
        tunnel = self.program.node.device.peer(self.key)
        if state not in ("direct", "relayed") or tunnel is None or tunnel.endpoint is None:
            return state
        if state == "relayed":
            return f"relay {self.program.node.relays.client.name_of(tunnel.endpoint) or tunnel.endpoint.host}"
        where = host_port(tunnel.endpoint.host, tunnel.endpoint.port)
        return f"direct {tunnel.endpoint.transport} {where}{' (lan)' if path == 'lan' else ''}"
