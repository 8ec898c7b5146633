"""A bounded table of UDP flows: the one used longest ago gives way, and idle ones end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Flow = TypeVar("Flow")

FLOW_IDLE = 120.0
"""Seconds without a datagram after which a flow ends (RFC 4787, REQ-5: not less than two minutes)."""

MAX_FLOWS = 1024
"""Flows of one forwarded or exposed port: each is a socket, and anybody who reaches the port can make one by a
datagram."""


class FlowTable(Generic[Key, Flow]):
    """Flows by key, in the order of their last use. Sans-IO: who takes flows out must close what they hold."""

    def __init__(self, capacity: int = MAX_FLOWS, idle: float = FLOW_IDLE) -> None:
        self.capacity = capacity
        self.idle = idle
        self._flows: OrderedDict[Key, tuple[Flow, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._flows)

    def use(self, key: Key, now: float) -> Flow | None:
        """The flow of ``key``, marked as used at ``now``; None when there is none."""
        entry = self._flows.get(key)
        if entry is None:
            return None
        self._flows[key] = (entry[0], now)
        self._flows.move_to_end(key)
        return entry[0]

    def peek(self, key: Key) -> Flow | None:
        """The flow of ``key``, without using it."""
        entry = self._flows.get(key)
        return None if entry is None else entry[0]

    def add(self, key: Key, flow: Flow, now: float) -> list[Flow]:
        """Enter a flow; returns what had to give way."""
        displaced = [flow for flow in (self.remove(key),) if flow is not None]
        while len(self._flows) >= self.capacity:
            displaced.append(self._flows.popitem(last=False)[1][0])
        self._flows[key] = (flow, now)
        return displaced

    def remove(self, key: Key) -> Flow | None:
        """Take a flow out."""
        entry = self._flows.pop(key, None)
        return None if entry is None else entry[0]

    def items(self) -> list[tuple[Key, Flow]]:
        """All of them, the one used longest ago first."""
        return [(key, flow) for key, (flow, _) in self._flows.items()]

    def expire(self, now: float) -> list[Flow]:
        """Take out all flows that have been idle for too long."""
        expired = []
        while self._flows:
            key, (flow, used) = next(iter(self._flows.items()))
            if now - used < self.idle:
                break
            del self._flows[key]
            expired.append(flow)
        return expired

    def clear(self) -> list[Flow]:
        """Take out everything."""
        flows = [flow for flow, _ in self._flows.values()]
        self._flows.clear()
        return flows
