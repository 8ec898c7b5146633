"""A minimal client of the mediator on a device, a host and a framer, and a small world to put it into."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, TypeVar

from tests.driver.ways import DeviceWays
from tests.sim.internet import Attachment, Internet
from tests.sim.link import PERFECT, LinkProfile
from tests.sim.world import World
from userlan.control.frames import Framer, Undecodable, encode, node_framer
from userlan.control.meeting import Reachability
from userlan.control.messages import (
    CONTROL_PORT,
    Bye,
    Candidate,
    Challenge,
    Create,
    Done,
    Evict,
    Hello,
    Join,
    Message,
    NetworkState,
    Ping,
    Pong,
    Prove,
    Refused,
    Welcome,
)
from userlan.control.vocabulary import FromMediator
from userlan.lan.addresses import ipv6_of
from userlan.lan.eviction import Eviction
from userlan.lan.secrets import NetworkSecret, OwnerSigning
from userlan.mediator.directory import Directory
from userlan.mediator.limits import Limits
from userlan.mediator.service import Mediator
from userlan.stack.events import TcpEvent
from userlan.stack.host import Host
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events
from userlan.traversal.nat import UNKNOWN, NatBehaviour
from userlan.tunnel.device import Device
from userlan.tunnel.endpoint import Burst
from userlan.wire.endpoint import Endpoint

#: Wall clock of the tests: wall = virtual time + this, seconds.
WALL_OFFSET = 1_700_000_000.0
MEDIATOR_ADDRESS = "192.0.2.1"

M = TypeVar("M", bound=Message)


class Client(DeviceWays):
    """One member without anything around it: it greets, answers pings and keeps every message with its time."""

    def __init__(self, world: World, mediator_key: bytes, name: str, server: Endpoint, private_key: bytes) -> None:
        self.world = world
        self.name = name
        self.private_key = private_key
        self.server = server
        self.mediator_key = mediator_key
        self.device = Device(private_key, entropy=world.entropy(), now=world.now, wall_offset=WALL_OFFSET)
        self.key = self.device.public_key
        self.ipv6 = ipv6_of(self.key)
        self.host = Host(entropy=world.entropy())
        self.host.add_address(self.ipv6)
        self.device.add_peer(mediator_key, endpoint=server)
        self.candidates: tuple[Candidate, ...] = ()
        self.nat: NatBehaviour | None = UNKNOWN
        self.greet = True
        self.answer_pings = True
        self.silent = False
        self.reading = True
        self.connection: Connection | None = None
        self.connected = False
        self.ended = False
        self.framer: Framer[FromMediator] = node_framer()
        self.received: list[tuple[float, Message | Undecodable]] = []
        self.attachment: Attachment
        self._request = 0

    # --- the core interface ------------------------------------------------------------------------------------------

    def owns(self, data: Any) -> bool:
        return True

    def receive(self, data: Any, segment: int, source: Endpoint, now: float) -> None:
        for inbound in self.device.receive(data, segment, source, now):
            for packet in inbound.packets:
                self.host.receive(packet, now)
        self._work(now)

    def datagrams(self, now: float) -> list[Burst]:
        for packet in self.host.packets(now):
            self.device.send(self.mediator_key, packet, now)
        bursts = self.device.datagrams(now)
        return [] if self.silent else bursts

    def deadline(self) -> float | None:
        times = (self.device.deadline(), self.host.deadline())
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        self.device.tick(now)
        self.host.tick(now)
        self._work(now)

    def events(self) -> list[object]:
        return []

    # --- what tests do -----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Opens the control connection; ``Hello`` follows by itself where ``greet`` is set."""
        self.connected = self.ended = False
        self.framer = node_framer()
        address = (ipv6_of(self.mediator_key), CONTROL_PORT)
        self.connection = self.host.tcp_connect(address, self.world.now)

    def send(self, *messages: Message) -> None:
        self.send_raw(b"".join(encode(message) for message in messages))

    def send_raw(self, data: bytes) -> int:
        assert self.connection is not None
        return self.connection.send(data, self.world.now)

    def login(self) -> Welcome:
        """Connects and waits until it is welcome."""
        self.connect()
        return self.expect(Welcome)

    def expect(self, kind: type[M], seconds: float = 5.0) -> M:
        """Waits for a message of one kind and takes it out."""
        self.world.run_until(lambda: bool(self.all(kind)), seconds)
        return self.take(kind)[0]

    def all(self, kind: type[M]) -> list[M]:
        return [message for _, message in self.received if isinstance(message, kind)]

    def take(self, kind: type[M]) -> list[M]:
        """All messages of one kind so far, taken out."""
        found = self.all(kind)
        self.received = [(time, message) for time, message in self.received if not isinstance(message, kind)]
        return found

    def request(self, message: Message) -> Done | Refused:
        """Sends a request and waits for its end."""
        self.send(message)
        number = getattr(message, "request", 0)
        return self.outcome(number)

    def outcome(self, number: int) -> Done | Refused:
        def found() -> list[Done | Refused]:
            messages = (message for _, message in self.received)
            return [m for m in messages if isinstance(m, Done | Refused) and m.request == number]

        self.world.run_until(lambda: bool(found()), 5.0)
        outcome = found()[0]
        self.received = [(time, message) for time, message in self.received if message is not outcome]
        return outcome

    def number(self) -> int:
        self._request += 1
        return self._request

    def create(self, network: str, secret: NetworkSecret) -> Done | Refused:
        signing = OwnerSigning(self.private_key).public
        attestation = secret.attest_owner(network, self.key, signing)
        return self.request(Create(self.number(), network, secret.admission_public, signing, attestation))

    def join(self, network: str, secret: NetworkSecret) -> Done | Refused:
        number = self.number()
        self.send(Join(number, network))

        def answered() -> bool:
            return any(isinstance(m, Challenge | Done | Refused) and m.request == number for _, m in self.received)

        self.world.run_until(answered, 5.0)
        for challenge in self.take(Challenge):
            signature = secret.sign_admission(challenge.nonce, self.key, network, self.mediator_key)
            self.send(Prove(challenge.request, signature))
        return self.outcome(number)

    def evict(self, network: str, serial: int, out: list[bytes], secret: NetworkSecret, members: list[bytes]) -> Evict:
        """An eviction as the owner's node makes it; to be sent by ``request``."""
        signing = OwnerSigning(self.private_key)
        document = Eviction.make(network, serial, out, secret, members, self.key, signing, self.world.entropy())
        return Evict(self.number(), network, document.to_bytes())

    def leave_quietly(self) -> None:
        """The process is killed: nothing is sent any more, not even an end."""
        self.silent = True

    def bye(self) -> None:
        self.send(Bye())
        assert self.connection is not None
        self.connection.shutdown(self.world.now)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _work(self, now: float) -> None:
        self.device.events()
        for event in self.host.events():
            if isinstance(event, TcpEvent) and event.connection is self.connection:
                self._event(event.connection, event.flags, now)

    def _event(self, connection: Connection, flags: int, now: float) -> None:
        if flags & Events.CONNECTED:
            self.connected = True
            if self.greet:
                self.send(Hello(1, self.name, "test", self.candidates))
                if self.nat is not None:
                    self.send(Reachability(self.nat))
        self._read(connection, now)
        if flags & (Events.EOF | Events.CLOSED):
            self.ended = True

    def ask_to_read(self) -> None:
        """Reads what has come while ``reading`` was off."""
        assert self.connection is not None
        self.reading = True
        self._read(self.connection, self.world.now)

    def _read(self, connection: Connection, now: float) -> None:
        while self.reading and (data := connection.receive()):
            for message in self.framer.feed(data):
                if isinstance(message, Ping):
                    if self.answer_pings:
                        self.send(Pong(message.token))
                else:
                    self.received.append((now, message))


class Lab:
    """A mediator with its directory on the simulated Internet, and clients with links of their own."""

    def __init__(
        self,
        tmp_path: Path,
        seed: int = 1,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        store: str = "",
        **options: Any,
    ) -> None:
        self.world = World(seed)
        self.internet = Internet(self.world)
        self.path = tmp_path / "directory.sqlite"
        self.store = store or self.path
        self.limits = limits
        self.options = options
        self.private_key = Random(seed).randbytes(32)
        self._clients = 0
        self.mediator: Mediator
        self.attachment: Attachment
        self.start()

    def start(self) -> None:
        """A mediator process begins, with whatever the directory holds."""
        self.directory = Directory(self.store, clock=lambda: self.world.now)
        self.mediator = Mediator(
            self.private_key,
            self.directory,
            entropy=self.world.entropy(),
            now=self.world.now,
            wall_offset=WALL_OFFSET,
            limits=self.limits,
            **self.options,
        )
        self.attachment = self.internet.attach(self.mediator, MEDIATOR_ADDRESS)

    def kill(self) -> None:
        """kill -9: nothing is said, nothing is written."""
        self.world.remove(self.attachment)
        self.attachment.unplug()
        self.directory.close()

    def client(
        self, name: str, address: str = "", profile: LinkProfile = PERFECT, private_key: bytes | None = None
    ) -> Client:
        self._clients += 1
        private_key = private_key or Random(f"{name} {self._clients}").randbytes(32)
        server = Endpoint("udp", MEDIATOR_ADDRESS, self.attachment.port)
        client = Client(self.world, self.mediator.public_key, name, server, private_key)
        address = address or f"198.51.{100 + self._clients // 250}.{self._clients % 250 + 1}"
        client.attachment = self.internet.attach(client, address, profile=profile)
        return client

    def login(self, name: str, **options: Any) -> Client:
        client = self.client(name, **options)
        client.login()
        return client

    def run(self, seconds: float) -> None:
        self.world.run(seconds)


def states(client: Client) -> dict[str, NetworkState]:
    """The networks that a client was told, the newest state of each."""
    return {state.network: state for state in client.all(NetworkState)}
