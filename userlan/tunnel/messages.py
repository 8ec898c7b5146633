"""Layout of the four messages (white paper, section 5.4). Integers are little-endian.

    initiation, 148 bytes          response, 92 bytes            cookie reply, 64 bytes       transport data
     0  1  type = 1                 0  1  type = 2                0  1  type = 3               0  1  type = 4
     1  3  reserved, zero           1  3  reserved, zero          1  3  reserved, zero         1  3  reserved, zero
     4  4  sender index             4  4  sender index            4  4  receiver index         4  4  receiver index
     8 32  ephemeral key            8  4  receiver index          8 24  nonce                  8  8  counter
    40 48  static key, sealed      12 32  ephemeral key          32 32  cookie, sealed        16  n  packet, sealed
    88 28  timestamp, sealed       44 16  nothing, sealed
   116 16  mac1                    60 16  mac1
   132 16  mac2                    76 16  mac2

Own nodes that both have the instructions for AES use the same layouts with AES-256-GCM (`suites.py`) under types of their own, the
reserved bytes zero as well: 5 for the initiation, 6 for the response, 8 for transport data, whose counter is big-endian, since it is
the nonce of Noise's AESGCM as it stands. The cookie reply stays 3: it is sealed with XChaCha20-Poly1305 in any case, and the index says
which message it answers. mac1 and mac2 are computed as ever, with the same labels: the type is among the bytes that they cover, and
mac1 proves knowledge of the receiver's public key, nothing that depends on the suite. Every WireGuard drops 5, 6 and 8 as unknown, and
they are below the first bytes that DTLS, STUN and RTP are told apart by (RFC 9443).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

INITIATION = 1
RESPONSE = 2
COOKIE_REPLY = 3
TRANSPORT = 4

INITIATION_SIZE = 148
RESPONSE_SIZE = 92
COOKIE_REPLY_SIZE = 64
TRANSPORT_HEADER = 16
TRANSPORT_MINIMUM = 32
"""An empty packet: header and tag. It is the keepalive."""
TRANSPORT_OVERHEAD = 32

MAC_SIZE = 16
MACS_SIZE = 2 * MAC_SIZE

TYPE_INITIATION = b"\x01\0\0\0"
TYPE_RESPONSE = b"\x02\0\0\0"
TYPE_COOKIE_REPLY = b"\x03\0\0\0"
TYPE_TRANSPORT = b"\x04\0\0\0"

AES_INITIATION = 5
AES_RESPONSE = 6
AES_TRANSPORT = 8


class Types(NamedTuple):
    """The first four bytes of the messages that depend on the suite."""

    initiation: bytes
    response: bytes
    transport: bytes


CHACHA_TYPES = Types(TYPE_INITIATION, TYPE_RESPONSE, TYPE_TRANSPORT)
AES_TYPES = Types(b"\x05\0\0\0", b"\x06\0\0\0", b"\x08\0\0\0")
INITIATION_TYPES = frozenset((CHACHA_TYPES.initiation, AES_TYPES.initiation))
RESPONSE_TYPES = frozenset((CHACHA_TYPES.response, AES_TYPES.response))
TRANSPORT_TYPES = (CHACHA_TYPES.transport, AES_TYPES.transport)

INITIATION_BODY = struct.Struct("<4s4s32s48s28s")
RESPONSE_BODY = struct.Struct("<4s4s4s32s16s")
COOKIE_REPLY_BODY = struct.Struct("<4s4s24s32s")
