"""What waits for a peer, by flow (RFC 8290, RFC 8289)."""

from __future__ import annotations

from tests.tunnel.virtual import ADDRESS_A, ADDRESS_B
from userlan.tunnel.flows import LIMIT_PACKETS, FlowQueues
from userlan.wire.superpacket import SuperPacket
from userlan.wire.udp import Datagram, build

SEED = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95


def packet(port: int, size: int = 100) -> SuperPacket:
    return build(Datagram(port, 7, bytes(size)), ADDRESS_A, ADDRESS_B)


def test_a_peer_that_had_many_flows_leaves_few_behind() -> None:
    queues = FlowQueues(SEED)
    for port in range(LIMIT_PACKETS):
        one = packet(port)
        queues.add(one, queues.bucket_of(one), 0.0)
    taken = 0
    while queues.take(0.001) is not None:
        taken += 1
    assert taken == LIMIT_PACKETS
    assert len(queues._flows) == 0
    one = packet(1)
    queues.add(one, queues.bucket_of(one), 1.0)
    assert queues.take(1.0) is one


def test_a_sparse_flow_overtakes_a_transfer() -> None:
    queues = FlowQueues(SEED)
    bulk, key = packet(1, 60_000), packet(2)
    for _ in range(20):
        queues.add(bulk, queues.bucket_of(bulk), 0.0)
    assert queues.take(0.0) is bulk
    queues.add(key, queues.bucket_of(key), 0.0)
    assert queues.take(0.0) is key
