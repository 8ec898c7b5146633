"""Outages with real processes: servers killed, a relay lost, another address, a NAT that forgets. The interruptions are printed.

A limit holds for what is added to the standstill of the computer itself, which is measured at the same time beside the stream."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.lab.gaps import Stream
from tests.lab.nats import CHUNKED, FULL_CONE, PORT_RESTRICTED, SHORT_LIVED, SYMMETRIC_RANDOM, SYMMETRIC_STEPPING
from tests.lab.network import Lab, unavailable
from tests.lab.party import Party, couple, sees
from tests.lab.userlan_process import Member

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

SOON = 3000
"""Milliseconds in which a stream must run again."""
UNNOTICED = 1000
"""Milliseconds of which nobody would say that something had happened, on a machine that starts processes meanwhile."""
IDLE = 90.0
"""Seconds, three times the life of a mapping."""


def tell(text: str, milliseconds: float, machine: int | None = None) -> None:
    """A measured figure, for whoever reads the tests' output; ``machine``: what the computer did meanwhile by itself."""
    beside = "" if machine is None else f" ({machine} ms where nothing is between)"
    print(f"\n  {text}: {milliseconds:.0f} ms{beside}", flush=True)


@attrs.define
class Pause:
    """A pair that says nothing, behind mappings that live 30 s."""

    anna: Member
    ben: Member
    begun: float


@pytest.fixture(scope="module", autouse=True)
def pause(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pause]:
    """Idle while the other tests run."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("idle")
    with Lab(folder) as lab:
        party, _, _, anna, ben = couple(lab, folder, SHORT_LIVED, SHORT_LIVED, relays=0)
        party.met(anna, ben)
        yield Pause(anna, ben, time.monotonic())


def test_the_mediator_is_killed(lab: Lab, tmp_path: Path) -> None:
    """Direct and relayed tunnels go on; a node that starts anew finds its peers by itself, either way."""
    party = Party(lab, tmp_path)
    sites = party.world.sites([PORT_RESTRICTED, PORT_RESTRICTED, SYMMETRIC_RANDOM, SYMMETRIC_RANDOM])
    anna, ben, carla, dora = (party.member(name, site.host) for name, site in zip(("anna", "ben", "carla", "dora"), sites, strict=True))
    party.ready()
    party.network("home", [anna, ben, carla, dora])
    party.met(anna, ben)
    party.met(carla, dora, ("relayed",))
    direct, relayed = Stream(anna, ben, 7001), Stream(carla, dora, 7002)
    party.mediator.kill()
    for name, stream in (("direct", direct), ("relayed", relayed)):
        gap = stream.interruption(8.0)
        tell(f"all mediators killed, {name} tunnel stands still", gap, stream.machine)
        assert gap < UNNOTICED + stream.machine
    for member, other, state in ((ben, anna, "direct"), (dora, carla, "relayed")):
        member.kill()
        begun = time.monotonic()
        member.up("--mediator", party.mediator.url, wait=False)
        reach(member, other, state)
        tell(f"without a mediator, a node that starts again reaches its peer ({state})", 1000 * (time.monotonic() - begun))


def reach(member: Member, other: Member, state: str, patience: float = 60.0) -> None:
    """Until an echo comes back by such a path."""
    give_up = time.monotonic() + patience
    while True:
        assert time.monotonic() < give_up, f"{member.name} does not reach {other.name}"
        try:
            if sees(member, other, (state,)) and echo(member, other) is not None:
                return
        except Exception as error:      # the node is starting
            if time.monotonic() > give_up:
                raise AssertionError(str(error)) from error
        time.sleep(0.1)


def echo(member: Member, other: Member) -> dict[str, Any] | None:
    """One ping's answer."""
    heard: list[dict[str, Any]] = []
    member.call("ping", heard.append, peer=other.name, count=1, interval=0.1, size=56, timeout=2.0)
    return next((item for item in heard if item["rtt_ms"] is not None), None)


def test_a_relay_is_killed(lab: Lab, tmp_path: Path) -> None:
    """Its pairs go on by the next one of their list."""
    party, _, _, anna, ben = couple(lab, tmp_path, SYMMETRIC_RANDOM, SYMMETRIC_RANDOM, relays=2)
    used = party.met(anna, ben, ("relayed",))["endpoint"]
    stream = Stream(anna, ben, 7001)
    number = 0 if "44.0.0.10" in used else 1
    party.relays[number].kill()
    gap = stream.interruption(4.0)
    tell("the relay killed, the stream stands still", gap, stream.machine)
    assert gap < SOON + stream.machine
    now = party.met(anna, ben, ("relayed",))["endpoint"]
    assert f"44.0.0.{11 - number}" in now


def test_another_address_in_mid_transfer(lab: Lab, tmp_path: Path) -> None:
    """From one network into another, behind another NAT of another kind."""
    party, _, _, anna, ben = couple(lab, tmp_path, FULL_CONE, PORT_RESTRICTED)
    other = party.world.site(PORT_RESTRICTED)
    party.met(anna, ben)
    stream = Stream(anna, ben, 7001)
    party.world.move(ben.namespace, other)
    gap = stream.interruption(4.0)
    tell("another address and NAT, the stream stands still", gap, stream.machine)
    assert gap < SOON + stream.machine
    assert party.met(anna, ben)["endpoint"].startswith(other.addresses[0])


@pytest.mark.parametrize("kind", [PORT_RESTRICTED, CHUNKED], ids=lambda kind: kind.name)
def test_a_nat_reboots(lab: Lab, tmp_path: Path, kind: Any) -> None:
    """It forgets all mappings; one of them keeps the port, the other draws a new one."""
    party, first, _, anna, ben = couple(lab, tmp_path, kind, PORT_RESTRICTED)
    party.met(anna, ben)
    stream = Stream(anna, ben, 7001)
    party.world.reboot(first)
    gap = stream.interruption(4.0)
    tell(f"{kind.name} reboots, the stream stands still", gap, stream.machine)
    assert gap < SOON + stream.machine
    party.met(anna, ben)


def test_two_behind_one_incremental_nat_join_at_the_same_moment(lab: Lab, tmp_path: Path) -> None:
    """Predictions for one NAT would take each other's ports: its negotiations are made one after the other."""
    party = Party(lab, tmp_path)
    home, other = party.world.site(SYMMETRIC_STEPPING, hosts=2), party.world.site(PORT_RESTRICTED)
    ben = party.member("ben", other.host)
    two = [party.member(name, host) for name, host in zip(("anna", "carla"), home.hosts, strict=True)]
    party.ready()
    party.network("home", [ben, *two])
    begun = time.monotonic()
    for member in two:
        found = party.met(ben, member)
        assert (found["path"], found["endpoint"].split(":")[0]) == ("udp", home.addresses[0])
    tell("two at once behind one incremental NAT are direct after", 1000 * (time.monotonic() - begun))
    assert party.met(two[0], two[1])["path"] == "lan"


def test_silence_outlives_mappings(pause: Pause) -> None:
    """90 s without a word, mappings of 30 s: the keepalives have held them, and the first packet passes at once."""
    time.sleep(max(0.0, pause.begun + IDLE - time.monotonic()))
    found = sees(pause.anna, pause.ben, ("direct",))
    assert found is not None
    answer, later = (echo(pause.anna, pause.ben) for _ in range(2))
    assert answer is not None
    assert later is not None
    assert answer["path"].startswith("direct udp")
    tell("after 90 s of silence the first echo takes", answer["rtt_ms"])
    tell("and the next one", later["rtt_ms"])
    assert answer["rtt_ms"] < 500 + later["rtt_ms"]
