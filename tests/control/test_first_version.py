"""Both ends may be of different versions: what the first one wrote is read as it was meant, and what came since harms nobody."""

from __future__ import annotations

import pytest

from tests.control.first_version import FROM_MEDIATOR, FROM_NODE, FirstNetworkState, first_mediator_framer, first_node_framer
from userlan.control.frames import Undecodable, encode, mediator_framer, node_framer
from userlan.control.messages import (
    MAX_APPLICANTS,
    Applicants,
    ApplicantState,
    ApplicationEnded,
    Applied,
    Approve,
    Candidate,
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
    MemberState,
    Message,
    NetworkGone,
    NetworkLocked,
    NetworkState,
    Nick,
    Observed,
    Prove,
    Refused,
    Welcome,
)

KEY, IPV4 = bytes(range(32)), bytes((25, 1, 2, 3))
SEEN = Candidate("192.0.2.7", 41414, "udp", "observed")
MEANT_BY_NODES: list[Message] = [
    Hello(1, "nas", "userlan 0.5", (Candidate("192.168.1.2", 41414),), 1, {"home": 2}),
    Create(7, "home", KEY, KEY, KEY),
    Join(8, "home"),
    Prove(8, bytes(64)),
    Leave(9, "home"),
    Nick(10, "pc"),
    Lock(11, "home", True),
    Evict(12, "home", b"document"),
    Meet(KEY),
]
MEANT_BY_MEDIATORS: list[Message] = [
    Welcome(1, "nas", IPV4, "25.0.0.0/8", SEEN, 12.5, ("home",), "userlan 0.5"),
    NetworkState("home", KEY, KEY, KEY, (MemberState(KEY, "nas", IPV4, True, 12.5),), True, 4),
    NetworkLocked("home", False),
    MemberChanged("home", MemberState(KEY, "nas", IPV4)),
    MemberGone("home", KEY, "left"),
    NetworkGone("home", "evicted"),
    Challenge(8, KEY),
    Done(8, "nas"),
    Refused(8, "locked", "home is locked"),
    EvictionNotice("home", b"document"),
    Observed(SEEN),
]


def test_what_the_first_version_wrote_is_read_as_it_was_meant() -> None:
    assert mediator_framer().feed(b"".join(map(bytes.fromhex, FROM_NODE.values()))) == MEANT_BY_NODES
    assert node_framer().feed(b"".join(map(bytes.fromhex, FROM_MEDIATOR.values()))) == MEANT_BY_MEDIATORS
    assert list(FROM_NODE) == [type(message).__name__ for message in MEANT_BY_NODES]
    assert list(FROM_MEDIATOR) == [type(message).__name__ for message in MEANT_BY_MEDIATORS]


@pytest.mark.parametrize(("meant", "recorded"), [(MEANT_BY_NODES, FROM_NODE), (MEANT_BY_MEDIATORS, FROM_MEDIATOR)])
def test_where_nothing_new_is_said_it_is_said_as_before(meant: list[Message], recorded: dict[str, str]) -> None:
    """Octet by octet."""
    assert [encode(message).hex() for message in meant] == list(recorded.values())


@pytest.mark.parametrize(
    "asked",
    [CreateWithApproval(7, "home", KEY, KEY, KEY), Approve(8, "home", KEY), Deny(9, "home", KEY)],
    ids=lambda one: type(one).__name__,
)
def test_a_mediator_of_the_first_version_refuses_what_it_does_not_know_by_its_number(asked: Message) -> None:
    """Above all it does not take a network with approval for an open one; and it goes on."""
    answer, after = first_mediator_framer().feed(encode(asked) + encode(Join(10, "home")))
    assert isinstance(answer, Undecodable)
    assert (answer.reason, answer.request) == ("unknown-message", getattr(asked, "request", 0))
    assert after == Join(10, "home")


def test_a_node_of_the_first_version_passes_over_what_it_does_not_know() -> None:
    state = NetworkState("home", KEY, KEY, KEY, (MemberState(KEY, "nas", IPV4),), False, 4, True)
    told: list[Message] = [
        Applied("home", KEY, "anna", 12.5),
        state,
        Applicants("home", (ApplicantState(KEY, "ben", 1.0),)),
        ApplicationEnded("home", "denied", "no"),
        Refused(8, "waiting", "asked: anna has to approve"),
    ]
    applied, network, applicants, ended, refused = first_node_framer().feed(b"".join(map(encode, told)))
    assert network == FirstNetworkState("home", KEY, KEY, KEY, (MemberState(KEY, "nas", IPV4),), False, 4)
    assert refused == told[-1]
    for unknown in (applied, applicants, ended):
        assert isinstance(unknown, Undecodable)
        assert unknown.reason == "unknown-message"


def test_the_new_messages_keep_to_their_limits() -> None:
    row = ApplicantState(KEY, "n" * 63, 1e9)
    longest = encode(Applicants("h" * 63, (row,) * MAX_APPLICANTS))
    assert len(longest) < 10_000
    assert node_framer().feed(longest) == [Applicants("h" * 63, (row,) * MAX_APPLICANTS)]
    (refused,) = node_framer().feed(encode(Applicants("home", (row,) * (MAX_APPLICANTS + 1))))
    assert isinstance(refused, Undecodable)
    (malformed,) = mediator_framer().feed(encode(Approve(1, "home", b"short")))
    assert isinstance(malformed, Undecodable)
    assert malformed.reason == "malformed-message"
