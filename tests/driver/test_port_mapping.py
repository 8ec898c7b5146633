"""The I/O of port mapping against a router on loopback: real sockets, real HTTP, and routers that misbehave."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.driver.loop import Loop
from tests.traversal.port_mapping.router import EXTERNAL, PORT, Router
from userlan.driver import port_mapping
from userlan.driver.port_mapping import PortMapping
from userlan.traversal.port_mapping.mapper import NOTHING, Mapped
from userlan.traversal.port_mapping.methods import HttpRequest
from userlan.wire.endpoint import TCP, UDP, Endpoint

GATEWAY, OWN = "127.77.0.1", "127.77.0.2"
BOTH = (Endpoint(UDP, EXTERNAL, PORT), Endpoint(TCP, EXTERNAL, PORT))


class Answering(DatagramProtocol):
    """The router's UDP ports."""

    def __init__(self, scene: Scene, port: int) -> None:
        self._scene = scene
        self._port = port

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = self._scene.router.datagram(datagram, self._port, self._scene.loop.reactor.seconds())
        transport: Any = self.transport
        if answer is not None:
            transport.write(answer, addr)


class Pages(Resource):
    """The router's HTTP."""

    isLeaf = True

    def __init__(self, router: Router) -> None:
        make: Any = super().__init__
        make()
        self._router = router

    def render(self, request: Any) -> bytes:
        headers = {"SOAPAction": (request.getHeader("soapaction") or "")}
        body = request.content.read() if request.method == b"POST" else None
        status, answer = self._router.http(HttpRequest(0, request.uri.decode(), headers, body))
        request.setResponseCode(status)
        return answer


class Scene:
    """A computer and its router, of which the test decides what it speaks."""

    def __init__(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = loop
        self.router = Router(address=GATEWAY, started=loop.reactor.seconds() - 1000)
        self.ports: list[Any] = [loop.reactor.listenUDP(port, Answering(self, port), interface=GATEWAY) for port in (5351, 1900)]
        self.changes: list[Mapped] = []
        self.surroundings: tuple[str | None, str] = (GATEWAY, OWN)
        monkeypatch.setattr(port_mapping, "_surroundings", lambda version: self.surroundings)
        self.mapping = PortMapping(loop.reactor, os.urandom, PORT, self.changes.append)

    def serve(self, factory: Any) -> None:
        listening = self.loop.reactor.listenTCP(0, factory, interface=GATEWAY)
        self.router.http_port = listening.getHost().port
        self.ports.append(listening)

    def pages(self) -> None:
        make: Any = Site
        self.serve(make(Pages(self.router)))

    def close(self) -> None:
        self.loop.result(self.mapping.stop())
        self.loop.result(self.mapping.stop())
        for port in self.ports:
            self.loop.result(port.stopListening())
        self.loop.run(0.05)


@pytest.fixture
def scene(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(loop, monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize("method", ["pcp", "nat-pmp", "upnp"])
def test_each_method_by_real_sockets(scene: Scene, method: str) -> None:
    scene.router.speaks = frozenset({method})
    scene.pages()
    scene.mapping.look([OWN])
    scene.loop.until(lambda: scene.changes)
    assert scene.changes == [(method, BOTH)]
    scene.loop.result(scene.mapping.stop())
    scene.loop.run(0.05)
    assert scene.router.mapped == {}, "given back before the end"
    scene.mapping.look([OWN])
    assert len(scene.changes) == 1


def test_where_the_gateways_network_is_not_listened_at_nothing_is_asked(scene: Scene) -> None:
    scene.mapping.look(["192.0.2.9"])
    scene.loop.run(0.1)
    assert scene.router.heard == []


def test_the_network_goes_and_comes_back(scene: Scene) -> None:
    scene.mapping.look([OWN])
    scene.loop.until(lambda: scene.changes)
    scene.surroundings = (None, "")
    scene.mapping.look([OWN])
    assert scene.changes[-1] == NOTHING
    scene.surroundings = (GATEWAY, OWN)
    scene.mapping.look([OWN])
    scene.loop.until(lambda: len(scene.changes) == 3)
    assert scene.changes[-1].method == "pcp"
    scene.mapping.look([OWN])
    assert len(scene.changes) == 3


def test_an_address_that_cannot_be_bound_costs_nothing(scene: Scene) -> None:
    scene.surroundings = (GATEWAY, "192.0.2.77")
    scene.mapping.look(["192.0.2.77"])
    assert scene.mapping.counters == {"socket-failed": 1}
    assert scene.mapping.mapper.outgoing() == []


class Stranger(Protocol):
    """Answers a request with what the test wants."""

    answer = b""
    closes = True

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(self.answer)
        if self.closes:
            transport.loseConnection()


class Endless(Stranger):
    """Never stops sending a body."""

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        transport: Any = self.transport
        transport.write(bytes(65536))

    def stopProducing(self) -> None:
        """The connection ends."""


class Silent(Stranger):
    closes = False


class Rubbish(Stranger):
    answer = b"\0\1\2 not HTTP at all \r\n\r\n"


class Elsewhere(Stranger):
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.9/\r\nContent-Length: 0\r\n\r\n"


class Short(Stranger):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<root>"


@pytest.mark.parametrize("kind", [Endless, Silent, Rubbish, Elsewhere, Short])
def test_a_router_with_broken_http_is_given_up(scene: Scene, monkeypatch: pytest.MonkeyPatch, kind: type[Stranger]) -> None:
    monkeypatch.setattr(port_mapping, "HTTP_TIMEOUT", 0.3)
    scene.router.speaks = frozenset({"upnp"})
    factory: Any = Factory.forProtocol(kind)
    scene.serve(factory)
    scene.mapping.look([OWN])
    upnp = scene.mapping.mapper._methods[2]
    scene.loop.until(lambda: upnp.available is False)
    assert scene.changes == []


def test_a_router_that_does_not_listen_is_given_up(scene: Scene) -> None:
    scene.router.speaks = frozenset({"upnp"})
    with socket.socket() as probe:
        probe.bind((GATEWAY, 0))
        scene.router.http_port = probe.getsockname()[1]
    scene.mapping.look([OWN])
    upnp = scene.mapping.mapper._methods[2]
    scene.loop.until(lambda: upnp.available is False)
    assert scene.mapping.counters["http-failed"] == 1


def mapped_and_silent(scene: Scene) -> None:
    """A router has mapped by UPnP, and answers no more from now on."""
    scene.router.speaks = frozenset({"upnp"})
    scene.pages()
    scene.mapping.look([OWN])
    scene.loop.until(lambda: scene.changes)
    scene.loop.result(scene.ports.pop().stopListening())
    factory: Any = Factory.forProtocol(Silent)
    scene.ports.append(scene.loop.reactor.listenTCP(scene.router.http_port, factory, interface=GATEWAY))


def test_the_end_does_not_wait_for_a_router_for_long(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_mapping, "FAREWELL", 0.2)
    mapped_and_silent(scene)
    scene.loop.result(scene.mapping.stop())


def test_a_router_that_goes_on_announcing_does_not_put_the_end_off(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_mapping, "FAREWELL", 0.2)
    monkeypatch.setattr(port_mapping, "HTTP_TIMEOUT", 3600.0)
    mapped_and_silent(scene)
    stopped = scene.mapping.stop()
    scene.mapping._received(b"", GATEWAY, 5351)
    scene.loop.result(stopped)
