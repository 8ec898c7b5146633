"""A pair through what happens to its paths: relay first, the move to the direct one, and what is dead, moved or rebooted in mid-transfer.

Real nodes, a real mediator, real relays and NAT boxes in virtual time; interruptions are measured in milliseconds, at the stream of a
TCP connection, the stack's own recovery included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.lan import PORT, Sink
from tests.relay.lan import RelayedLan
from tests.sim.link import LinkProfile
from tests.sim.nat import Nat
from tests.sim.nat_behaviour import HOME_ROUTER, RANDOM_PORT_CONE, NatBehaviour
from userlan.node.node import Node
from userlan.node.paths import DOUBTED_FOR
from userlan.node.peers import UPGRADE_INTERVAL
from userlan.node.status import snapshot
from userlan.wire.endpoint import RELAY, TCP, UDP, Endpoint

ANNA, BEN = "198.51.100.1", "198.51.100.2"
DIRECT = frozenset((ANNA, BEN))
"""The direct path, at the Internet's middle."""
STEP = 0.01
"""Seconds: how finely an interruption is measured."""
CHUNK = 2_510
"""Octets that a program writes in each of them: 2 Mbit/s."""


class Pair:
    """Anna and ben behind a home router each, 20 ms from the Internet, and two relays."""

    def __init__(self, folder: Path, behaviour: NatBehaviour = HOME_ROUTER, relays: int = 2, severed: bool = False) -> None:
        self.lan = RelayedLan(folder, behaviour=behaviour)
        self.world = self.lan.world
        for number in range(relays):
            self.lan.relay(f"relay{number}", f"203.0.113.{number + 1}", 0.01 + 0.02 * number)
        self.world.run(2.0)
        self.anna, self.ben = self.lan.member("anna", 1), self.lan.member("ben", 2)
        self.lan.ready(self.anna, self.ben)
        self.world.run(3.0)
        if severed:
            self.sever()
        self.secret = self.lan.network(self.anna, self.ben)

    def sever(self) -> None:
        """Nothing passes directly any more."""
        self.lan.internet.severed.add(DIRECT)

    def heal(self) -> None:
        self.lan.internet.severed.clear()

    def until(self, state: str, seconds: float = 20.0) -> float:
        """Until both see each other in a state; the seconds that it took."""
        began = self.world.now
        self.lan.until_state(self.anna, self.ben, state, seconds)
        self.lan.until_state(self.ben, self.anna, state, seconds)
        return self.world.now - began

    def way(self, node: Node) -> Endpoint:
        tunnel = node.device.peer((self.ben if node is self.anna else self.anna).key)
        assert tunnel is not None
        assert tunnel.endpoint is not None
        return tunnel.endpoint

    def state(self, node: Node) -> tuple[str, str]:
        return node.peers.shown((self.ben if node is self.anna else self.anna).key)

    def transfer(self) -> Transfer:
        """From anna to ben."""
        return Transfer(self)


class Transfer:
    """A TCP connection from anna to ben that is given octets all the time, and how long nothing of it arrived."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.sink = Sink(pair.lan, pair.ben, 80)
        self.connection = pair.anna.host.tcp_connect((pair.ben.ipv6, 80), pair.world.now)
        self.sent = bytearray()
        self._block = bytes(range(251)) * (CHUNK // 251)
        assert self.interruption(lambda: None, 2.0) < 250, "it flows"

    def interruption(self, happens: Callable[[], None], seconds: float = 5.0) -> float:
        """The longest time for which nothing arrived from then on, in milliseconds; all must have arrived a second after the end."""
        world, longest, last, count = self.pair.world, 0.0, self.pair.world.now, len(self.sink.data)
        happens()
        end = world.now + seconds
        while world.now < end:
            taken = self.connection.send(self._block, world.now)
            self.sent += self._block[:taken]
            world.run(STEP)
            if len(self.sink.data) > count:
                longest, last, count = max(longest, world.now - last), world.now, len(self.sink.data)
        longest = max(longest, world.now - last)
        return round(longest * 1000)

    def finish(self) -> None:
        """Everything has arrived, in order."""
        self.pair.world.run(2.0)
        assert self.sink.data == self.sent


class Stream:
    """Numbered datagrams, one each way every 10 ms; ``arrived`` counts each number at the far end."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.sockets = {node.key: node.host.udp_bind(9000) for node in (pair.anna, pair.ben)}
        self.sent = 0
        self.arrived: dict[bytes, Counter[int]] = {pair.anna.key: Counter(), pair.ben.key: Counter()}

    def run(self, until: Callable[[], bool], seconds: float) -> None:
        """Until a condition holds, and 0.5 s beyond."""
        end = self.pair.world.now + seconds
        while not until():
            assert self.pair.world.now < end
            self._step()
        for _ in range(50):
            self._step()
        self.pair.world.run(1.0)
        self._collect()

    def _step(self) -> None:
        now, anna, ben = self.pair.world.now, self.pair.anna, self.pair.ben
        for node, peer in ((anna, ben), (ben, anna)):
            assert self.sockets[node.key].send(self.sent.to_bytes(8, "big"), (peer.ipv6, 9000), now)
        self.sent += 1
        self.pair.world.run(0.01)
        self._collect()

    def _collect(self) -> None:
        for key, socket in self.sockets.items():
            while (received := socket.receive()) is not None:
                self.arrived[key][int.from_bytes(received.payload, "big")] += 1


# --- relay first, then direct


def test_the_tunnel_starts_by_a_relay_within_round_trips_of_the_introduction(tmp_path: Path) -> None:
    pair = Pair(tmp_path, severed=True)
    assert pair.until("relayed", 2.0) < 1.0
    pair.world.run(1.0)
    for node in (pair.anna, pair.ben):
        assert pair.state(node) == ("relayed", "relay")
        (peer,) = snapshot(node, pair.world.now)["peers"]
        assert (peer["state"], peer["path"]) == ("relayed", "relay")
        assert peer["rtt_ms"] == pytest.approx(120, abs=2)


def test_the_move_from_relay_to_direct_loses_no_packet_and_doubles_none(tmp_path: Path) -> None:
    pair = Pair(tmp_path, severed=True)
    pair.until("relayed")
    pair.world.run(UPGRADE_INTERVAL - 3.0)
    stream = Stream(pair)
    pair.heal()
    stream.run(lambda: pair.state(pair.anna)[0] == pair.state(pair.ben)[0] == "direct", 10)
    assert stream.sent > 50, "some went by the relay"
    for counted in stream.arrived.values():
        assert counted == Counter(dict.fromkeys(range(stream.sent), 1))
    assert pair.way(pair.anna).transport == pair.way(pair.ben).transport == UDP


def test_where_the_direct_path_is_there_the_relay_is_left_at_once(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    assert pair.until("direct", 5.0) < 1.0
    pair.world.run(5.0)
    kept = [path.endpoint for path in pair.anna.peers.links[pair.ben.key].paths.paths()]
    assert kept[0].transport == UDP
    assert any(endpoint.transport == RELAY for endpoint in kept), "the relay stays as a stand-by"


def test_a_pair_that_is_relayed_asks_for_better_every_minute(tmp_path: Path) -> None:
    pair = Pair(tmp_path, severed=True)
    pair.until("relayed")
    pair.world.run(10.0)
    began = pair.world.now
    pair.heal()
    pair.until("direct", UPGRADE_INTERVAL + 5)
    assert pair.world.now - began <= UPGRADE_INTERVAL + 2


# --- what is dead


def test_a_direct_path_that_dies_in_mid_transfer_is_left_for_the_relay(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.until("direct")
    pair.world.run(5.0)
    transfer = pair.transfer()
    interruption = transfer.interruption(pair.sever)
    transfer.finish()
    print(f"direct path dead: {interruption:.0f} ms")
    assert interruption < 3000
    assert pair.state(pair.anna) == pair.state(pair.ben) == ("relayed", "relay")


def test_and_comes_back_when_it_lives_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.until("direct")
    pair.world.run(5.0)
    pair.sever()
    stream = Stream(pair)
    stream.run(lambda: pair.state(pair.anna)[0] == pair.state(pair.ben)[0] == "relayed", DOUBTED_FOR / 2)
    lost = {key: stream.sent - len(counted) for key, counted in stream.arrived.items()}
    pair.heal()
    stream.run(lambda: pair.state(pair.anna) == pair.state(pair.ben) == ("direct", "udp"), DOUBTED_FOR / 2)
    for key, counted in stream.arrived.items():
        assert stream.sent - len(counted) == lost[key], "the way back costs no packet"
        assert set(counted.values()) == {1}
        assert lost[key] * 0.01 < 2.0


def test_a_dead_path_without_another_is_noticed_within_six_seconds_of_traffic(tmp_path: Path) -> None:
    pair = Pair(tmp_path, relays=0)
    pair.until("direct")
    pair.world.run(5.0)
    transfer = pair.transfer()
    pair.sever()
    began = pair.world.now
    while pair.state(pair.anna)[0] == "direct":
        transfer.interruption(lambda: None, STEP)
    print(f"noticed after {1000 * (pair.world.now - began):.0f} ms")
    assert pair.world.now - began < 6


def test_a_pair_that_is_idle_notices_too(tmp_path: Path) -> None:
    """By the echoes that take turns; then it is relayed."""
    pair = Pair(tmp_path)
    pair.until("direct")
    pair.world.run(30.0)
    pair.sever()
    assert pair.until("relayed", 30) < 14


def test_loss_alone_moves_nobody(tmp_path: Path) -> None:
    """Five per cent each way, for a minute of traffic: no change of path."""
    pair = Pair(tmp_path)
    pair.until("direct")
    pair.world.run(5.0)
    for attachment in pair.lan.attachments.values():
        attachment.up.profile = LinkProfile(delay=0.02, loss=0.05)
    stream = Stream(pair)
    seen: set[str] = set()

    def watch() -> bool:
        seen.update((pair.state(pair.anna)[0], pair.state(pair.ben)[0]))
        return stream.sent >= 2000

    stream.run(watch, 60)
    assert seen == {"direct"}


# --- NATs that reboot, addresses that change


@pytest.mark.parametrize("behaviour", [HOME_ROUTER, RANDOM_PORT_CONE], ids=["port kept", "another port"])
@pytest.mark.parametrize("side", ["anna", "ben"])
def test_a_nat_that_reboots_interrupts_a_transfer_for_less_than_three_seconds(tmp_path: Path, behaviour: NatBehaviour, side: str) -> None:
    pair = Pair(tmp_path, behaviour)
    pair.until("direct")
    pair.world.run(5.0)
    transfer = pair.transfer()
    interruption = transfer.interruption(pair.lan.boxes[side].reboot)
    transfer.finish()
    print(f"reboot of {side}'s box: {interruption:.0f} ms")
    assert interruption < 3000


@pytest.mark.parametrize("side", ["anna", "ben"])
def test_a_change_of_address_interrupts_a_transfer_for_less_than_three_seconds(tmp_path: Path, side: str) -> None:
    """From Wi-Fi to a mobile network, whose box is another one."""
    pair = Pair(tmp_path)
    pair.until("direct")
    pair.world.run(5.0)
    transfer = pair.transfer()
    node = pair.anna if side == "anna" else pair.ben
    mobile = Nat(pair.lan.internet, "198.51.100.77", behaviour=RANDOM_PORT_CONE)

    def moves() -> None:
        pair.lan.attachments[side].plug(mobile.inside, "10.9.8.7")
        node.set_local_endpoints([Endpoint(UDP, "10.9.8.7", PORT), Endpoint(TCP, "10.9.8.7", PORT)], pair.world.now)

    interruption = transfer.interruption(moves)
    transfer.finish()
    print(f"{side} moves: {interruption:.0f} ms")
    assert interruption < 3000


def test_everything_goes_on_with_all_mediators_dead_and_a_direct_path_dies_too(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.until("direct")
    pair.world.run(5.0)
    pair.lan.kill_mediator()
    transfer = pair.transfer()
    interruption = transfer.interruption(pair.sever)
    transfer.finish()
    print(f"without mediators: {interruption:.0f} ms")
    assert interruption < 3000
    assert pair.state(pair.anna)[0] == "relayed"
