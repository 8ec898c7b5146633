"""Who may say what to whom: each reader takes these messages and no others."""

from __future__ import annotations

from userlan.control.meeting import (
    Introduce,
    Measure,
    Outcome,
    PeerSight,
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
    Applicants,
    ApplicationEnded,
    Applied,
    Approve,
    Bye,
    Candidates,
    Challenge,
    Create,
    CreateWithApproval,
    Deny,
    Done,
    Evict,
    EvictionNotice,
    Hello,
    Join,
    Leave,
    Lock,
    Meet,
    MemberChanged,
    MemberGone,
    NetworkGone,
    NetworkLocked,
    NetworkState,
    Nick,
    Observed,
    PeerHello,
    Ping,
    Pong,
    Prove,
    Refused,
    Welcome,
)

FromNode = (
    Hello
    | Candidates
    | Create
    | CreateWithApproval
    | Join
    | Prove
    | Leave
    | Nick
    | Lock
    | Approve
    | Deny
    | Evict
    | Meet
    | Reachability
    | Sighted
    | Outcome
    | RelayDelays
    | Serve
    | Ping
    | Pong
    | Bye
)
FromMediator = (
    Welcome
    | NetworkState
    | NetworkLocked
    | Observed
    | MemberChanged
    | MemberGone
    | NetworkGone
    | EvictionNotice
    | Applied
    | ApplicationEnded
    | Applicants
    | Challenge
    | Introduce
    | Measure
    | Vantages
    | RelayPool
    | RelayOffers
    | PoolKey
    | Reflect
    | Done
    | Refused
    | Ping
    | Pong
    | Bye
)
FromPeer = PeerHello | EvictionNotice | PeerSight | Meet | Introduce | Outcome | Ping | Pong | Bye
