"""Forwards and exposed services on demand: over the real LAN, between real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bridges import on_demand, on_demand_ways
from bridges.expose import aliases_bindable
from bridges.on_demand import FIRST_USER_PORT, OnDemand, OnDemandError
from tests.bridges.conftest import until
from tests.bridges.harness import WAIT, Listener, Loop, dial, read_exactly, refused, reset_at_once
from tests.bridges.stacked import StackedPair
from userlan.driver.interfaces import interfaces, local_addresses
from userlan.driver.lan import PeerInfo

ALIAS = aliases_bindable()


class Scene:
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.pair: StackedPair = loop.call(StackedPair, loop.reactor)
        self.me = OnDemand.of(self.pair.lans["me"])
        self.nas = OnDemand.of(self.pair.lans["nas"])
        for table in (self.me, self.nas):
            table.join(self)
        self.peer = self.member("me", "nas")

    def member(self, of: str, name: str) -> PeerInfo:
        return next(peer for peer in self.pair.lans[of].members() if peer.name == name)

    def stop(self) -> None:
        self.loop.call(self.me.leave, self)
        self.loop.call(self.nas.leave, self)
        self.loop.call(self.pair.stop)

    def expose(self, host: str, port: int, protocol: str = "tcp", holder: object = "holder", admitted: bool = True, **more: Any) -> int:
        exposed: int = self.loop.call(lambda: self.nas.expose(host, port, protocol, lambda peer: admitted, holder, **more))
        return exposed

    def forward(self, port: int, protocol: str = "tcp", holder: object = "holder", **more: Any) -> tuple[str, int]:
        local: tuple[str, int] = self.loop.call(lambda: self.me.forward(self.peer, port, protocol, holder, **more))
        return local

    def listing(self, table: OnDemand) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.loop.call(table.listing)
        return listed


@pytest.fixture
def scene(loop: Loop) -> Iterator[Scene]:
    made = Scene(loop)
    yield made
    made.stop()


def udp(address: str = "127.0.0.1", port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((address, port))
    made.settimeout(WAIT)
    return made


def test_all_bridges_of_a_node_have_one_table(scene: Scene) -> None:
    assert OnDemand.of(scene.pair.lans["me"]) is scene.me is not scene.nas


def test_a_stream_passes_and_is_seen_under_the_alias(scene: Scene) -> None:
    with Listener("127.0.0.1") as service:
        port = scene.expose("127.0.0.1", service.port)
        local = scene.forward(port)
        assert port == service.port
        with dial(local) as client, service.accept() as server:
            client.sendall(b"question")
            assert read_exactly(server, 8) == b"question"
            server.sendall(b"answer")
            assert read_exactly(client, 6) == b"answer"
            if ALIAS:
                assert server.getpeername()[0] == "127.9.0.1"
                assert local[0] == "127.9.0.2"


def test_datagrams_pass_both_ways(scene: Scene) -> None:
    with udp() as service, udp() as client:
        port = scene.expose("127.0.0.1", service.getsockname()[1], "udp")
        local = scene.forward(port, "udp")
        client.sendto(b"question", local)
        data, sender = service.recvfrom(100)
        assert data == b"question"
        if ALIAS:
            assert sender[0] == "127.9.0.1"
        service.sendto(b"answer", sender)
        assert client.recvfrom(100) == (b"answer", local)


def test_asking_again_gives_the_same(scene: Scene) -> None:
    first = scene.forward(4000, holder="one")
    assert scene.forward(4000, holder="two") == first
    assert len(scene.listing(scene.me)) == 1
    assert scene.me.leads_to(*first, "tcp") == (scene.peer, 4000)
    assert scene.me.leads_to(*first, "udp") is None


def test_another_number_where_the_same_is_taken(scene: Scene) -> None:
    host = "127.9.0.2" if ALIAS else "127.0.0.1"
    with Listener(host) as taken, Listener("127.0.0.1") as service:
        local = scene.forward(taken.port)
        assert local[0] == host
        assert local[1] != taken.port
        ports = {scene.expose("127.0.0.1", service.port), scene.expose("127.0.0.1", service.port, holder="again")}
        other = scene.loop.call(lambda: scene.nas.expose("127.0.0.2", service.port, "tcp", lambda peer: True, "holder"))
        assert ports == {service.port}
        assert other != service.port


def test_who_is_not_admitted_is_reset_and_datagrams_of_such_are_dropped(scene: Scene) -> None:
    with Listener("127.0.0.1") as service, udp() as game, udp() as client:
        assert reset_at_once(scene.forward(scene.expose("127.0.0.1", service.port, admitted=False)))
        port = scene.expose("127.0.0.1", game.getsockname()[1], "udp", admitted=False)
        client.sendto(b"question", scene.forward(port, "udp"))
        game.settimeout(0.2)
        with pytest.raises(TimeoutError):
            game.recvfrom(100)


def test_a_released_service_takes_nobody_new_and_keeps_its_streams(scene: Scene) -> None:
    with Listener("127.0.0.1") as service:
        local = scene.forward(scene.expose("127.0.0.1", service.port))
        with dial(local) as client, service.accept() as server:
            scene.loop.call(scene.nas.release, "holder")
            assert scene.listing(scene.nas) == []
            assert reset_at_once(local)
            client.sendall(b"still")
            assert read_exactly(server, 5) == b"still"


def test_a_service_with_two_holders_stays_with_the_second(scene: Scene) -> None:
    with Listener("127.0.0.1") as service:
        port = scene.expose("127.0.0.1", service.port, holder="one", admitted=False)
        scene.expose("127.0.0.1", service.port, holder="two")
        scene.loop.call(scene.nas.release, "one")
        with dial(scene.forward(port)), service.accept():
            pass


def test_what_is_held_for_a_while_lapses(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "SWEEP_INTERVAL", 0.05)
    monkeypatch.setattr(on_demand, "LINGER", 0.2)
    scene.expose("127.0.0.1", 4001, idle=0.2, why="announced")
    local = scene.forward(4001, idle=0.2)
    held = scene.forward(4002)
    assert [one["why"] for one in scene.listing(scene.nas)] == [["announced"]]
    until(lambda: not scene.listing(scene.nas), scene.loop)
    until(lambda: [one["port"] for one in scene.listing(scene.me)] == [4002], scene.loop)
    with pytest.raises(ConnectionRefusedError):
        dial(local)
    assert scene.forward(4002) == held


def test_a_forward_in_use_outlives_its_holder(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "SWEEP_INTERVAL", 0.05)
    monkeypatch.setattr(on_demand, "LINGER", 0.1)
    with Listener("127.0.0.1") as service:
        local = scene.forward(scene.expose("127.0.0.1", service.port))
        with dial(local) as client, service.accept() as server:
            scene.loop.call(scene.me.release, "holder")
            short = scene.forward(4003, idle=0.1)
            until(lambda: all(one["port"] != 4003 for one in scene.listing(scene.me)), scene.loop)
            assert short != local
            client.sendall(b"still")
            assert read_exactly(server, 5) == b"still"
        until(lambda: not scene.listing(scene.me), scene.loop)


def test_the_tables_are_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "MAX_OF_PEER", 3)
    monkeypatch.setattr(on_demand, "MAX_EXPOSURES", 2)
    scene.forward(1001, idle=60.0)
    for port in (1002, 1003, 1004):
        scene.forward(port)
    assert {one["port"] for one in scene.listing(scene.me)} == {1002, 1003, 1004}
    with pytest.raises(OnDemandError, match="3 forwards to nas"):
        scene.forward(1005)
    scene.expose("127.0.0.1", 1001)
    scene.expose("127.0.0.1", 1002)
    with pytest.raises(OnDemandError, match="2 services"):
        scene.expose("127.0.0.1", 1003)


class Shout:
    """A filter that is seen, and that holds a little back."""

    def __init__(self) -> None:
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        if b"!" in data:
            raise ValueError("not here")
        self.held, data = data[-1:], self.held + data[:-1]
        return data.upper()

    def end(self) -> bytes:
        return self.held + b"."


def test_streams_are_rewritten(scene: Scene) -> None:
    seen: list[str] = []

    def rewrite(peer: PeerInfo) -> tuple[Shout, Shout]:
        seen.append(peer.name)
        return Shout(), Shout()

    with Listener("127.0.0.1") as service:
        local = scene.forward(scene.expose("127.0.0.1", service.port, rewrite=rewrite))
        with dial(local) as client, service.accept() as server:
            client.sendall(b"hello")
            assert read_exactly(server, 4) == b"HELL"
            client.shutdown(socket.SHUT_WR)
            assert read_exactly(server, 9) == b"o."
            server.sendall(b"there")
            server.shutdown(socket.SHUT_WR)
            assert read_exactly(client, 9) == b"THERe."
        plain = scene.forward(service.port, holder="other", rewrite=rewrite)
        assert plain != local
        with dial(plain) as client, service.accept() as server:
            client.sendall(b"!")
            assert refused(server)
    assert seen == ["me", "nas", "me"]


def test_the_last_user_to_leave_closes_everything(loop: Loop) -> None:
    pair: StackedPair = loop.call(StackedPair, loop.reactor)
    table = OnDemand.of(pair.lans["me"])
    peer = pair.lans["me"].members()[0]
    table.join("first")
    table.join("second")
    local = loop.call(lambda: table.forward(peer, 4000, "tcp", "holder"))
    loop.call(table.leave, "first")
    dial(local).close()
    loop.call(table.leave, "second")
    with pytest.raises(ConnectionRefusedError):
        dial(local)
    loop.call(pair.stop)


def test_interfaces_have_no_loopback_address_and_all_others() -> None:
    found = interfaces()
    addresses = [one.ip for interface in found for one in interface.ipv4]
    addresses6 = [one.ip for interface in found for one in interface.ipv6]
    listed = {str(one) for one in addresses if not one.is_link_local} | {str(one) for one in addresses6 if not one.is_link_local}
    assert listed == set(local_addresses())
    assert all(interface.index > 0 for interface in found)


def test_a_member_takes_no_port_of_the_systems_own_services(scene: Scene) -> None:
    """Also where the node might: a server on all addresses could not start beside it. Who asks for the number has it where it may."""
    assert scene.forward(22)[1] >= FIRST_USER_PORT
    asked = scene.forward(23, number=23)[1]
    with socket.socket() as probe:
        try:
            probe.bind((scene.peer.loopback_alias if ALIAS else "0.0.0.0", 24))
        except PermissionError:
            assert asked != 23
        else:
            assert asked == 23 or not ALIAS


def test_streams_that_are_rewritten_are_fewer(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can hold a text for each is not had four thousand times by one peer."""
    monkeypatch.setattr(on_demand_ways, "MAX_FILTERED", 2)
    with Listener("127.0.0.1") as service:
        port = scene.expose("127.0.0.1", service.port, rewrite=lambda peer: (Shout(), Shout()))
        local = scene.forward(port)
        clients = [dial(local) for _ in range(2)]
        servers = [service.accept() for _ in range(2)]
        assert reset_at_once(local)
        for one in (*clients, *servers):
            one.close()
