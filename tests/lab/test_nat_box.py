"""The userspace NAT by itself, in virtual time; Scapy is the oracle for what it writes."""

from __future__ import annotations

import random
import socket
import time
from itertools import pairwise

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror, UDPerror
from scapy.packet import Packet, Raw

from tests.lab.nat_box import INSIDE, OUTSIDE, Box, Character

PUBLIC, HOST, OTHER_HOST = "44.0.9.1", "192.168.1.2", "192.168.1.3"
FIRST, SECOND = "44.0.0.1", "44.0.0.2"
CHUNK_LOW, BLOCK = 20480, 256


def box(*addresses: str, seed: int = 1, **character: object) -> Box:
    return Box(Character(**character), tuple(map(socket.inet_aton, addresses or (PUBLIC,))), seed)  # type: ignore[arg-type]


def out(nat: Box, packet: Packet, now: float = 0.0) -> list[tuple[str, Packet]]:
    return [(side, sound(sent)) for side, sent in nat.outward(bytearray(bytes(packet)), now)]


def back(nat: Box, packet: Packet, now: float = 0.0) -> list[tuple[str, Packet]]:
    return [(side, sound(sent)) for side, sent in nat.inward(bytearray(bytes(packet)), now)]


def sound(data: bytes) -> Packet:
    """What was written, after a check that Scapy computes the same checksums."""
    packet = IP(data)
    again = IP(data)
    for layer in (IP, UDP, TCP, ICMP):
        if layer in again:
            del again[layer].chksum
    assert bytes(again) == data, f"a checksum of {packet!r}"
    return packet


def udp(source: tuple[str, int], target: tuple[str, int], data: bytes = b"some data") -> Packet:
    return IP(src=source[0], dst=target[0]) / UDP(sport=source[1], dport=target[1]) / Raw(data)


def seen(nat: Box, source: tuple[str, int], target: tuple[str, int], now: float = 0.0) -> tuple[str, int]:
    """How the target sees the source."""
    [(side, packet)] = out(nat, udp(source, target), now)
    assert side == OUTSIDE
    return packet[IP].src, packet[UDP].sport


@pytest.mark.parametrize("size", [0, 1, 2, 9, 1471, 1472])
@pytest.mark.parametrize("seed", range(20))
def test_checksums_are_adjusted(size: int, seed: int) -> None:
    """RFC 1624 3, against Scapy's own sum over everything; both transports, both directions, payloads that sum to anything."""
    chance = random.Random(seed)
    nat, data = box(seed=seed, allocation="random"), chance.randbytes(size)
    for layer in (UDP(sport=4000, dport=53), TCP(sport=4000, dport=80, flags="S", seq=chance.getrandbits(32))):
        [(_, sent)] = out(nat, IP(src=HOST, dst=FIRST, ttl=chance.randrange(2, 255)) / layer / Raw(data))
        transport = sent[type(layer)]
        answer = type(layer)(sport=transport.dport, dport=transport.sport) / Raw(data)
        [(side, received)] = back(nat, IP(src=FIRST, dst=PUBLIC) / answer)
        assert (side, received[IP].dst, received[type(layer)].dport) == (INSIDE, HOST, 4000)
        assert bytes(received[type(layer)].payload) == data


def test_no_udp_checksum_stays_none_and_a_wrong_one_stays_wrong() -> None:
    """RFC 768; RFC 1624: a NAT that summed anew would hide what was broken before."""
    nat = box(allocation="random")
    for chosen in (0, 0x1234):
        packet = udp((HOST, 4000), (FIRST, 53))
        packet[UDP].chksum = chosen
        [(_, sent)] = list(nat.outward(bytearray(bytes(packet)), 0.0))
        right = IP(sent)
        del right[UDP].chksum
        if chosen:
            assert IP(sent)[UDP].chksum != IP(bytes(right))[UDP].chksum
        else:
            assert IP(sent)[UDP].chksum == 0


def test_mapping_is_keyed_as_named() -> None:
    """RFC 4787 4.1."""
    targets = [(FIRST, 1), (FIRST, 2), (SECOND, 1), (SECOND, 2)]
    for mapping, different in (("endpoint", 1), ("address", 2), ("address-and-port", 4)):
        nat = box(mapping=mapping, allocation="random")
        assert len({seen(nat, (HOST, 4000), target) for target in targets}) == different
        assert [seen(nat, (HOST, 4000), target) for target in targets] == [seen(nat, (HOST, 4000), target) for target in targets]


def test_filtering_is_as_named() -> None:
    """RFC 4787 5."""
    for filtering, passing in (("endpoint", 3), ("address", 2), ("address-and-port", 1)):
        nat = box(filtering=filtering)
        seen(nat, (HOST, 4000), (FIRST, 1))
        sources = [(FIRST, 1), (FIRST, 2), (SECOND, 1)]
        assert sum(len(back(nat, udp(source, (PUBLIC, 4000)))) for source in sources) == passing
        assert back(nat, udp((FIRST, 1), (PUBLIC, 4001))) == []


def test_preserving_gives_way_where_the_port_is_taken() -> None:
    nat = box()
    assert seen(nat, (HOST, 4000), (FIRST, 1)) == (PUBLIC, 4000)
    assert seen(nat, (OTHER_HOST, 4000), (FIRST, 1))[1] != 4000


def test_incremental_counts_all_and_others_too() -> None:
    quiet, busy = (box(mapping="address-and-port", allocation="incremental", step=2, noise=noise) for noise in (0.0, 100.0))
    ports = [seen(quiet, (HOST, 4000), (FIRST, port))[1] for port in range(1, 50)]
    assert {(after - before) % 64512 for before, after in pairwise(ports)} == {2}
    gaps = [(seen(busy, (HOST, 4000), (FIRST, port), port / 10)[1]) for port in range(1, 200)]
    mean = sum((after - before) % 64512 for before, after in pairwise(gaps)) / 198
    assert mean == pytest.approx(2 * 11, rel=0.1), "one of its own and ten of others in a tenth of a second"


def test_chunks_belong_to_hosts() -> None:
    """RFC 7422 1: a block of ports for each subscriber."""
    nat = box(allocation="chunked", low=CHUNK_LOW, block=BLOCK)
    one = {seen(nat, (HOST, port), (FIRST, 1))[1] for port in range(4000, 4100)}
    two = {seen(nat, (OTHER_HOST, port), (FIRST, 1))[1] for port in range(4000, 4100)}
    assert all(CHUNK_LOW <= port < CHUNK_LOW + BLOCK for port in one)
    assert all(CHUNK_LOW + BLOCK <= port < CHUNK_LOW + 2 * BLOCK for port in two)
    for port in range(5000, 5000 + BLOCK):
        out(nat, udp((HOST, port), (FIRST, 1)))
    assert nat.counters["no-port"] > 0, "a block has an end"


def test_pools() -> None:
    """RFC 4787 4.1, REQ-2."""
    pool = tuple(f"44.0.9.{last}" for last in (1, 2, 3, 4))
    paired, arbitrary = box(*pool), box(*pool, pooling="arbitrary")
    assert len({seen(paired, (HOST, port), (FIRST, 1))[0] for port in range(4000, 4050)}) == 1
    assert seen(paired, (OTHER_HOST, 4000), (FIRST, 1))[0] != seen(paired, (HOST, 4000), (FIRST, 1))[0]
    assert {seen(arbitrary, (HOST, port), (FIRST, 1))[0] for port in range(4000, 4050)} == set(pool)


def test_lifetime_and_its_refreshing() -> None:
    """RFC 4787 4.3, REQ-6: outbound packets always refresh, inbound ones where the NAT says so."""
    for refresh, alive in ((True, 1), (False, 0)):
        nat = box(lifetime=30.0, filtering="endpoint", inbound_refresh=refresh)
        seen(nat, (HOST, 4000), (FIRST, 1), 0.0)
        assert len(back(nat, udp((FIRST, 1), (PUBLIC, 4000)), 29.0)) == 1
        assert len(back(nat, udp((FIRST, 1), (PUBLIC, 4000)), 58.0)) == alive
        seen(nat, (HOST, 4000), (FIRST, 1), 100.0)
        assert back(nat, udp((FIRST, 1), (PUBLIC, 4000)), 131.0) == []


def test_hairpin_shows_the_outside_endpoint() -> None:
    """RFC 4787 6, REQ-9: external source IP address and port."""
    nat = box(filtering="endpoint", allocation="random", hairpin=True)
    one, two = seen(nat, (HOST, 4000), (FIRST, 1)), seen(nat, (OTHER_HOST, 4000), (FIRST, 1))
    [(side, packet)] = out(nat, udp((OTHER_HOST, 4000), one))
    assert (side, packet[IP].dst, packet[UDP].dport) == (INSIDE, HOST, 4000)
    assert (packet[IP].src, packet[UDP].sport) == two
    assert out(box(filtering="endpoint"), udp((HOST, 4000), (PUBLIC, 4000))) == []


def test_the_answer_to_a_strangers_syn() -> None:
    """RFC 5382 REQ-4, RFC 9293 3.10.7.1."""
    syn = IP(src=FIRST, dst=PUBLIC) / TCP(sport=99, dport=4000, flags="S", seq=7)
    assert back(box(), syn) == []
    [(side, answer)] = back(box(unsolicited="rst"), syn)
    assert (side, answer[IP].dst, str(answer[TCP].flags), answer[TCP].ack, answer[TCP].sport) == (OUTSIDE, FIRST, "RA", 8, 4000)
    [(side, answer)] = back(box(unsolicited="icmp"), syn)
    assert (side, answer[IP].dst, answer[ICMP].type, answer[ICMP].code) == (OUTSIDE, FIRST, 3, 13)
    assert (answer[TCPerror].sport, answer[TCPerror].dport) == (99, 4000)
    later = IP(src=FIRST, dst=PUBLIC) / TCP(sport=99, dport=4000, flags="A")
    assert back(box(unsolicited="rst"), later) == []


def test_icmp_errors_find_their_way() -> None:
    """RFC 5508 REQ-4 and REQ-5: both addresses and the packet inside are translated, either way; a stranger's are dropped."""
    nat = box(allocation="random")
    [(_, sent)] = out(nat, udp((HOST, 4000), (FIRST, 53)))
    error = IP(src="44.0.0.254", dst=PUBLIC) / ICMP(type=11) / Raw(bytes(sent)[:28])
    [(side, received)] = back(nat, error)
    assert (side, received[IP].dst, received[ICMP].type) == (INSIDE, HOST, 11)
    assert (received[IPerror].src, received[UDPerror].sport, received[UDPerror].dport) == (HOST, 4000, 53)
    forged = bytes(sent)[:20] + bytes((0x11, 0x11)) + bytes(sent)[22:28]
    assert back(nat, IP(src="44.0.0.254", dst=PUBLIC) / ICMP(type=3, code=3) / Raw(forged)) == []

    [(_, arrived)] = back(nat, udp((FIRST, 53), (PUBLIC, sent[UDP].sport)))
    [(side, told)] = out(nat, IP(src=HOST, dst=FIRST) / ICMP(type=3, code=3) / Raw(bytes(arrived)[:28]))
    assert (side, told[IP].src, told[IPerror].dst, told[UDPerror].dport) == (OUTSIDE, PUBLIC, PUBLIC, sent[UDP].sport)


def test_echo() -> None:
    """RFC 5508 REQ-1: the identifier takes the place of the port."""
    nat = box(allocation="random")
    [(_, sent)] = out(nat, IP(src=HOST, dst=FIRST) / ICMP(id=77, seq=1) / Raw(b"ping"))
    assert sent[ICMP].id != 77
    [(side, received)] = back(nat, IP(src=FIRST, dst=PUBLIC) / ICMP(type=0, id=sent[ICMP].id, seq=1) / Raw(b"ping"))
    assert (side, received[IP].dst, received[ICMP].id) == (INSIDE, HOST, 77)


def test_what_it_does_not_know_is_counted() -> None:
    nat = box()
    for packet in (b"", b"\x45" * 19, bytes(IP(src=HOST, dst=FIRST, proto=47) / Raw(bytes(20))), b"\x60" + bytes(60)):
        assert list(nat.outward(bytearray(packet), 0.0)) == []
        assert list(nat.inward(bytearray(packet), 0.0)) == []
    assert nat.counters["not-translatable"] == 8


def test_it_is_fast_enough_for_tests() -> None:
    """Ten thousand packets a second and direction take less than a quarter of a core, whatever else this machine does."""
    nat, packet = box(mapping="address-and-port", allocation="random"), bytes(udp((HOST, 4000), (FIRST, 53), bytes(1200)))
    begun = time.process_time()
    for _ in range(10_000):
        for _ in nat.outward(bytearray(packet), 0.0):
            pass
    assert time.process_time() - begun < 0.25
