"""What a router maps is offered to mediators, and named to peers by the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.node.lan import VirtualLan
from tests.sim.nat import Nat
from userlan.control.messages import MAX_CANDIDATES, Candidate
from userlan.wire.endpoint import TCP, UDP, Endpoint

EXTERNAL = "198.51.100.1"


def test_mapped_endpoints_are_offered_first_and_taken_back(tmp_path: Path) -> None:
    lan = VirtualLan(tmp_path)
    anna = lan.node("anna", Nat(lan.internet, EXTERNAL).inside, "192.168.1.2")
    ben = lan.node("ben", Nat(lan.internet, "203.0.113.1").inside, "192.168.1.2")
    lan.ready(anna, ben)
    lan.network(anna, ben)
    mapped = (Endpoint(UDP, EXTERNAL, 50000), Endpoint(TCP, EXTERNAL, 50000))
    sent: list[tuple[Candidate, ...]] = []
    link: Any = anna.links[lan.mediator.public_key]
    send = link.send

    def note(message: Any, now: float) -> None:
        sent.append(message.candidates)
        send(message, now)

    link.send = note
    anna.set_mapped_endpoints(mapped, lan.world.now, "pcp")
    anna.set_mapped_endpoints(mapped, lan.world.now, "pcp")
    assert (anna.whereabouts.method, anna.reachability.nat.port_mapping) == ("pcp", "pcp")
    assert len(sent) == 1
    assert sent[0][:2] == tuple(Candidate(EXTERNAL, 50000, transport, "mapped") for transport in ("udp", "tcp"))
    assert sent[0][2] == Candidate("192.168.1.2", 41414)
    assert set(mapped) <= anna.peers.own_endpoints, "nobody is sent to oneself"
    anna.set_local_endpoints([Endpoint(UDP, f"192.168.1.{number}", 41414) for number in range(10, 40)], lan.world.now)
    assert len(sent[-1]) == MAX_CANDIDATES
    assert sent[-1][0].kind == "mapped"
    anna.set_mapped_endpoints((), lan.world.now)
    assert not anna.whereabouts.method
    assert all(candidate.kind == "local" for candidate in sent[-1])
