"""A relay's session: no account, no address, no network; it serves, and members hear of it."""

from __future__ import annotations

from pathlib import Path

from tests.mediator.harness import Client, Lab
from userlan.control import grants
from userlan.control.meeting import PoolKey, RelayDelays, RelayPool, Serve, ServerEndpoint
from userlan.control.messages import Create, Done, Hello, Meet, NetworkState, Refused, Welcome
from userlan.control.refusals import FULL, OUT_OF_ORDER
from userlan.lan.secrets import NetworkSecret
from userlan.tunnel.handshake import Identity


def joined(lab: Lab, name: str = "relay", **options: object) -> Client:
    """A relay that has joined the pool and serves."""
    client = lab.client(name, **options)  # type: ignore[arg-type]
    client.greet = False
    client.connect()
    lab.world.run_until(lambda: client.connected)
    client.send(Hello(1, name, kind="relay"))
    client.expect(Welcome)
    client.send(Serve((ServerEndpoint("0.0.0.0", 41414),)))
    return client


def member(lab: Lab) -> Client:
    """A node in a network of its own."""
    node = lab.login("anna")
    assert isinstance(node.create("home", NetworkSecret.generate(lab.world.entropy())), Done)
    return node


def test_a_relay_is_told_the_key_of_its_grants_and_the_same_after_the_mediator_restarted(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    relay = joined(lab)
    key = relay.expect(PoolKey).key
    assert key == grants.pool_key(grants.secret_from(lab.private_key), relay.key)
    lab.kill()
    lab.start()
    again = joined(lab, private_key=relay.private_key)
    assert again.expect(PoolKey).key == key


def test_it_gets_no_address_and_is_in_nobodys_network(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    relay = lab.client("relay")
    relay.greet = False
    relay.connect()
    lab.world.run_until(lambda: relay.connected)
    relay.send(Hello(1, "relay", kind="relay"))
    welcome = relay.expect(Welcome)
    assert (welcome.ipv4, welcome.networks) == (bytes(4), ())
    relay.send(Create(1, "mine", bytes(32), bytes(32), bytes(16)))
    assert relay.expect(Refused).code == OUT_OF_ORDER
    assert lab.directory.network("mine") is None


def test_members_hear_of_the_pool_when_they_greet_and_when_it_changes(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    anna = member(lab)
    relay = joined(lab)
    pool = anna.expect(RelayPool)
    assert [(info.key, info.name) for info in pool.relays] == [(relay.key, "relay")]
    assert {one.host for one in pool.relays[0].endpoints} == {relay.attachment.addresses[0]}
    ben = lab.login("ben")
    assert ben.expect(RelayPool) == pool
    relay.bye()
    assert anna.expect(RelayPool).relays == ()


def test_a_relay_that_fell_silent_is_out_of_the_pool(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    anna = member(lab)
    relay = joined(lab)
    anna.expect(RelayPool)
    relay.leave_quietly()
    assert anna.expect(RelayPool, 60.0).relays == ()


def test_only_the_relays_that_the_owner_named_get_in(tmp_path: Path) -> None:
    private_key = bytes(range(32))
    lab = Lab(tmp_path, relay_keys=(Identity(private_key).public,))
    stranger = lab.client("stranger")
    stranger.greet = False
    stranger.connect()
    lab.world.run_until(lambda: stranger.connected)
    stranger.send(Hello(1, "stranger", kind="relay"))
    assert stranger.expect(Refused).code == FULL
    assert joined(lab, "known", private_key=private_key).expect(PoolKey)


def test_a_member_is_no_relay_at_the_same_time_and_a_stranger_serves_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    anna = member(lab)
    anna.send(Serve((ServerEndpoint("0.0.0.0", 41414),)))
    anna.send(Hello(1, "anna", kind="relay"))
    assert anna.expect(Refused)
    lab.run(3.0)
    assert anna.all(RelayPool) == []


def test_nobody_meets_a_relay(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    anna = member(lab)
    relay = joined(lab)
    anna.take(NetworkState)
    anna.send(Meet(relay.key))
    assert anna.expect(Refused).text.startswith("no such peer")


def test_a_relay_sends_no_delays_and_a_nodes_are_kept_while_it_is_there(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    anna, relay = member(lab), joined(lab)
    relay.send(RelayDelays({relay.key: 0.1}))
    assert relay.expect(Refused).code == OUT_OF_ORDER
    anna.send(RelayDelays({}))
    lab.run(1.0)
    assert not anna.ended
