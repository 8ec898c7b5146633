"""Exposed services: who reaches them, under which address, and what happens when they are down."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from bridges.expose import SERVICE_TIMEOUT, ExposeBridge, ExposeOptions, aliases_bindable
from bridges.rules import ExposeRule
from bridges.udp_expose import UdpExpose
from tests.bridges.conftest import until
from tests.bridges.harness import (
    LAPTOP,
    NAS,
    OWN,
    WAIT,
    Listener,
    Loop,
    MemoryStore,
    read_all,
    real,
    refused,
)
from tests.bridges.test_forward import Running
from tests.bridges.test_udp_associate import nothing_comes, udp
from userlan.driver.bridge import CommandError

needs_aliases = pytest.mark.skipif(not aliases_bindable(), reason="only some systems bind all of 127.0.0.0/8")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def start(loop: Loop, lan: Any, store: MemoryStore) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def make(*entries: ExposeRule) -> Running:
        kept: Any = store
        running.append(Running(loop, ExposeBridge(lan, ExposeOptions(entries), kept)))
        return running[-1]

    yield make
    for one in running:
        one.stop()


@pytest.fixture
def service() -> Iterator[Listener]:
    with Listener("127.0.0.1") as listening:
        yield listening


def free_port() -> int:
    with Listener(real(OWN)) as listening:
        return listening.port


def from_peer(peer: str, port: int) -> socket.socket:
    """A peer's connection to a port of this node."""
    client = socket.socket()
    client.bind((real(peer), 0))
    client.settimeout(WAIT)
    try:
        client.connect((real(OWN), port))
    except BaseException:
        client.close()
        raise
    return client


def turned_away(peer: str, port: int) -> bool:
    try:
        with from_peer(peer, port) as client:
            return refused(client)
    except ConnectionResetError:
        return True


@needs_aliases
def test_a_service_sees_each_peer_under_an_address_of_its_own(start: Callable[..., Running], service: Listener) -> None:
    run = start()
    port = free_port()
    told = run("expose", service=str(service.port), port=port, name="web")
    assert told["text"] == f"port {port} → 127.0.0.1:{service.port} (web)"
    for peer in (NAS, LAPTOP):
        with from_peer(peer, port) as client:
            accepted, (host, _) = service.socket.accept()
            with accepted:
                assert host == real(peer)
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                assert read_all(accepted) == b"question"
                accepted.sendall(b"answer")
                accepted.shutdown(socket.SHUT_WR)
                assert read_all(client) == b"answer"


def test_without_aliases_the_address_is_plain(start: Callable[..., Running], service: Listener) -> None:
    run = start()
    run.bridge.aliases = False
    port = free_port()
    run("expose", service=str(service.port), port=port, name=None)
    with from_peer(NAS, port):
        accepted, (host, _) = service.socket.accept()
        accepted.close()
    assert host == "127.0.0.1"


def test_nothing_is_reachable_until_it_is_exposed(start: Callable[..., Running], service: Listener) -> None:
    start()
    with pytest.raises(ConnectionRefusedError):
        from_peer(NAS, service.port)


def test_a_service_that_is_down_looks_refused(start: Callable[..., Running]) -> None:
    with Listener("127.0.0.1") as gone:
        port = gone.port
    run = start()
    lan_port = free_port()
    run("expose", service=str(port), port=lan_port)
    began = time.monotonic()
    assert turned_away(NAS, lan_port)
    assert time.monotonic() - began < SERVICE_TIMEOUT
    told = run("exposes")[0]
    assert f"127.0.0.1:{port} refused the connection" in told["error"]


def test_a_service_on_the_ipv6_loopback_alone(start: Callable[..., Running]) -> None:
    with Listener("::1") as service:
        run = start()
        port = free_port()
        run("expose", service=f"localhost:{service.port}", port=port)
        with from_peer(NAS, port) as client, service.accept() as accepted:
            accepted.sendall(b"six")
            assert client.recv(3) == b"six"
        other = free_port()
        run("expose", service=f"[::1]:{service.port}", port=other)
        with from_peer(NAS, other), service.accept():
            pass


def test_strangers_are_turned_away(start: Callable[..., Running], service: Listener) -> None:
    run = start()
    port = free_port()
    run("expose", service=str(service.port), port=port)
    assert turned_away("25.9.0.77", port)


@pytest.mark.parametrize(
    ("allow", "nas", "laptop"),
    [
        (("nas",), True, False),
        (("nas.home",), True, False),
        (("nas.work",), False, False),
        (("nobody",), False, False),
        (("*.home",), True, False),
        (("*.work",), False, True),
        (("*.home", "laptop"), True, True),
        (("key-of-laptop",), False, True),
    ],
)
def test_only_those_allowed(
    start: Callable[..., Running], lan: Any, service: Listener, allow: tuple[str, ...], nas: bool, laptop: bool
) -> None:
    run = start()
    port = free_port()
    run("expose", service=str(service.port), port=port, allow=allow)
    for peer, allowed in ((NAS, nas), (LAPTOP, laptop)):
        if allowed:
            with from_peer(peer, port), service.accept():
                pass
        else:
            assert turned_away(peer, port)
        told: Any = run.bridge.diagnosis(lan.peer_at(peer))
        assert (told[0]["admits"], told[0]["service_port"]) == (allowed, service.port)


def test_commands_and_what_is_kept(start: Callable[..., Running], service: Listener, store: MemoryStore) -> None:
    run = start()
    port = free_port()
    run("expose", service=str(service.port), port=port, name="web", allow=["nas"])
    with pytest.raises(CommandError, match=f"port {port} of the LAN leads to .* already"):
        run("expose", service="9", port=port)
    with pytest.raises(CommandError, match=r"is not \[HOST:\]PORT"):
        run("expose", service="http")
    with pytest.raises(CommandError, match="wrong arguments"):
        run("expose", service=8000)
    run.stop()
    again = start()
    told = again("exposes")
    assert told == again.bridge.status()
    assert (told[0]["name"], told[0]["port"], told[0]["allow"], told[0]["configured"]) == ("web", port, ["nas"], False)
    with from_peer(NAS, port) as client, service.accept() as accepted:
        client.sendall(b"x")
        accepted.recv(1)
        assert again("unexpose", service="web")["text"] == f"port {port} is not exposed any more"
        assert refused(client)
        assert refused(accepted)
    assert store.value == []
    with pytest.raises(ConnectionRefusedError):
        from_peer(NAS, port)
    with pytest.raises(CommandError, match="'web' is not exposed"):
        again("unexpose", service="web")


def test_a_lan_port_in_use(start: Callable[..., Running], service: Listener) -> None:
    run = start()
    with Listener(real(OWN)) as taken, udp(real(OWN)) as taken_udp:
        with pytest.raises(CommandError, match=f"port {taken.port} of the LAN is in use: choose another one with --as"):
            run("expose", service=str(service.port), port=taken.port)
        port = taken_udp.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port}/udp of the LAN is in use"):
            run("expose", service=f"{service.port}/udp", port=port)
    assert run("exposes") == []


BUILT_IN = [
    ("tcp", 41414, "their networks"), ("udp", 41414, "their networks"), ("tcp", 41415, "chat"), ("tcp", 41416, "files"),
    ("tcp", 41417, "shared folders"),
]


@pytest.mark.parametrize(("protocol", "port", "what"), BUILT_IN)
def test_the_ports_of_the_node_itself_are_not_exposed(
    start: Callable[..., Running], store: MemoryStore, service: Listener, protocol: str, port: int, what: str
) -> None:
    """They are the node's, whether or not something listens there at the moment: it starts, and says which is left out."""
    written = f"port {port}{'/udp' if protocol == 'udp' else ''} of the LAN is the node's own, for .*{what}"
    run = start()
    with pytest.raises(CommandError, match=f"^{written}: choose another one with --as$"):
        run("expose", service=f"{service.port}/{protocol}", port=port)
    with pytest.raises(CommandError, match=written):
        run("expose", service=f"{port}/{protocol}")
    assert (run("exposes"), store.value) == ([], None)
    run.stop()
    kept = free_port()
    store.value = [{"service": f"{service.port}/{protocol}", "as": port}, {"service": str(service.port), "as": kept}]
    again = start(ExposeRule(f"9/{protocol}", port))
    told = again("exposes")
    assert [(one["port"], one["state"]) for one in told] == [(port, "failed"), (port, "failed"), (kept, "listening")]
    assert re.match(f"{written}$", told[0]["error"])
    again.stop()
    last = start()
    last("unexpose", service=f"{port}/{protocol}")
    assert [one["port"] for one in last("exposes")] == [kept]


def test_those_of_the_configuration_belong_to_it(start: Callable[..., Running], service: Listener) -> None:
    port = free_port()
    with Listener(real(OWN)) as taken:
        run = start(ExposeRule(str(service.port), port), ExposeRule("9", taken.port))
        assert [one["state"] for one in run("exposes")] == ["listening", "failed"]
        with pytest.raises(CommandError, match="comes from the configuration"):
            run("unexpose", service=str(port))
    with from_peer(NAS, port), service.accept():
        pass


def test_who_observes_it_observes_the_one_in_its_place(lan: Any, start: Callable[..., Running], service: Listener) -> None:
    """A section that changed makes another bridge; the others (mdns) are told of what that one exposes, for as long as they want."""
    first, told = start(), []
    end = first.bridge.observe(lambda: told.append("changed"))
    first.stop()
    second = start()
    assert ExposeBridge.of(lan) is second.bridge
    before = len(told)
    port = free_port()
    second("expose", service=str(service.port), port=port)
    assert len(told) == before + 1
    end()
    second("unexpose", service=str(port))
    assert len(told) == before + 1


def test_a_damaged_store_does_no_harm(start: Callable[..., Running], store: MemoryStore) -> None:
    for value in ({"x": 1}, [1, None, {"service": "x"}, {"service": "8000", "as": -1}], "text"):
        store.value = value
        assert start()("exposes") == []


# --- datagrams --------------------------------------------------------------------------------------------------------


@needs_aliases
def test_datagrams(start: Callable[..., Running]) -> None:
    run = start()
    with udp("127.0.0.1") as service, udp(real(NAS)) as nas, udp(real(LAPTOP)) as laptop:
        with udp(real(OWN)) as probe:
            port = probe.getsockname()[1]
        told = run("expose", service=f"{service.getsockname()[1]}/udp", port=port)
        assert f"port {port}/udp" in told["text"]
        for peer, bound in ((NAS, nas), (LAPTOP, laptop)):
            bound.sendto(b"from " + peer.encode(), (real(OWN), port))
            data, source = service.recvfrom(65535)
            assert data == b"from " + peer.encode()
            assert source[0] == real(peer)
            service.sendto(b"to " + peer.encode(), source)
            answer, back = bound.recvfrom(65535)
            assert answer == b"to " + peer.encode()
            assert back == (real(OWN), port)
        assert run("exposes")[0]["streams"] == 2
        big = bytes(60000)
        nas.sendto(big, (real(OWN), port))
        assert service.recv(65535) == big
        with udp("127.9.0.77") as stranger:
            stranger.sendto(b"x", (real(OWN), port))
            assert nothing_comes(service)


def test_flows_to_a_service_that_is_down_end(loop: Loop, lan: Any) -> None:
    with udp("127.0.0.1") as gone:
        service = gone.getsockname()[1]
    exposed = UdpExpose(lan, lan.peer_at, "127.0.0.1", service, aliases_bindable())
    port = loop.call(exposed.open, 0)

    def ended(flows: int) -> bool:
        return exposed.counters["refused"] == flows and len(exposed) == 0

    with udp(real(NAS)) as nas:
        for number in (1, 2, 3):
            nas.sendto(b"x", (real(OWN), port.getHost().port))
            until(partial(ended, number), loop)
    loop.call(exposed.close)


def test_flows_are_bounded_and_end(loop: Loop, lan: Any) -> None:
    with udp("127.0.0.1") as service:
        exposed = UdpExpose(lan, lan.peer_at, "127.0.0.1", service.getsockname()[1], aliases_bindable(), capacity=2)
        port = loop.call(exposed.open, 0)
        for _ in range(3):
            with udp(real(NAS)) as nas:
                nas.sendto(b"x", (real(OWN), port.getHost().port))
                service.recv(10)
        assert loop.call(lambda: len(exposed)) == 2
        assert exposed.counters["flows-full"] == 1
        loop.call(exposed.close)
        short = UdpExpose(lan, lan.peer_at, "127.0.0.1", service.getsockname()[1], aliases_bindable(), idle=0.2)
        port = loop.call(short.open, 0)
        with udp(real(NAS)) as nas:
            nas.sendto(b"x", (real(OWN), port.getHost().port))
            assert service.recv(10) == b"x"
        until(lambda: len(short) == 0, loop)
        loop.call(short.close)
