"""Frames: any chunking, any bytes; what is ignored, what is reported, what ends the connection."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.control import messages
from userlan.control.frames import (
    MAX_FRAME,
    ControlError,
    Undecodable,
    encode,
    mediator_framer,
    node_framer,
    peer_framer,
)
from userlan.control.meeting import Introduce
from userlan.control.messages import (
    Bye,
    Candidate,
    Challenge,
    Create,
    Done,
    EvictionNotice,
    Hello,
    Join,
    MemberChanged,
    MemberState,
    Message,
    NetworkState,
    PeerHello,
    Ping,
    Pong,
    Prove,
    Refused,
    Welcome,
)

KEY = b"k" * 32
IPV4 = bytes((25, 1, 2, 3))

FROM_NODES: list[Message] = [
    Hello(1, "nas", "test", (Candidate("192.0.2.1", 41414), Candidate("2001:db8::1", 1, "tcp")), 1, {"home": 3}),
    Create(1, "home", KEY, KEY, KEY),
    Join(2, "home"),
    Prove(2, b"s" * 64),
    messages.Leave(3, "home"),
    messages.Nick(4, "pc"),
    messages.Lock(5, "home", True),
    messages.CreateWithApproval(1, "home", KEY, KEY, KEY),
    messages.Approve(5, "home", KEY),
    messages.Deny(5, "home", KEY),
    messages.Evict(6, "home", b"document"),
    messages.Meet(KEY),
    messages.Candidates((Candidate("192.0.2.1", 41414),)),
    Ping(7),
    Pong(7),
    Bye("going home"),
]
FROM_MEDIATORS: list[Message] = [
    Welcome(1, "nas", IPV4, "25.0.0.0/8", Candidate("192.0.2.1", 9, "udp", "observed"), 1.5, ("home",)),
    NetworkState("home", KEY, KEY, KEY, (MemberState(KEY, "nas", IPV4, True, 12.5),), True, 4),
    MemberChanged("home", MemberState(KEY, "nas", IPV4)),
    messages.MemberGone("home", KEY, "evicted"),
    messages.NetworkGone("home"),
    messages.NetworkLocked("home", False),
    messages.Applied("home", KEY, "anna", 1.5),
    messages.ApplicationEnded("home", "denied", "no"),
    messages.Applicants("home", (messages.ApplicantState(KEY, "ben", 1.5),)),
    messages.Observed(Candidate("192.0.2.1", 9, "udp", "observed")),
    EvictionNotice("home", b"document"),
    Challenge(2, b"n" * 32),
    Introduce(KEY, (Candidate("", 41414, "tcp", "colocated"),), 0.25, b"t" * 16),
    Done(2, "nas-2"),
    Refused(0, "no-such-peer", "no"),
    Ping(1),
    Pong(1),
    Bye(),
]
FROM_PEERS: list[Message] = [PeerHello(1, {"home": 2}), EvictionNotice("home", b"document"), Ping(1), Pong(2), Bye()]

FRAMERS = [(mediator_framer, FROM_NODES), (node_framer, FROM_MEDIATORS), (peer_framer, FROM_PEERS)]


def raw(value: object) -> bytes:
    body = msgspec.msgpack.encode(value)
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(("framer", "sent"), FRAMERS)
def test_every_message_arrives_as_it_was_sent(framer: Any, sent: list[Message]) -> None:
    assert framer().feed(b"".join(map(encode, sent))) == sent


@given(st.lists(st.integers(1, 400)), st.sampled_from(FRAMERS))
@settings(deadline=None, max_examples=50)
def test_the_cutting_of_the_stream_does_not_matter(sizes: list[int], side: tuple[Any, list[Message]]) -> None:
    framer, sent = side[0](), side[1]
    stream = b"".join(map(encode, sent))
    received = []
    for size in [*sizes, len(stream)]:
        received += framer.feed(memoryview(stream[:size]))
        stream = stream[size:]
    assert received == sent
    assert framer.pending == 0


@given(st.lists(st.binary(max_size=300), max_size=20), st.sampled_from([side for side, _ in FRAMERS]))
@settings(deadline=None, max_examples=300)
def test_arbitrary_bytes_never_raise_anything_else(chunks: list[bytes], side: Any) -> None:
    framer = side(4096)
    broken: ControlError | None = None
    for chunk in chunks:
        try:
            framer.feed(chunk)
        except ControlError as error:
            broken = error
            break
        assert framer.pending <= 4096 + 4
    if broken is not None:
        assert broken.reason in ("frame-too-long", "frame-empty")
        with pytest.raises(ControlError):
            framer.feed(encode(Ping(1)))
        assert framer.pending == 0


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(max_size=70)
    | st.binary(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TAGS = ["hello", "join", "create", "prove", "welcome", "network", "introduce", "peer-hello", "evict", "candidates"]
FIELDS = ["request", "network", "version", "name", "candidates", "peer", "document", "evictions", "members", "delay"]


@given(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8),
    st.sampled_from(TAGS),
    st.sampled_from([side for side, _ in FRAMERS]),
)
@settings(deadline=None, max_examples=300)
def test_arbitrary_fields_are_a_message_or_reported(fields: dict[str, Any], tag: str, side: Any) -> None:
    framer = side()
    (received,) = framer.feed(raw({"t": tag, **fields}))
    assert isinstance(received, Message | Undecodable)
    assert framer.feed(encode(Ping(3))) == [Ping(3)]


@given(st.binary(min_size=1, max_size=200))
@settings(deadline=None, max_examples=300)
def test_arbitrary_bodies_are_a_message_or_reported(body: bytes) -> None:
    framer = mediator_framer()
    (received,) = framer.feed(len(body).to_bytes(4, "big") + body)
    assert isinstance(received, Message | Undecodable)


def test_unknown_fields_are_ignored() -> None:
    fields = {"t": "join", "request": 5, "network": "home", "priority": 9, "extra": {"deep": [1, {"er": None}]}}
    assert mediator_framer().feed(raw(fields)) == [Join(5, "home")]


@pytest.mark.parametrize(
    ("fields", "reason", "request_number", "text"),
    [
        ({"t": "teleport", "request": 5}, "unknown-message", 5, "teleport"),
        ({"t": "join", "request": 5, "network": 7}, "malformed-message", 5, "network"),
        ({"t": "join", "request": 5}, "malformed-message", 5, "network"),
        ({"t": "join", "network": "home"}, "malformed-message", 0, "request"),
        ({"t": "join", "request": -1, "network": "home"}, "malformed-message", 0, "request"),
        ({"t": "join", "request": 0, "network": "home"}, "malformed-message", 0, "request"),
        ({"request": 5}, "malformed-message", 5, "`t`"),
        ([1, 2], "malformed-message", 0, "object"),
        ({"t": "join", "request": 5, "network": "n" * 64}, "malformed-message", 5, "length"),
        ({"t": "meet", "peer": b"k" * 31}, "malformed-message", 0, "length"),
        ({"t": "candidates", "candidates": [{"host": "", "port": 1}] * 17}, "malformed-message", 0, "length"),
        ({"t": "candidates", "candidates": [{"host": "", "port": 65536}]}, "malformed-message", 0, "port"),
        ({"t": "welcome"}, "unknown-message", 0, "welcome"),
    ],
)
def test_what_is_wrong_is_named(fields: object, reason: str, request_number: int, text: str) -> None:
    (received,) = mediator_framer().feed(raw(fields))
    assert isinstance(received, Undecodable)
    assert (received.reason, received.request) == (reason, request_number)
    assert text in received.text
    assert "\n" not in received.text


def test_a_nest_deeper_than_the_stack_is_reported() -> None:
    body = b"\x82\xa1t\xa3bye\xa1z" + b"\x91" * 200_000
    (received,) = mediator_framer().feed(len(body).to_bytes(4, "big") + body)
    assert isinstance(received, Undecodable)
    assert received.reason == "malformed-message"


@pytest.mark.parametrize(
    ("header", "reason"),
    [(b"\0\0\0\0", "frame-empty"), ((MAX_FRAME + 1).to_bytes(4, "big"), "frame-too-long"), (b"GET ", "frame-too-long")],
)
def test_a_broken_frame_ends_the_connection_before_anything_is_kept(header: bytes, reason: str) -> None:
    framer = mediator_framer()
    with pytest.raises(ControlError) as caught:
        framer.feed(header)
    assert caught.value.reason == reason
    assert framer.pending == 0


def test_the_limit_can_be_raised_once_a_sender_is_known() -> None:
    framer = mediator_framer(64)
    frame = encode(messages.Evict(1, "home", b"d" * 1000))
    framer.limit = 2000
    assert len(framer.feed(frame)) == 1
    framer.limit = 64
    with pytest.raises(ControlError, match="limit is 64"):
        framer.feed(frame)


def test_a_message_too_long_to_send_is_refused() -> None:
    with pytest.raises(ControlError) as caught:
        encode(EvictionNotice("home", b"d" * MAX_FRAME))
    assert caught.value.reason == "frame-too-long"


def test_the_greatest_network_fits_a_frame() -> None:
    members = tuple(
        MemberState(number.to_bytes(32, "big"), "n" * 63, IPV4, True, 1.7e9 + number)
        for number in range(messages.MAX_MEMBERS)
    )
    state = NetworkState("n" * 63, KEY, KEY, KEY * 2, members, True, 2**63 - 1)
    assert len(encode(state)) < MAX_FRAME / 3
    assert node_framer().feed(encode(state)) == [state]
