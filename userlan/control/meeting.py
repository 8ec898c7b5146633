"""The messages of meeting: what nodes, mediators and relays say so that two members find a way to each other."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from userlan.control.messages import (
    MAX_CANDIDATES,
    MAX_CIPHERS,
    Candidate,
    CandidateList,
    Code,
    Fraction,
    Host,
    Key,
    Message,
    Name,
    Number,
    Port,
    Seconds,
    Token,
)
from userlan.traversal.nat import NatBehaviour
from userlan.traversal.step import Plan

#: Relays of one mediator's pool: a node measures its delay to each.
MAX_RELAYS = 64
#: Relays named for one pair, the best first.
MAX_OFFERS = 3
#: Endpoints of one relay or mediator: two families, two addresses, a few ports each, UDP and TCP.
MAX_ENDPOINTS = 16
#: Own sockets from which one measurement is taken.
MAX_MEASURED = 64
#: Proofs of endpoints in one message: one for each family.
MAX_PROOFS = 2


class ServerEndpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a mediator or relay listens; ``host`` is numeric."""

    host: Host
    port: Port
    transport: Literal["udp", "tcp"] = "udp"


EndpointList = Annotated[tuple[ServerEndpoint, ...], Meta(max_length=MAX_ENDPOINTS)]


class RelayInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One relay of the pool. ``load`` is the part of its capacity in use."""

    key: Key
    name: Name
    endpoints: EndpointList
    region: Code = ""
    load: Fraction = 0.0


class RelayOffer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A pair's allocation on one relay: ``userlan.control.grants`` says what ``grant`` holds and how ``secret`` follows.

    ``channel`` is the same for both ends; ``secret`` is the receiver's own and proves to the relay that it is the end it says.
    ``delay``: seconds, RTT(a, r) + RTT(b, r) as the mediator knows it, 0: unknown.
    """

    relay: RelayInfo
    grant: Annotated[bytes, Meta(max_length=256)]
    channel: Annotated[bytes, Meta(min_length=8, max_length=8)]
    secret: Key
    delay: Seconds = 0.0


OfferList = Annotated[tuple[RelayOffer, ...], Meta(max_length=MAX_OFFERS)]


# --- node or relay → mediator -----------------------------------------------------------------------------------------


class Reachability(Message, frozen=True, tag="reachability"):
    """What the sender's NAT does, as it measured; again whenever that changes."""

    nat: NatBehaviour


class Proof(msgspec.Struct, frozen=True):
    """The sender can be reached at ``endpoint``: the mediator's own vantage saw it there, and sent this ``cookie`` there
    (``userlan.traversal.observation``)."""

    endpoint: ServerEndpoint
    cookie: Annotated[bytes, Meta(min_length=8, max_length=8)]


class Sighted(Message, frozen=True, tag="sighted"):
    """Where the sender is seen by UDP beside its session, each with its proof; replaces what was said before. To be said again before
    the cookies are too old, and to nobody whose ``Vantages`` do not take ``proofs``."""

    proofs: Annotated[tuple[Proof, ...], Meta(max_length=MAX_PROOFS)] = ()


class Outcome(Message, frozen=True, tag="outcome"):
    """What came of an introduction, by its token: the mediator learns which plan works for which pair of NATs.

    ``path`` is the word of ``status`` (``none``: it failed); ``seconds`` from the common start; ``packets`` that the sender spent.
    ``observed``: the endpoint at which the peer was really met, where it was none of those that were named.
    """

    peer: Key
    token: Token
    path: Code
    technique: Code = ""
    seconds: Seconds = 0.0
    packets: Number = 0
    observed: ServerEndpoint | None = None


class RelayDelays(Message, frozen=True, tag="relay-delays"):
    """Round trips in seconds to relays of the pool, by their keys; one that does not answer is left out."""

    delays: Annotated[dict[Key, Seconds], Meta(max_length=MAX_RELAYS)]


class Serve(Message, frozen=True, tag="serve"):
    """A relay (``Hello.kind``) joins the pool, or brings up to date what is known of it.

    ``capacity``: bits a second; ``load``: the part of it in use; ``clients``: allocations.
    """

    endpoints: EndpointList
    region: Code = ""
    capacity: Seconds = 0.0
    load: Fraction = 0.0
    clients: Number = 0


# --- mediator → node or relay -----------------------------------------------------------------------------------------


class Introduce(Message, frozen=True, tag="introduce"):
    """Both ends of a pair are told of each other at once.

    The first packets to all ``candidates`` leave ``delay`` seconds after receipt: each side has its own delay, so
    that they leave at one moment. ``token`` is the same for both sides and names this introduction.
    """

    peer: Key
    candidates: Annotated[tuple[Candidate, ...], Meta(max_length=MAX_CANDIDATES + 2)]
    delay: Seconds
    token: Token
    plan: Plan = Plan()
    relays: OfferList = ()
    first: bool = True


class Measure(Message, frozen=True, tag="measure"):
    """Open ``sockets`` fresh sockets and ask the mediator's ``vantages`` from each where it is seen, at once, in order.

    ``pause``: seconds after which the second half of them is opened: what others took of an incremental NAT's ports meanwhile says how busy
    it is.

    The requests carry the token's tag, so that the mediator itself sees the answer; an ``Introduce`` of the same token may follow, whose
    plan uses those sockets. Otherwise they are closed after ``MEASURED_FOR`` (``userlan.node.punching``).
    """

    token: Token
    sockets: Annotated[int, Meta(ge=1, le=MAX_MEASURED)]
    vantages: EndpointList
    transport: Literal["udp", "tcp"] = "udp"
    pause: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Vantages(Message, frozen=True, tag="vantages"):
    """Where the mediator can be asked from where one is seen (``userlan.traversal.observation``): its own ports and addresses.

    ``others``: other hosts (relays) that help with the filter's test, by their endpoints. ``proofs``: ``Sighted`` is understood.
    """

    own: EndpointList
    others: EndpointList = ()
    proofs: bool = False


class RelayPool(Message, frozen=True, tag="relay-pool"):
    """All relays; replaces what was known."""

    relays: Annotated[tuple[RelayInfo, ...], Meta(max_length=MAX_RELAYS)]


class RelayOffers(Message, frozen=True, tag="relay-offers"):
    """A pair's ranked list anew: its grants end soon, or another relay is better for it now. To be kept for when no mediator is there."""

    peer: Key
    relays: OfferList


class PoolKey(Message, frozen=True, tag="pool-key"):
    """To a relay: the key with which this mediator's grants for it are sealed (``userlan.control.grants``)."""

    key: Key


class Reflect(Message, frozen=True, tag="reflect"):
    """To a relay: send this datagram, an answer of ``userlan.traversal.observation`` that the node there asked for, to ``target``."""

    target: ServerEndpoint
    datagram: Annotated[bytes, Meta(max_length=256)]


# --- node ↔ node ------------------------------------------------------------------------------------------------------


class PeerSight(Message, frozen=True, tag="peer-sight"):
    """To a peer: the endpoint at which the sender sees it, and its own candidates; what a member needs to introduce others.

    ``ciphers``: as ``PeerHello`` says them, which need not come then; None: an older program's, which says nothing of them.
    """

    observed: Candidate
    candidates: CandidateList = ()
    nat: NatBehaviour = NatBehaviour()
    ciphers: Annotated[tuple[Code, ...], Meta(max_length=MAX_CIPHERS)] | None = None
