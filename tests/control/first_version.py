"""Frames as the first version wrote them, and what of its vocabulary there was: a reader of before the messages that came since.

``FROM_NODE`` and ``FROM_MEDIATOR`` were recorded from that program, message by message.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from userlan.control.frames import MAX_FRAME, Framer
from userlan.control.meeting import (
    Introduce,
    Measure,
    Outcome,
    PoolKey,
    Reachability,
    Reflect,
    RelayDelays,
    RelayOffers,
    RelayPool,
    Serve,
    Sighted,
    Vantages,
)
from userlan.control.messages import (
    MAX_MEMBERS,
    Attestation,
    Bye,
    Candidates,
    Challenge,
    Create,
    Done,
    Evict,
    EvictionNotice,
    Hello,
    Join,
    Key,
    Leave,
    Lock,
    Meet,
    MemberChanged,
    MemberGone,
    MemberState,
    Message,
    Name,
    NetworkGone,
    NetworkLocked,
    Nick,
    Observed,
    Ping,
    Pong,
    Prove,
    Refused,
    Serial,
    Welcome,
)


class FirstNetworkState(Message, frozen=True, tag="network"):
    """``NetworkState`` without what came since."""

    network: Name
    owner: Key
    owner_signing_public: Key
    attestation: Attestation
    members: Annotated[tuple[MemberState, ...], Meta(max_length=MAX_MEMBERS)] = ()
    locked: bool = False
    serial: Serial = 0


FirstFromNode = (
    Hello | Candidates | Create | Join | Prove | Leave | Nick | Lock | Evict | Meet
    | Reachability | Sighted | Outcome | RelayDelays | Serve | Ping | Pong | Bye
)  # fmt: skip
FirstFromMediator = (
    Welcome | FirstNetworkState | NetworkLocked | Observed | MemberChanged | MemberGone | NetworkGone | EvictionNotice | Challenge
    | Introduce | Measure | Vantages | RelayPool | RelayOffers | PoolKey | Reflect | Done | Refused | Ping | Pong | Bye
)  # fmt: skip


def first_mediator_framer(limit: int = MAX_FRAME) -> Framer[FirstFromNode]:
    """What a mediator of the first version reads."""
    return Framer(msgspec.msgpack.Decoder(FirstFromNode), limit)


def first_node_framer(limit: int = MAX_FRAME) -> Framer[FirstFromMediator]:
    """What a node of the first version reads."""
    return Framer(msgspec.msgpack.Decoder(FirstFromMediator), limit)


FROM_NODE = {
    "Hello": (
        "0000006c87a174a568656c6c6fa776657273696f6e01a46e616d65a36e6173a56167656e74ab757365726c616e20302e35aa63616e6469"
        "64617465739182a4686f7374ab3139322e3136382e312e32a4706f7274cda1c6a66f6c6465737401a96576696374696f6e7381a4686f6d"
        "6502"
    ),
    "Create": (
        "000000b886a174a6637265617465a77265717565737407a76e6574776f726ba4686f6d65b061646d697373696f6e5f7075626c6963c420"
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fb46f776e65725f7369676e696e675f7075626c6963c420"
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fab6174746573746174696f6ec420000102030405060708"
        "090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    ),
    "Join": "0000001e83a174a46a6f696ea77265717565737408a76e6574776f726ba4686f6d65",
    "Prove": (
        "0000005e83a174a570726f7665a77265717565737408a97369676e6174757265c440000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    ),
    "Leave": "0000001f83a174a56c65617665a77265717565737409a76e6574776f726ba4686f6d65",
    "Nick": "0000001983a174a46e69636ba7726571756573740aa46e616d65a27063",
    "Lock": "0000002684a174a46c6f636ba7726571756573740ba76e6574776f726ba4686f6d65a66c6f636b6564c3",
    "Evict": "0000003284a174a56576696374a7726571756573740ca76e6574776f726ba4686f6d65a8646f63756d656e74c408646f63756d656e74",
    "Meet": "0000002f82a174a46d656574a470656572c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
}
FROM_MEDIATOR = {
    "Welcome": (
        "0000009789a174a777656c636f6d65a776657273696f6e01a46e616d65a36e6173a469707634c40419010203a572616e6765aa32352e30"
        "2e302e302f38a86f6273657276656483a4686f7374a93139322e302e322e37a4706f7274cda1c6a46b696e64a86f62736572766564a477"
        "616c6ccb4029000000000000a86e6574776f726b7391a4686f6d65a56167656e74ab757365726c616e20302e35"
    ),
    "NetworkState": (
        "0000011488a174a76e6574776f726ba76e6574776f726ba4686f6d65a56f776e6572c420000102030405060708090a0b0c0d0e0f101112"
        "131415161718191a1b1c1d1e1fb46f776e65725f7369676e696e675f7075626c6963c420000102030405060708090a0b0c0d0e0f101112"
        "131415161718191a1b1c1d1e1fab6174746573746174696f6ec420000102030405060708090a0b0c0d0e0f101112131415161718191a1b"
        "1c1d1e1fa76d656d626572739185a36b6579c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fa46e61"
        "6d65a36e6173a469707634c40419010203a66f6e6c696e65c3a96c6173745f7365656ecb4029000000000000a66c6f636b6564c3a67365"
        "7269616c04"
    ),
    "NetworkLocked": "0000001f83a174a66c6f636b6564a76e6574776f726ba4686f6d65a66c6f636b6564c2",
    "MemberChanged": (
        "0000005983a174a66d656d626572a76e6574776f726ba4686f6d65a66d656d62657283a36b6579c420000102030405060708090a0b0c0d"
        "0e0f101112131415161718191a1b1c1d1e1fa46e616d65a36e6173a469707634c40419010203"
    ),
    "MemberGone": (
        "0000003b83a174a4676f6e65a76e6574776f726ba4686f6d65a36b6579c420000102030405060708090a0b0c0d0e0f1011121314151617"
        "18191a1b1c1d1e1f"
    ),
    "NetworkGone": "0000002c83a174ac6e6574776f726b2d676f6e65a76e6574776f726ba4686f6d65a6726561736f6ea765766963746564",
    "Challenge": (
        "0000003e83a174a96368616c6c656e6765a77265717565737408a56e6f6e6365c420000102030405060708090a0b0c0d0e0f1011121314"
        "15161718191a1b1c1d1e1f"
    ),
    "Done": "0000001a83a174a4646f6e65a77265717565737408a46e616d65a36e6173",
    "Refused": (
        "0000003484a174a772656675736564a77265717565737408a4636f6465a66c6f636b6564a474657874ae686f6d65206973206c6f636b65"
        "64"
    ),
    "EvictionNotice": "0000002c83a174a86576696374696f6ea76e6574776f726ba4686f6d65a8646f63756d656e74c408646f63756d656e74",
    "Observed": (
        "0000003b82a174a86f62736572766564a86f6273657276656483a4686f7374a93139322e302e322e37a4706f7274cda1c6a46b696e64a8"
        "6f62736572766564"
    ),
}
