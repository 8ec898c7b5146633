"""What a peer costs while nothing happens: sessions, ciphers, queues."""

from __future__ import annotations

import gc
import tracemalloc

from tests.tunnel.virtual import Network, Side, connected, device, endpoint, packet, send
from userlan.tunnel.constants import REJECT_AFTER_TIME, REPLAY_WINDOW_BITS
from userlan.tunnel.device import Device
from userlan.tunnel.flows import BULK_PACKET, BULK_PAUSE, BulkFlows
from userlan.tunnel.peer import Peer
from userlan.tunnel.replay import ReplayWindow

PEERS = 50
PEER_OCTETS = 9000
"""Octets of Python's for a peer with one session in use and four superseded ones; beside them two ciphers of OpenSSL's (4.8 KB)."""


def peer_of(side: Side, other: Side) -> Peer:
    peer = side.device.peer(other.device.public_key)
    assert peer is not None
    return peer


def sessions_of(device: Device) -> int:
    return len(device._indices.sessions)


def crossed(network: Network, a: Side, b: Side, times: int) -> None:
    """Both sides send initiations, several in a row, as punching does."""
    for number in range(times):
        for side, other in ((a, b), (b, a)):
            side.device.initiate(other.device.public_key, [other.endpoint], network.now)
        network.run(network.now + 0.1 * (number + 1))


def test_superseded_sessions_go_when_they_are_too_old_to_receive() -> None:
    """White paper 6.1: Reject-After-Time; no later handshake is needed for it."""
    a, b, network = connected()
    crossed(network, a, b, 4)
    assert sessions_of(a.device) > 2
    send(network, a, b, b"one")
    send(network, b, a, b"two")
    network.run(network.now + 1)
    created = max(session.created for session in peer_of(a, b).keyring.previous)
    network.run(created + REJECT_AFTER_TIME - 2)
    before = sessions_of(a.device)
    assert before > 1
    network.run(created + REJECT_AFTER_TIME + 1)
    for side, other in ((a, b), (b, a)):
        keyring = peer_of(side, other).keyring
        assert keyring.previous == keyring.next == []
        assert sessions_of(side.device) == 1


def test_a_session_that_was_never_used_has_no_cipher_and_a_superseded_one_does_not_seal() -> None:
    a, b, network = connected()
    crossed(network, a, b, 4)
    send(network, a, b, b"one")
    send(network, b, a, b"two")
    network.run(network.now + 1)
    keyring = peer_of(a, b).keyring
    assert a.received[-1] == b"two"
    superseded = [*keyring.previous, *keyring.next]
    assert any(session._decrypt is None and session._receive_key for session in superseded)
    for session in keyring.previous:
        assert session._encrypt is None
        assert session._send_key == b""


def test_a_superseded_session_still_opens_what_was_under_way() -> None:
    a, b, network = connected()
    old = peer_of(a, b).keyring.current
    assert old is not None
    late = old.seal([bytes(packet(b"late").header) + b"late"], 1420)
    crossed(network, a, b, 2)
    assert peer_of(a, b).keyring.current is not old
    assert b.device.receive(late, 0, a.endpoint, network.now)


def test_the_ring_grows_with_the_counters_and_no_further() -> None:
    window = ReplayWindow()
    assert len(window._ring) == 0
    window.mark(0)
    window.mark(200)
    assert len(window._ring) == 4
    window.mark_run(10_000_000, 3 * REPLAY_WINDOW_BITS)
    assert len(window._ring) == REPLAY_WINDOW_BITS // 64


def test_flows_that_were_bulk_are_forgotten_once_other_packets_come_after_a_silence() -> None:
    bulk = BulkFlows()
    for bucket in range(500):
        assert bulk.note(packet(bytes(BULK_PACKET)), bucket, 10.0)
    assert bulk.note(packet(b"small"), 3, 10.0 + BULK_PAUSE / 2)
    assert len(bulk._until) > 400
    assert not bulk.note(packet(b"small"), 1000, 12.0)
    assert bulk._until == {}
    assert bulk.rate < 8e6


def test_memory_of_an_idle_peer() -> None:
    """Sessions from several initiations of both sides, then a packet each way every ten seconds."""
    gc.collect()
    hub = Side(device("hub"), endpoint(0))
    tracemalloc.start()
    try:
        others = []
        for number in range(1, PEERS + 1):
            others.append(Side(device(number), endpoint(number)))
        network = Network(hub, *others)
        gc.collect()
        empty, _ = tracemalloc.get_traced_memory()
        for other in others:
            hub.device.add_peer(other.device.public_key, endpoint=other.endpoint)
            other.device.add_peer(hub.device.public_key, endpoint=hub.endpoint)
            crossed(network, hub, other, 3)
        for _ in range(5):
            for other in others:
                send(network, hub, other, b"echo")
                send(network, other, hub, b"echo")
            network.run(network.now + 10)
        network.sent.clear()
        for side in network.sides:
            side.received.clear()
            side.events.clear()
        gc.collect()
        full, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    each = (full - empty) / (2 * PEERS)
    assert each < PEER_OCTETS, each
