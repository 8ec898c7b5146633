"""Constants of the protocol (white paper, section 6 and 5.4) and, apart from them, limits of this implementation."""

from __future__ import annotations

# --- The protocol's: WireGuard white paper, section 6.1, table of constants. Seconds unless said otherwise.

REKEY_AFTER_MESSAGES = 2**60  # messages sealed with one key before the session is renewed
REJECT_AFTER_MESSAGES = 2**64 - 2**13 - 1  # messages: from here on the key neither seals nor opens
REKEY_AFTER_TIME = 120.0  # the initiator renews a session of this age when it sends
REJECT_AFTER_TIME = 180.0  # a session of this age neither seals nor opens
REKEY_ATTEMPT_TIME = 90.0  # unanswered initiations are repeated for so long
REKEY_TIMEOUT = 5.0  # an unanswered initiation is repeated after this, plus jitter
REKEY_TIMEOUT_JITTER = 0.334  # the most that is added at random, so that two initiators fall out of step
KEEPALIVE_TIMEOUT = 10.0  # data received and nothing sent for so long: an empty message is sent
COOKIE_LIFETIME = 120.0  # a cookie's secret is replaced, and a cookie forgotten, after this
COOKIE_LATENCY = 5.0  # how much earlier the holder of a cookie forgets it (kernel: COOKIE_SECRET_LATENCY)
INITIATION_INTERVAL = 0.020  # one peer's initiations are answered no faster (kernel: INITIATIONS_PER_SECOND = 50)
ZERO_KEY_MATERIAL_TIME = 3 * REJECT_AFTER_TIME  # no new session for so long: every key of the peer is dropped
NEW_HANDSHAKE_TIMEOUT = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT  # data sent and nothing came back for so long: handshake
RENEW_ON_RECEIVE_TIME = REJECT_AFTER_TIME - NEW_HANDSHAKE_TIMEOUT  # receiving, too, renews at this age
HANDSHAKE_ATTEMPTS = int(REKEY_ATTEMPT_TIME / REKEY_TIMEOUT)  # kernel: MAX_TIMER_HANDSHAKES
PADDING = 16  # bytes: plaintexts are padded to a multiple (section 5.4.6)

# AES-256-GCM has blocks of 128 bits, and an attacker's advantage in telling its output from noise grows with the square of those under one
# key: q messages of L blocks give q² (L + 1)² / 2^129 (draft-irtf-cfrg-aead-limits, single key, section 5.1). REJECT_AFTER messages of
# 1,500 bytes (L = 94): 2^-61.9, within the 2^-60 of RFC 9147, 4.5.3; of 64 KB (L = 4096): 2^-51, within the draft's 2^-50. The time limit
# comes first: in 180 s a line of 10 Gbit/s carries 2^27.2 of the small ones (they renew after 76 s), 2^21.7 of the large ones.
# Forgeries: v tries give 2 v (L + 1) / 2^128; 2^-57 (RFC 9147) would take 2^58 datagrams of 64 KB within those 180 s, so none are counted.
REKEY_AFTER_GCM_MESSAGES = 2**26  # messages sealed with one key of AES-256-GCM before the session is renewed
REJECT_AFTER_GCM_MESSAGES = 2**27  # messages: from here on that key neither seals nor opens

KEY_SIZE = 32  # bytes: keys, hashes, pre-shared keys
TAG_SIZE = 16  # bytes: the AEADs' tag, mac1, mac2, cookie
TIMESTAMP_SIZE = 12  # bytes: TAI64N

# --- This implementation's.

INNER_MTU = 1420  # bytes: default of the LAN; 1500 - 40 (IPv6) - 8 (UDP) - 32 (transport message)
MAX_DATAGRAM = 65_535  # bytes: an IP packet or a TCP frame cannot carry more
BURST_BYTES = 65_507  # bytes: the largest UDP payload over IPv4, and with it the largest GSO call
BURST_SEGMENTS = 64  # datagrams: Linux UDP_MAX_SEGMENTS before 6.9
QUEUED_BYTES = 32 << 20  # bytes that wait for ways out, all peers together: a node stays small whatever its peers do not take
QUEUED_SHARE = 64 << 10  # bytes that a peer may have waiting when all together have too much
DRAIN_BYTES = 256 << 10  # bytes sealed in one call of datagrams(): about a millisecond; then sockets are read again
LARGE_INTERVAL = 0.5  # seconds between two events that large packets are being sent
LARGE_PACKET = 1024  # bytes: a path that carries inner packets of no more is no subject of a search (`traversal.path_mtu`)
BULK_STALL = 0.5  # seconds in which a full bulk way took nothing: some retransmissions of its kernel went unanswered (0.2 s on)
WAY_INTERVAL = 1.0  # seconds between two events that a peer comes by another way: it may have many, and sends thousands of packets
KNOWN_WAY_INTERVAL = 0.25  # seconds, the same, for a way that the owner knows: it may have to follow the peer there
MAX_WAYS = 16  # known ways to a steered peer: more than an owner keeps of one peer, and a look-up costs the same
ANSWERED_WITHIN = 0.15  # seconds after a packet of the peer's for which what leaves may be its answer, and need none itself
FLOWING_BYTES = 192  # bytes of datagrams that came together: a flow, that is missed when it stops; no ACK, and no echo of liveness
FLOW_PATIENCE = 1.5  # times PATH_PATIENCE that it may pause
PATH_PATIENCE = 0.5  # seconds after data left for which a steered peer may be silent: more than most round trips and delayed ACKs
DATAGRAM_SILENCE = 8.0  # seconds without a datagram by UDP (an echo, three repeats): then a peer is where its TCP comes from
OUTGOING_BURSTS = 8192  # bursts not yet drained by the driver: it drains every turn; more means it is stuck
OUTGOING_BYTES = 64 << 20  # bytes of them
EVENTS_LIMIT = 4096  # events not yet drained: a peer that roams with every packet must not fill the memory
STAGED_PACKETS = 128  # super-packets that wait for a session, for one peer (kernel: MAX_STAGED_PACKETS)
STAGED_BYTES = 1 << 20  # bytes that wait for a session, for one peer: it may stay offline for long
INITIATE_SPACING = 0.025  # seconds between our initiations to one peer: INITIATION_INTERVAL and room for jitter
OUTSTANDING_INITIATIONS = 8  # unanswered initiations that a late response may still complete, for one peer
SESSIONS_NEXT = 8  # responder's sessions not yet confirmed, for one peer: as many as the initiator keeps outstanding
SESSIONS_PREVIOUS = 16  # superseded sessions still opened, for one peer: a crossing of two full sets of initiations
PRESHARED_KEYS = 8  # candidates tried on a response: several shared networks, old and new secret of each
INITIATE_ENDPOINTS = 64  # endpoints that one call of initiate() may address: the ports of one prediction window
UNKNOWN_PEERS = 4096  # peers taken in by accept_unknown
UNKNOWN_HALF_OPEN_TIME = REKEY_TIMEOUT  # an unknown peer that has not confirmed for so long makes room first
UNKNOWN_IDLE_TIME = REJECT_AFTER_TIME  # an unknown peer that was silent for so long makes room next
UNDER_LOAD_RATE = 250.0  # handshake messages a second: about a tenth of one core; above it cookies are asked for
UNDER_LOAD_TIME = 1.0  # seconds that the state lasts after the last excess (wireguard-go: UnderLoadAfterTime)
SOURCE_RATE = 20.0  # handshake messages a second from one proven address under load (kernel: PACKETS_PER_SECOND)
SOURCE_BURST = 5.0  # messages at once from it (kernel: PACKETS_BURSTABLE)
SOURCES_LIMIT = 8192  # addresses remembered under load; past it newcomers wait (kernel: max_entries)
SEND_MARGIN = REKEY_TIMEOUT  # a session is not used so long before its end: the peer's clock of it runs a bit ahead
AES_REFUSALS = 3  # initiations in AES overtaken by others before the peer's word that it takes AES is doubted: loss hardly does that
UPGRADE_PATIENCE = 1.0  # seconds that the responder of a session leaves to the initiator to renew it in the better suite
REPLAY_WINDOW_BITS = 8192  # bits of the replay window (kernel: COUNTER_BITS_TOTAL)
TIMESTAMP_RESERVE = 60.0  # seconds of timestamps covered by one TimestampAdvanced: spares a disk write a handshake
