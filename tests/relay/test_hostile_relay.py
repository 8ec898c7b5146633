"""A relay that is an enemy: it drops, repeats, reorders, changes and forges, and the tunnel does not care."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.node.lan import Sink, Source
from tests.relay.lan import RelayedLan
from userlan.relay.core import Relay
from userlan.relay.datagrams import HEADER_SIZE
from userlan.wire.burst import Burst

SIZE = 1 << 18


class Malice:
    """What a relay does to one in ten of the datagrams that it forwards."""

    def __init__(self, relay: Relay, how: str) -> None:
        self._own = relay.datagrams
        self._random = Random(1)
        self._how = how
        self._kept: Burst | None = None
        self.done = 0
        relay.datagrams = self.datagrams  # type: ignore[method-assign]

    def datagrams(self, now: float) -> list[Burst]:
        bursts: list[Burst] = []
        for burst in self._own(now):
            if burst.data[:4] != b"\x28\0\0\0" or self._random.random() > 0.1:
                bursts.append(burst)
                continue
            self.done += 1
            bursts += self._spoilt(burst)
        return bursts

    def _spoilt(self, burst: Burst) -> list[Burst]:
        data = bytearray(burst.data)
        if self._how == "drop":
            return []
        if self._how == "repeat":
            return [burst, burst]
        if self._how == "reorder":
            kept, self._kept = self._kept, burst
            return [kept] if kept is not None else []
        if self._how == "change":
            data[self._random.randrange(HEADER_SIZE, len(data))] ^= 1
            return [burst._replace(data=bytes(data))]
        if self._how == "forge":      # octets of its own, before the true ones
            return [burst._replace(data=bytes(data[:HEADER_SIZE]) + self._random.randbytes(len(data) - HEADER_SIZE)), burst]
        raise AssertionError(self._how)


@pytest.mark.parametrize("how", ["drop", "repeat", "reorder", "change", "forge"])
def test_what_arrives_is_what_was_sent(tmp_path: Path, how: str) -> None:
    lan = RelayedLan(tmp_path)
    relay = lan.relay("enemy", "203.0.113.1")
    malice = Malice(relay, how)
    lan.world.run(2.0)
    anna, ben = lan.member("anna", 1), lan.member("ben", 2)
    lan.ready(anna, ben)
    lan.network(anna, ben)
    lan.until_state(anna, ben, "relayed", 60.0)
    data = Random(2).randbytes(SIZE)
    sink = Sink(lan, ben, 80)
    Source(lan, anna, ben.ipv6, 80, data)
    lan.world.run_until(lambda: len(sink.data) >= SIZE, 120.0)
    assert bytes(sink.data) == data
    assert malice.done > 3
