"""The mediator killed and started again: what was told is kept, and members find each other anew."""

from __future__ import annotations

from pathlib import Path

from tests.mediator.harness import Lab, states
from userlan.control.meeting import Introduce
from userlan.control.messages import Done, MemberChanged
from userlan.lan.secrets import NetworkSecret

SECRET = NetworkSecret(b"s" * 16)


def test_addresses_networks_and_roster_survive_kill_9(tmp_path: Path, store: str) -> None:
    lab = Lab(tmp_path, store=store)
    ann, bob = lab.login("ann"), lab.login("bob")
    assert isinstance(ann.create("home", SECRET), Done)
    assert isinstance(bob.join("home", SECRET), Done)
    lab.run(1.0)
    before = {member.key: member.ipv4 for member in states(bob)["home"].members}
    lab.kill()
    lab.run(5.0)
    lab.start()
    for client in (ann, bob):
        client.received.clear()
        client.device.initiate(client.mediator_key, [client.server], lab.world.now)
        lab.run(0.5)
        welcome = client.login()
        assert welcome.ipv4 == before[client.key]
        assert welcome.networks == ("home",)
    lab.run(1.0)
    assert {member.key: member.ipv4 for member in states(bob)["home"].members} == before
    assert [changed.member.online for changed in ann.take(MemberChanged)] == [True]
    assert len(ann.take(Introduce)) == len(bob.take(Introduce)) == 1
    lab.directory.close()


def test_a_lost_directory_gives_the_same_addresses_again(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = Lab(tmp_path / "one")
    before = [first.client(f"pc{number}").login().ipv4 for number in range(20)]
    (tmp_path / "two").mkdir()
    second = Lab(tmp_path / "two")
    assert [second.client(f"pc{number}").login().ipv4 for number in range(20)] == before
    assert len(set(before)) == 20
    first.directory.close()
    second.directory.close()
