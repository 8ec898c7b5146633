"""Accesses that let little through, with real processes: two NATs in a row, no UDP, nothing but port 443; and all mediators gone."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.lab.gaps import Stream
from tests.lab.nats import DOUBLE, ONLY_443, PORT_RESTRICTED, UDP_BLOCKED, Kind
from tests.lab.network import Lab
from tests.lab.party import Party, couple
from tests.lab.test_outages import UNNOTICED, echo, reach, tell
from tests.lab.userlan_process import Mediator, Member

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

def carries(one: Member, other: Member) -> None:
    """An echo over the LAN comes back, either way."""
    assert echo(one, other) is not None
    assert echo(other, one) is not None


def test_a_nat_behind_a_nat_on_both_sides(lab: Lab, tmp_path: Path) -> None:
    party, first, second, anna, ben = couple(lab, tmp_path, DOUBLE, DOUBLE)
    for one, other, there in ((anna, ben, second), (ben, anna, first)):
        found = party.met(one, other)
        assert (found["path"], found["endpoint"].split(":")[0]) == ("udp", there.addresses[0])
    carries(anna, ben)


@pytest.mark.parametrize("other", [PORT_RESTRICTED, UDP_BLOCKED], ids=lambda kind: kind.name)
def test_no_udp(lab: Lab, tmp_path: Path, other: Kind) -> None:
    """TCP is opened from both sides at one moment (RFC 9293 3.5, RFC 5382 REQ-2)."""
    party, _, second, anna, ben = couple(lab, tmp_path, UDP_BLOCKED, other)
    found = party.met(anna, ben, patience=90.0)
    assert (found["path"], found["endpoint"].split(":")[0]) == ("tcp", second.addresses[0])
    carries(anna, ben)


def test_nothing_but_port_443(lab: Lab, tmp_path: Path) -> None:
    """The router drops all else: the mediator is reached by TCP there, the relay too, and the peer through it."""
    party, _, _, anna, ben = couple(lab, tmp_path, ONLY_443, PORT_RESTRICTED)
    found = party.met(anna, ben, ("relayed",))
    assert found["path"] == "relay"
    carries(anna, ben)
    assert anna.call("status")["mediator"]["path"] == "tcp"


def test_both_of_two_mediators_are_killed(lab: Lab, tmp_path: Path) -> None:
    """Members of two networks, each with its own mediator: the tunnel stands, and who starts again finds its peer by what it remembers."""
    party = Party(lab, tmp_path)
    host = "44.0.0.3"
    second = Mediator(party.world.public("mediator2", (host,)).host, tmp_path / "mediator2", f"{host}:41414")
    one, two = party.world.sites([PORT_RESTRICTED, PORT_RESTRICTED])
    anna, ben = party.member("anna", one.host), party.member("ben", two.host)
    party.ready()
    party.network("home", [anna, ben])
    carla = Member(party.world.public("carla", ("44.0.0.4",)).host, tmp_path / "carla", "carla")
    carla.up("--mediator", second.url)
    party.network("work", [carla, anna, ben])
    party.met(anna, ben)
    stream = Stream(anna, ben, 7001)
    party.mediator.kill()
    second.kill()
    gap = stream.interruption(8.0)
    tell("both mediators killed, the tunnel stands still", gap, stream.machine)
    assert gap < UNNOTICED + stream.machine
    ben.kill()
    begun = time.monotonic()
    ben.up(wait=False)
    reach(ben, anna, "direct")
    tell("without any mediator, a node that starts again reaches its peer", 1000 * (time.monotonic() - begun))
    peer = next(peer for peer in ben.call("status")["peers"] if peer["name"] == "anna")
    assert {*peer["networks"]} == {"home", "work"}
