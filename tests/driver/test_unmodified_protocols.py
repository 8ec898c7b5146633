"""Twisted's own protocols, as they are, over the LAN."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import Cooperator
from twisted.protocols.basic import LineReceiver
from twisted.protocols.portforward import ProxyFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web import client
from twisted.web.client import ResponseDone
from twisted.web.iweb import IAgentEndpointFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer  # type: ignore[import-untyped]  # zope ships no types

from tests.driver.memory import World
from tests.driver.protocols import Made, Notes

MIB = 1024 * 1024


@pytest.fixture
def world() -> World:
    return World()


class Echo(LineReceiver):
    """Answers each line in upper case; "bye" ends."""

    transport: Any
    sendLine: Any

    def lineReceived(self, line: bytes) -> None:
        if line == b"bye":
            self.transport.loseConnection()
        else:
            self.sendLine(line.upper())


def test_lines(world: World) -> None:
    world.result(world.nas.server_endpoint(7).listen(Factory.forProtocol(Echo)))
    client = world.result(world.me.client_endpoint("nas", 7).connect(Made()))
    client.transport.write(b"one\r\ntw")
    world.run(lambda: client.data)
    client.transport.write(b"o\r\nbye\r\n")
    world.run(lambda: client.lost is not None)
    assert client.data == b"ONE\r\nTWO\r\n"


class Files(Resource):
    """GET answers with a file, as fast as the client reads; POST with the digest of what came."""

    isLeaf = True

    def render_GET(self, request: Any) -> Any:
        Sender(request)
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        return hashlib.sha256(request.content.read()).hexdigest().encode()


@implementer(IPushProducer)
class Sender:
    """Writes CONTENT in pieces for as long as it is not paused."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.sent = 0
        self.paused = False
        request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.sent < len(CONTENT):
            self.request.write(CONTENT[self.sent : self.sent + PIECE])
            self.sent += PIECE
        if not self.paused:
            self.request.unregisterProducer()
            self.request.finish()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True


class Body(Protocol):
    """Collects a response's body."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.whole: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        if reason.check(ResponseDone):
            self.whole.callback(bytes(self.data))
        else:
            self.whole.errback(reason)


PIECE = 50_000
CONTENT = bytes(range(256)) * (4 * MIB // 256)


@implementer(IAgentEndpointFactory)
class LanEndpoints:
    def __init__(self, world: World) -> None:
        self.world = world

    def endpointForURI(self, uri: Any) -> Any:
        return self.world.me.client_endpoint(uri.host.decode(), uri.port)


@pytest.fixture
def agent(world: World) -> Any:
    clock: Any = world.clock
    web: Any = client
    site: Any = Site
    files: Any = Files
    world.result(world.nas.server_endpoint(80).listen(site(files(), reactor=clock)))
    return web.Agent.usingEndpointFactory(clock, LanEndpoints(world), web.HTTPConnectionPool(clock))


def fetch(world: World, agent: Any, *request: Any) -> bytes:
    response = world.result(agent.request(*request))
    assert response.code == 200
    body = Body()
    response.deliverBody(body)
    whole: bytes = world.result(body.whole)
    return whole


def test_http_downloads_on_one_kept_connection(world: World, agent: Any) -> None:
    for _ in range(2):
        assert fetch(world, agent, b"GET", b"http://nas/file") == CONTENT
    assert len(world.cores[0].runner.streams) == 1


def test_http_upload(world: World, agent: Any) -> None:
    cooperator = Cooperator(scheduler=lambda call: world.clock.callLater(0.00001, call))
    producer: Any = client.FileBodyProducer
    body = producer(io.BytesIO(CONTENT), cooperator=cooperator)
    digest = fetch(world, agent, b"POST", b"http://nas/", None, body)
    assert digest.decode() == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")     # Twisted's TLS uses calls that pyOpenSSL is about to drop
def test_tls(world: World) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nas")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("nas")]), critical=False)
        .sign(key, SHA256())
    )
    pem += signed.public_bytes(Encoding.PEM)
    private: Any = PrivateCertificate
    certificate = private.loadPEM(pem)
    clock: Any = world.clock
    listening: Any = Made()
    factory = TLSMemoryBIOFactory(certificate.options(), False, listening, clock)
    world.result(world.nas.server_endpoint(443).listen(factory))
    authority: Any = Certificate
    trust: Any = optionsForClientTLS("nas", trustRoot=authority.loadPEM(pem))
    plain: Any = world.me.client_endpoint("nas", 443)
    endpoint: Any = wrapClientTLS(trust, plain)
    client = world.result(endpoint.connect(Made()))
    client.transport.write(bytes(MIB))
    client.transport.loseConnection()
    world.run(lambda: listening.made and listening.made[0].lost is not None and client.lost is not None)
    assert len(listening.made[0].data) == MIB


def test_twisteds_own_port_forwarder_over_the_lan(world: World) -> None:
    """nas forwards its port 8080 to a port of me, by producers registered on both sides."""

    class Connector:
        """What portforward needs of a reactor."""

        def connectTCP(self, host: str, port: int, factory: Any, *_: object) -> None:
            factory.doStart()
            world.nas.client_endpoint(host, port).connect(factory)

    class Big(Notes):
        def connectionMade(self) -> None:
            self.transport.write(CONTENT)
            self.transport.loseConnection()

    world.result(world.me.server_endpoint(80).listen(Made(Big)))
    forwarder: Any = ProxyFactory("me", 80)
    forwarder.protocol.reactor = Connector()
    world.result(world.nas.server_endpoint(8080).listen(forwarder))
    client = world.result(world.me.client_endpoint("nas", 8080).connect(Made()))
    world.run(lambda: client.lost is not None)
    assert client.data == CONTENT
