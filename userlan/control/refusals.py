"""Why a request was refused: the codes of ``Refused.code``, for programs; ``text`` is for people."""

from __future__ import annotations

from typing import Final

#: The node and the mediator speak no common protocol version.
PROTOCOL_VERSION: Final = "protocol-version"
#: The first message of a session was not ``Hello``, or ``Hello`` came twice, or ``Prove`` without a challenge.
OUT_OF_ORDER: Final = "out-of-order"
#: A frame held no message that the mediator knows.
UNKNOWN_MESSAGE: Final = "unknown-message"
#: A frame held a message with a missing or wrong field.
MALFORMED_MESSAGE: Final = "malformed-message"
#: Messages come faster than a session may send them; try again after some seconds.
TOO_MANY_REQUESTS: Final = "too-many-requests"
#: Too many failed joins by this node or from its address; the text says how long to wait.
TOO_MANY_ATTEMPTS: Final = "too-many-attempts"
#: No network of this name exists on the mediator.
NO_SUCH_NETWORK: Final = "no-such-network"
#: A network of this name exists already.
NETWORK_EXISTS: Final = "network-exists"
#: The proof of the secret is wrong: wrong password or invite, or one from before an eviction.
WRONG_SECRET: Final = "wrong-secret"
#: A challenge was answered too late.
CHALLENGE_EXPIRED: Final = "challenge-expired"
#: The owner closed the network to new members.
LOCKED: Final = "locked"
#: The secret is right, and the owner was asked: its word makes the node a member, whenever it comes.
WAITING: Final = "waiting"
#: The owner has denied the application.
DENIED: Final = "denied"
#: Nobody with this key waits for the owner's word.
NO_SUCH_APPLICANT: Final = "no-such-applicant"
#: The owner evicted this node from the network.
EVICTED: Final = "evicted"
#: The network has as many members, or the node as many networks, or the mediator as many of either, as allowed.
FULL: Final = "full"
#: Another member of one of the node's networks has this name.
NAME_TAKEN: Final = "name-taken"
#: A nickname or a network's name breaks the rules for names.
BAD_NAME: Final = "bad-name"
#: The sender is no member of this network.
NOT_A_MEMBER: Final = "not-a-member"
#: Only the network's owner may do this.
NOT_THE_OWNER: Final = "not-the-owner"
#: An eviction document does not verify or does not fit.
BAD_EVICTION: Final = "bad-eviction"
#: An eviction document is not newer than the one on record.
STALE_EVICTION: Final = "stale-eviction"
#: An introduction was asked for to a node that shares no network with the sender.
NO_SUCH_PEER: Final = "no-such-peer"
#: The mediator's directory could not be written; nothing was changed.
UNAVAILABLE: Final = "unavailable"
