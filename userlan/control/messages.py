"""The messages: msgspec structs with a tag, each field with its greatest length.

Keys are raw X25519 public keys, addresses packed bytes, times wall-clock seconds since 1970, delays seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from userlan.lan import ports

#: The protocol that this code speaks; a change that an older reader cannot live with makes it one higher.
PROTOCOL_VERSION = 1
#: Virtual TCP port of the mediator's control service and of each node's peer control service.
CONTROL_PORT = ports.CONTROL
#: Members of one network. Bounds one ``NetworkState`` to about 300 KiB, below the frame's greatest length.
MAX_MEMBERS = 1024
#: Networks that one node may be in. Bounds what a login makes the mediator send.
MAX_NETWORKS = 64
#: Endpoints that one node may offer: a few interfaces with a few addresses each. Bounds a punch's fan-out.
MAX_CANDIDATES = 16
#: Ciphers that one node may name; there are two.
MAX_CIPHERS = 8
#: Applicants of one network that wait for its owner's word: more than anybody looks through. Bounds one ``Applicants`` to about 8 KiB.
MAX_APPLICANTS = 64
#: Bytes of an eviction document: 1024 members with a sealed secret of about 110 bytes each, and the evicted keys.
MAX_DOCUMENT = 256 * 1024

Key = Annotated[bytes, Meta(min_length=32, max_length=32)]
Ipv4 = Annotated[bytes, Meta(min_length=4, max_length=4)]
Token = Annotated[bytes, Meta(min_length=16, max_length=16)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Attestation = Annotated[bytes, Meta(min_length=16, max_length=64)]
Document = Annotated[bytes, Meta(min_length=1, max_length=MAX_DOCUMENT)]
Name = Annotated[str, Meta(min_length=1, max_length=63)]
Host = Annotated[str, Meta(max_length=64)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Number = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Request = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Serial = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Text = Annotated[str, Meta(max_length=1000)]
Agent = Annotated[str, Meta(max_length=100)]
Code = Annotated[str, Meta(max_length=40)]
Seconds = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Message(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="t"):
    """Base of everything that travels in a frame."""


# --- parts of messages -----------------------------------------------------------------------------------------------


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """One endpoint at which a node may be reached.

    ``host`` is a numeric IPv4 or IPv6 literal; it is empty only for kind ``colocated``: the member sits at the
    mediator's own address, so the reader puts in the address by which it reaches the mediator itself.
    ``kind``: ``local`` an address of one of its interfaces (sent by the node), ``observed`` the one from which the
    mediator's authenticated session comes (only the mediator says so), ``colocated`` as above, ``mapped`` one that a router
    gave by PCP, NAT-PMP or UPnP (sent by the node; the mediator names it to others only where it has the observed host).
    """

    host: Host
    port: Port
    transport: Literal["udp", "tcp"] = "udp"
    kind: Literal["local", "observed", "colocated", "mapped"] = "local"


CandidateList = Annotated[tuple[Candidate, ...], Meta(max_length=MAX_CANDIDATES)]


class MemberState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One member as a network's members see it. Its IPv6 address follows from its key.

    ``name`` is its name in this network (unique in it); ``last_seen`` is meant for members that are offline.
    """

    key: Key
    name: Name
    ipv4: Ipv4
    online: bool = False
    last_seen: float = 0.0
    kind: Annotated[str, Meta(max_length=16)] = "node"


class ApplicantState(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody who proved the secret of a network and waits for its owner's word; ``since``: wall-clock seconds."""

    key: Key
    name: Name
    since: float = 0.0


# --- both ways --------------------------------------------------------------------------------------------------------


class Ping(Message, frozen=True, tag="ping"):
    """Asks for a ``Pong`` with the same token, at once."""

    token: Number


class Pong(Message, frozen=True, tag="pong"):
    """Answers a ``Ping``."""

    token: Number


class Bye(Message, frozen=True, tag="bye"):
    """The sender ends the session in order: its members are told that it is offline at once."""

    reason: Text = ""


class EvictionNotice(Message, frozen=True, tag="eviction"):
    """A network's newest eviction document (``userlan.lan.eviction``), from the mediator or from a peer."""

    network: Name
    document: Document


# --- node → mediator --------------------------------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    """First message of a session.

    ``name`` is the nickname that the node wants; ``candidates`` are its interfaces' endpoints, UDP and TCP.
    ``oldest`` is the oldest protocol that it speaks (0: only ``version``). ``evictions`` are the serials of the newest
    evictions that it knows, by network: only newer ones are sent to it.
    """

    version: Number
    name: Name
    agent: Agent = ""
    candidates: CandidateList = ()
    oldest: Number = 0
    evictions: Annotated[dict[Name, Serial], Meta(max_length=MAX_NETWORKS)] = {}
    kind: Literal["node", "relay"] = "node"


class Candidates(Message, frozen=True, tag="candidates"):
    """Replaces the endpoints of ``Hello``: an interface came or went."""

    candidates: CandidateList = ()


class Create(Message, frozen=True, tag="create"):
    """Makes a network whose first member and owner is the sender.

    ``admission_public`` is the Ed25519 key to which joiners prove that they know the secret; ``attestation`` lets
    members, who know the secret, check that ``owner_signing_public`` is the owner's.
    """

    request: Request
    network: Name
    admission_public: Key
    owner_signing_public: Key
    attestation: Attestation


class CreateWithApproval(Create, frozen=True, tag="create-approval"):
    """As ``Create``, of a network whose new members the owner approves one by one.

    Why a message of its own and no field of ``Create``: a mediator of before passes over a field that it does not know, and would make a
    network that is open to all who have the secret. A message that it does not know it refuses, with the request's number.
    """


class Join(Message, frozen=True, tag="join"):
    """Asks to become a member; answered by ``Challenge`` (or ``Done`` at once when it is one already)."""

    request: Request
    network: Name


class Prove(Message, frozen=True, tag="prove"):
    """Answers ``Challenge``: the admission key's signature over it (``NetworkSecret.sign_admission``).

    Where the owner approves new members it is refused with ``waiting``, and ``Applied`` before it: the application stands. A node that
    does not know that code shows its user the text, and is a member at its next ``Join`` after the owner's word.
    """

    request: Request
    signature: Signature


class Leave(Message, frozen=True, tag="leave"):
    """Ends the sender's membership, or its application. A network without members ceases to exist."""

    request: Request
    network: Name


class Nick(Message, frozen=True, tag="nick"):
    """Renames the sender in all its networks; refused with ``name-taken`` when one has that name already."""

    request: Request
    name: Name


class Lock(Message, frozen=True, tag="lock"):
    """The owner closes (or opens) the network to new members."""

    request: Request
    network: Name
    locked: bool


class Approve(Message, frozen=True, tag="approve"):
    """The owner takes an applicant in."""

    request: Request
    network: Name
    key: Key


class Deny(Message, frozen=True, tag="deny"):
    """The owner does not."""

    request: Request
    network: Name
    key: Key


class Evict(Message, frozen=True, tag="evict"):
    """The owner's signed eviction document: removes the members it names and replaces the admission key."""

    request: Request
    network: Name
    document: Document


class Meet(Message, frozen=True, tag="meet"):
    """Asks for an introduction to a peer now: a packet waits for it, or its tunnel fell silent."""

    peer: Key


# --- mediator → node --------------------------------------------------------------------------------------------------


class Welcome(Message, frozen=True, tag="welcome"):
    """Answers ``Hello``.

    ``ipv4`` is the node's address for life, ``range`` the network of all such addresses (``"25.0.0.0/8"``),
    ``observed`` the endpoint from which its datagrams come, ``wall`` the mediator's wall clock,
    ``networks`` the names of all networks that it is in: a ``NetworkState`` for each follows.
    ``name`` is the nickname on record; a network in which another member has it calls the node ``name-2`` and so on,
    as its own entry in ``NetworkState.members`` says.
    """

    version: Number
    name: Name
    ipv4: Ipv4
    range: Annotated[str, Meta(max_length=18)]
    observed: Candidate
    wall: float = 0.0
    networks: Annotated[tuple[Name, ...], Meta(max_length=MAX_NETWORKS)] = ()
    agent: Agent = ""


class NetworkState(Message, frozen=True, tag="network"):
    """A network as a whole: replaces all that the node knew of it. ``serial`` is that of its newest eviction; ``approval``: its owner
    approves new members."""

    network: Name
    owner: Key
    owner_signing_public: Key
    attestation: Attestation
    members: Annotated[tuple[MemberState, ...], Meta(max_length=MAX_MEMBERS)] = ()
    locked: bool = False
    serial: Serial = 0
    approval: bool = False


class NetworkLocked(Message, frozen=True, tag="locked"):
    """The owner closed (or opened) the network to new members."""

    network: Name
    locked: bool


class Applied(Message, frozen=True, tag="applied"):
    """The receiver's application stands, since when, and for whose word it waits. The ``Refused`` of its ``Prove`` follows."""

    network: Name
    owner: Key
    owner_name: Annotated[str, Meta(max_length=63)] = ""
    since: float = 0.0


class ApplicationEnded(Message, frozen=True, tag="application-ended"):
    """The receiver's application is no more and was not approved. ``code``: ``denied`` or ``wrong-secret`` (the secret was replaced)."""

    network: Name
    code: Code
    text: Text = ""


class Applicants(Message, frozen=True, tag="applicants"):
    """All that wait for the receiver's word, who owns the network; at login, and whenever it is another list."""

    network: Name
    applicants: Annotated[tuple[ApplicantState, ...], Meta(max_length=MAX_APPLICANTS)] = ()


class Observed(Message, frozen=True, tag="observed"):
    """The endpoint from which the receiver's datagrams come changed since ``Welcome``."""

    observed: Candidate


class MemberChanged(Message, frozen=True, tag="member"):
    """A member is new, renamed, came online or went offline."""

    network: Name
    member: MemberState


class MemberGone(Message, frozen=True, tag="gone"):
    """Somebody is no member any more. ``reason``: ``left`` or ``evicted``."""

    network: Name
    key: Key
    reason: Code = "left"


class NetworkGone(Message, frozen=True, tag="network-gone"):
    """The receiver is no member any more. ``reason``: ``left`` or ``evicted``."""

    network: Name
    reason: Code = "left"


class Challenge(Message, frozen=True, tag="challenge"):
    """Answers ``Join``: what ``Prove`` must sign."""

    request: Request
    nonce: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Done(Message, frozen=True, tag="done"):
    """A request was carried out, durably. ``name``: for ``Create`` and ``Join`` the member's own name there."""

    request: Request
    name: Annotated[str, Meta(max_length=63)] = ""


class Refused(Message, frozen=True, tag="refused"):
    """A request was not carried out and changed nothing; ``text`` is one line for people.

    ``request`` is 0 when it concerns no numbered request (``Hello``, ``Meet``, a message that could not be read).
    Codes: ``userlan.control.refusals``.
    """

    request: Number
    code: Code
    text: Text = ""


# --- node ↔ node ------------------------------------------------------------------------------------------------------


class PeerHello(Message, frozen=True, tag="peer-hello"):
    """First message on a connection between members: the serial of the newest eviction known of each common network.

    The side that knows a newer one answers with its ``EvictionNotice``. ``proofs`` show for each common network that the sender knows its
    secret (``NetworkSecret.prove_membership``): a tunnel shows that for one network only. ``ciphers`` are the tunnel's ciphers that the
    sender takes beside ChaCha20-Poly1305, which all take (an older program says none); unknown ones are passed over.
    """

    version: Number
    evictions: Annotated[dict[Name, Serial], Meta(max_length=MAX_NETWORKS)] = {}
    proofs: Annotated[dict[Name, Key], Meta(max_length=MAX_NETWORKS)] = {}
    agent: Agent = ""
    ciphers: Annotated[tuple[Code, ...], Meta(max_length=MAX_CIPHERS)] = ()
