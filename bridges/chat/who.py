"""Whom a person means: names, keys, networks and ids of conversations, as they are written ⇄ as they are kept."""

from __future__ import annotations

import difflib

import attrs

from bridges.chat.records import NETWORK, PEER, network_of, peer_of
from userlan.driver.bridge import CommandError
from userlan.driver.lan import Lan, PeerInfo
from userlan.lan.addresses import KEY_TEXT_SIZE, shown
from userlan.lan.names import AmbiguousName, UnknownName


@attrs.frozen
class Target:
    """A conversation that can be written in, and who gets what is."""

    conversation: str
    title: str
    recipients: tuple[str, ...]
    """Keys."""


class Roll:
    """The members by key, made anew when something has changed (``Lan.observe``): it is asked for each message and each row."""

    def __init__(self, lan: Lan) -> None:
        self.lan = lan
        self._peers: dict[str, PeerInfo] | None = None

    def changed(self) -> None:
        """Whoever asks next gets the present ones."""
        self._peers = None

    @property
    def peers(self) -> dict[str, PeerInfo]:
        """All members but this node, by key."""
        if self._peers is None:
            self._peers = {peer.key: peer for peer in self.lan.members()}
        return self._peers

    def target(self, written: str) -> Target:
        """Who is meant by ``to``; CommandError, one line, when nobody is."""
        conversation = self.conversation(written)
        network, key = network_of(conversation), peer_of(conversation)
        if not network:
            peer = self.peers.get(key)
            if peer is None:
                raise CommandError("that member is in none of your networks any more: nothing can be sent to it")
            if peer.blocked:
                raise CommandError(f"{peer.name} is blocked: `userlan unblock {peer.name}` first")
            return Target(conversation, peer.name, (key,))
        if network not in self.lan.own().networks:
            raise CommandError(f"this node is not in the network {network} any more: nothing can be sent there")
        keys = tuple(peer.key for peer in self.peers.values() if network in peer.networks and not peer.blocked)
        if not keys:
            raise CommandError(f"nobody else is in {network} yet: `userlan invite {network}` prints the link for others")
        return Target(conversation, network, keys)

    def conversation(self, written: str) -> str:
        """The id of the conversation with a peer or in a network that this node knows; one that is written as an id may be of the past.
        CommandError, one line with the nearest right name, for anything else."""
        own = self.lan.own()
        if written.startswith(NETWORK) and written != NETWORK:
            return NETWORK + written.removeprefix(NETWORK).lower()
        name = written.removeprefix(PEER)
        if name in self.peers or (written.startswith(PEER) and len(name) == KEY_TEXT_SIZE):
            return PEER + self._not_self(name)
        if not name:
            raise CommandError("to whom? name a peer or a network: `userlan status` lists them")
        if name == written and name.lower() in own.networks:
            if any(peer.name == name.lower() for peer in self.peers.values()):
                raise CommandError(f"{name} is a network and a peer: say network:{name} or peer:{name}")
            return NETWORK + name.lower()
        return PEER + self._peer(name)

    def reachable(self, key: str) -> PeerInfo | None:
        """The member of this key with whom anything is exchanged: none whom this node has blocked."""
        peer = self.peers.get(key)
        return None if peer is None or peer.blocked else peer

    def title(self, conversation: str, remembered: str) -> str:
        """What a conversation is called now, or was when it was last known."""
        peer = self.peers.get(peer_of(conversation))
        return remembered if peer is None else peer.name

    def is_here(self, conversation: str) -> bool:
        """Whether it can be written in: the peer is a member, the network one of ours."""
        network = network_of(conversation)
        return network in self.lan.own().networks if network else peer_of(conversation) in self.peers

    def _peer(self, name: str) -> str:
        try:
            found = self.lan.peer_at(self.lan.resolve(name))
        except AmbiguousName as error:
            raise CommandError(str(error)) from None
        except UnknownName:
            raise CommandError(self._unknown(name)) from None
        if found is None:
            raise CommandError(f"nobody has the address {shown(name)}")
        return self._not_self(found.key)

    def _not_self(self, key: str) -> str:
        if key == self.lan.own().key:
            raise CommandError("that is this node itself: name a peer or a network")
        return key

    def _unknown(self, name: str) -> str:
        names = {peer.name for peer in self.peers.values()} | set(self.lan.own().networks)
        near = difflib.get_close_matches(name.lower(), sorted(names), 1)
        hint = f"did you mean {near[0]!r}?" if near else "`userlan status` lists who is there"
        return f"no peer and no network is called {shown(name)}: {hint}"
