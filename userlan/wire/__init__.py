"""Bytes and values: the formats of the Internet's packets, with no state, no clock and no I/O.

Goals: one header is built and one is parsed for up to 64 KB of payload; every malformed packet ends in `WireError`,
never in another exception; a parser accepts exactly what a careful host accepts.

    errors        WireError
    numbers       protocol numbers and limits
    checksum      the Internet checksum
    ipv4 ipv6     headers, options, extension headers
    superpacket   SuperPacket, the unit of data of the whole program; parse, cut (GSO), join (GRO)
    coalesce      super-packets of one flow that came together, as one; datagram_run: what of datagrams `join` may join
    fragment      IP fragments of both versions: fields, building, putting together
    tcp udp       segments and datagrams
    icmp icmpv6   messages
    igmp mld      group membership; the values that they share are in membership
    ethernet arp ndp   frames, and who has an address on a link
    endpoint      addresses of the outer network, which the layers above share
    quote         the packet that an ICMP error quotes

    wire packets --join--> SuperPacket --tcp.parse_segment--> Segment (up to 64 KB)
    wire packets <--cut--- SuperPacket <------tcp.build------ Segment

Checksums: between own nodes the AEAD covers every octet, so `cut` leaves them zero and `join` does not look at them
(`verified`). Towards anybody else `cut` computes them, `join` checks TCP's before it joins, and `checksum.transport_ok`
checks those of single packets.

Limits: 65,535 octets a packet; 8 IPv6 extension headers and 1,024 octets of them; no jumbograms, no routing header of
type 0.
"""
