"""What members tell each other without a mediator: the owners' evictions, proofs that they know a network's secret, and their ciphers.

One short TCP connection on the virtual LAN, opened by a node that holds an eviction, by a network's owner to whom a member has yet to
prove itself, or by a node that takes AES and has not heard in two seconds whether the member does, to each member that becomes reachable,
or is when the eviction is new::

    A                                         B
    | PeerHello(serials, proofs, ciphers) --->|
    |<--- PeerHello(serials, proofs, ciphers) |
    | EvictionNotice, where newer ----------->|      (and the other way round)
    |               both close                |

Ciphers are told inside the tunnel, so that nobody else has a say in them, and remembered across restarts. Members that reach each other
directly tell them with their ``PeerSight`` (``introducer``), one datagram instead of the twelve of a connection: it is for those to whom
that was not told, or was lost.

A connection that is not done after 10 s is aborted; a peer may hold two at once.
"""

from __future__ import annotations

from typing import NamedTuple

import attrs

from userlan.control.frames import ControlError, Framer, Undecodable, encode, peer_framer
from userlan.control.messages import CONTROL_PORT, PROTOCOL_VERSION, EvictionNotice, PeerHello
from userlan.control.vocabulary import FromPeer
from userlan.lan.roster import Peer, Roster
from userlan.node.keyring import Keyring
from userlan.stack.errors import StackError
from userlan.stack.events import TcpAccepted
from userlan.stack.host import Host
from userlan.stack.tcp.connection import Connection
from userlan.stack.tcp.state import Events
from userlan.tunnel.device import Device

PATIENCE = 10.0
"""Seconds a conversation may take: 1 MiB over a slow mobile link."""
CURIOUS_AFTER = 2.0
"""Seconds after a member was reached for which its ciphers may come by themselves."""
MAX_PER_PEER = 2
"""Conversations with one peer at a time: both may open one at the same moment."""
MAX_NOTICES = 64
"""Documents that are read in one conversation: one for each network that a node can be in."""


class Notice(NamedTuple):
    """A peer brought an eviction document."""

    peer: bytes
    message: EvictionNotice


@attrs.define(eq=False)
class Talk:
    """One conversation."""

    peer: bytes
    connection: Connection
    opener: bool
    give_up: float
    framer: Framer[FromPeer] = attrs.field(factory=peer_framer)
    unsent: bytearray = attrs.field(factory=bytearray)
    finishing: bool = False
    greeted: bool = False
    notices: int = 0


class Gossip:
    """All conversations of a node."""

    def __init__(self, host: Host, roster: Roster, keyring: Keyring, device: Device) -> None:
        self._host = host
        self._roster = roster
        self._keyring = keyring
        self._device = device
        self._listener = host.tcp_listen(CONTROL_PORT)
        self._talks: dict[Connection, Talk] = {}
        self._notices: list[Notice] = []
        self._proven: list[bytes] = []
        self._learnt: list[bytes] = []
        self._curious_at: dict[bytes, float] = {}
        """Members whose ciphers are asked for then, in the order of time; bounded by the roster."""

    def tell(self, key: bytes, now: float) -> None:
        """Talk to a peer that can be reached, if there is anything it might not know, or that it has yet to prove to us."""
        peer = self._roster.peers.get(key)
        if peer is None:
            return
        if any(self._keyring.serial(network) or self._unproven(network, key) for network in peer.networks):
            self._open(peer, now)
        elif self._curious(key):
            self._curious_at.setdefault(key, now + CURIOUS_AFTER)

    def ciphers_said(self, key: bytes, ciphers: tuple[str, ...], now: float) -> None:
        """A member said which ciphers it takes beside ChaCha20-Poly1305."""
        tunnel = self._device.peer(key)
        if tunnel is None:
            return
        known = tunnel.ciphers
        self._device.ciphers_told(key, ciphers, now)
        if tunnel.ciphers != known:
            self._learnt.append(key)

    def _open(self, peer: Peer, now: float) -> None:
        if self._talking(peer.key) >= MAX_PER_PEER:
            return
        try:
            connection = self._host.tcp_connect((peer.ipv6, CONTROL_PORT), now)
        except StackError:
            return    # no room for one connection more: the next occasion tells
        connection.context = self
        self._talks[connection] = Talk(peer.key, connection, True, now + PATIENCE)

    def accepted(self, event: TcpAccepted, now: float) -> bool:
        """Whether a new connection is for this part (then it is taken)."""
        if event.listener is not self._listener:
            return False
        connection = event.connection
        key = self._roster.key_at(connection.remote[0])
        if key is None or key not in self._roster.peers or self._talking(key) >= MAX_PER_PEER:
            connection.abort(now)
            return True
        connection.context = self
        self._talks[connection] = Talk(key, connection, False, now + PATIENCE)
        return True

    def tcp_event(self, connection: Connection, flags: int, now: float) -> None:
        """An event of one of the conversations' connections."""
        talk = self._talks.get(connection)
        if talk is None:
            return
        if flags & Events.CONNECTED and talk.opener:
            self._say(talk, self._hello(talk.peer), now)
        if flags & Events.READABLE:
            self._read(talk, now)
        if flags & Events.WRITABLE:
            self._flush(talk, now)
        if flags & Events.EOF and not talk.finishing:
            talk.finishing = True
            self._flush(talk, now)
        if flags & Events.CLOSED:
            self._talks.pop(connection, None)

    @property
    def news(self) -> bool:
        """Whether one of the following has anything."""
        return bool(self._notices or self._proven or self._learnt)

    def notices(self) -> list[Notice]:
        """What peers brought. Drained."""
        notices, self._notices = self._notices, []
        return notices

    def proven(self) -> list[bytes]:
        """Peers that have just proved a membership. Drained."""
        proven, self._proven = self._proven, []
        return proven

    def learnt(self) -> list[bytes]:
        """Peers whose ciphers are news. Drained."""
        learnt, self._learnt = self._learnt, []
        return learnt

    def deadline(self) -> float | None:
        """When the first conversation has lasted too long, or one is due."""
        times = [talk.give_up for talk in self._talks.values()]
        return min([*times, *list(self._curious_at.values())[:1]], default=None)

    def tick(self, now: float) -> None:
        """End conversations that last too long, begin those that are due."""
        while self._curious_at:
            key, at = next(iter(self._curious_at.items()))
            if at > now:
                break
            del self._curious_at[key]
            peer = self._roster.peers.get(key)
            if peer is not None and self._curious(key):
                self._open(peer, now)
        for talk in [talk for talk in self._talks.values() if now >= talk.give_up]:
            self._end(talk, now)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _talking(self, key: bytes) -> int:
        return sum(talk.peer == key for talk in self._talks.values())

    def _hello(self, key: bytes) -> PeerHello:
        peer = self._roster.peers.get(key)
        networks = peer.networks if peer is not None else ()
        serials = {network: self._keyring.serial(network) for network in networks}
        return PeerHello(PROTOCOL_VERSION, serials, self._keyring.proofs_for(key, networks), ciphers=self._device.ciphers)

    def _unproven(self, network: str, key: bytes) -> bool:
        """Whether this node owns the network and the peer has not shown that it knows its secret."""
        known = self._roster.networks.get(network)
        held = self._keyring.get(network)
        return known is not None and held is not None and known.owner == self._keyring.public_key and key not in held.proven

    def _curious(self, key: bytes) -> bool:
        """Whether this node takes more than one cipher and knows not yet what the peer takes."""
        tunnel = self._device.peer(key)
        return bool(self._device.ciphers) and tunnel is not None and tunnel.ciphers is None

    def _read(self, talk: Talk, now: float) -> None:
        while data := talk.connection.receive():
            try:
                messages = talk.framer.feed(data)
            except ControlError:
                self._end(talk, now)
                return
            for message in messages:
                if isinstance(message, PeerHello) and not talk.greeted:
                    talk.greeted = True    # once: each greeting is answered with documents of up to 256 KiB
                    self._heard_hello(talk, message, now)
                elif isinstance(message, EvictionNotice) and talk.notices < MAX_NOTICES:
                    talk.notices += 1
                    self._notices.append(Notice(talk.peer, message))
                elif not isinstance(message, Undecodable):
                    self._end(talk, now)
                    return

    def _heard_hello(self, talk: Talk, hello: PeerHello, now: float) -> None:
        if not talk.opener:
            self._say(talk, self._hello(talk.peer), now)
        self.ciphers_said(talk.peer, hello.ciphers, now)
        peer = self._roster.peers.get(talk.peer)
        for network in peer.networks if peer is not None else ():
            if self._keyring.prove(network, talk.peer, hello.proofs.get(network, b"")):
                self._proven.append(talk.peer)
            held = self._keyring.get(network)
            if held is not None and held.eviction is not None and held.eviction.serial > hello.evictions.get(network, 0):
                self._say(talk, EvictionNotice(network, held.eviction.to_bytes()), now)
        talk.finishing = True
        self._flush(talk, now)

    def _say(self, talk: Talk, message: PeerHello | EvictionNotice, now: float) -> None:
        talk.unsent += encode(message)
        self._flush(talk, now)

    def _flush(self, talk: Talk, now: float) -> None:
        if talk.unsent:
            taken = talk.connection.send(bytes(talk.unsent), now)
            del talk.unsent[:taken]
        if talk.finishing and not talk.unsent:
            talk.connection.shutdown(now)

    def _end(self, talk: Talk, now: float) -> None:
        talk.connection.abort(now)
        self._talks.pop(talk.connection, None)
