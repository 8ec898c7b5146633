"""What of a host can be set, with the reason for each default."""

from __future__ import annotations

from dataclasses import dataclass, field

from userlan.stack.tcp.config import Config as TcpConfig


@dataclass(frozen=True)
class HostConfig:
    """Limits and defaults of one host. Sizes in octets, rates in packets a second."""

    mtu: int = 1420
    """Of the LAN: an outer MTU of 1500 less IPv6, UDP and the tunnel's 32 octets, as WireGuard's own default."""
    hop_limit: int = 64
    """Of outgoing packets (RFC 1700; IANA "IP Option Numbers")."""
    max_connections: int = 16_384
    """TCP connections of any state: at some kilobytes each an idle flood stays under 100 MB."""
    max_time_wait: int = 4_096
    """Connections in TIME-WAIT; the oldest goes first, so that a peer cannot hold memory by opening and closing."""
    tcp_memory: int = 50_331_648
    """Octets that all TCP connections buffer (``userlan.stack.tcp.memory``): 48 MiB, of which a single one gets half, twice
    the product of 1 Gbit/s and 100 ms; a process that holds it all stays under 120 MB."""
    max_udp_sockets: int = 4_096
    """Sockets that the program can open: as many as a SOCKS client could ask for by UDP ASSOCIATE."""
    udp_queue_datagrams: int = 1_024
    udp_queue_bytes: int = 1_048_576
    """Of one socket, received and not read: a flood of small ones hits the first, of large ones the second."""
    outgoing_bytes: int = 4_194_304
    """UDP and ICMP packets made and not yet drained: a program that sends in a loop cannot fill the memory."""
    icmp_errors_a_second: float = 100.0
    icmp_error_burst: int = 50
    """The token bucket of ICMP errors (RFC 4443 2.4(f); Linux: 1000 and 50 for a whole computer)."""
    echoes_a_second: float = 1_000.0
    echo_burst: int = 200
    """Echo requests that are answered: a flood of pings costs no more than this (RFC 4732 2.1.2)."""
    broadcast_echoes_a_second: float = 10.0
    broadcast_echo_burst: int = 20
    """Of those to everybody: each makes every host answer, so that a forged source would be hit by all at once (RFC 2644 1)."""
    max_echo_outstanding: int = 1_024
    """Own echo requests that wait for an answer."""
    max_memberships: int = 1_024
    """Groups that sockets have joined, each socket's counted: ten times what discovery protocols need together."""
    max_group_sources: int = 64
    """Sources in one membership's filter (Linux: ``mld_max_msf``): with all memberships, under 10 MB."""
    group_answers_a_second: float = 20.0
    group_answer_burst: int = 100
    """Reports that queries may call forth, for each of IGMP and MLD: a forged query is far smaller than the answer with
    every group, and that goes to everybody. The burst is one answer about all memberships with a few sources each."""
    tcp: TcpConfig = field(default_factory=TcpConfig)
    """For connections that are not given a configuration of their own."""
