"""Links: written, read back, and each way of being wrong told apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lan.keys import entropy, public
from userlan.lan.addresses import key_text
from userlan.lan.invite import Invite, InviteError

KEY = public("mediator")
SECRET = entropy("secret")(16)
INVITE = Invite((("mediator.example", 41414), ("2001:db8::1", 443)), KEY, "home", SECRET)
LINK = str(INVITE)

HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,5})?(\.[a-z][a-z0-9]{0,9}){0,2}", fullmatch=True),
)
ENDPOINTS = st.lists(st.tuples(HOSTS, st.integers(1, 65535)), min_size=1, max_size=8, unique=True).map(tuple)
NETWORKS = st.from_regex(r"[a-z]([a-z0-9]{0,30}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in ("local", "internal", "localhost", "wpad", "isatap", "broadcasthost")
)
KEYS = st.binary(min_size=32, max_size=32)


@settings(deadline=None, max_examples=200)
@given(ENDPOINTS, KEYS, NETWORKS, st.binary(min_size=16, max_size=16), st.integers(0, 2))
def test_a_link_reads_back(
    endpoints: tuple[tuple[str, int], ...], key: bytes, network: str, secret: bytes, parts: int
) -> None:
    invite = Invite(endpoints, key, network if parts else None, secret if parts == 2 else None)
    assert Invite.parse(str(invite)) == invite


def test_the_form_of_a_link() -> None:
    head, _, tail = LINK.partition("#")
    assert head == f"userlan://mediator.example:41414,[2001:db8::1]:443/{key_text(KEY)}/home"
    assert len(tail) == 24
    assert str(INVITE.mediator) == f"userlan://mediator.example:41414,[2001:db8::1]:443/{key_text(KEY)}"


def test_repr_hides_the_secret() -> None:
    assert LINK.partition("#")[2] not in repr(INVITE)
    assert str(SECRET) not in repr(INVITE)


@pytest.mark.parametrize(
    "around",
    ["  {}\n", "<{}>", '"{}"', "'{}'\n"],
)
def test_what_copying_adds_around_a_link_does_not_matter(around: str) -> None:
    assert Invite.parse(around.format(LINK)) == INVITE


def test_upper_case_a_missing_port_and_a_last_slash_do_not_matter() -> None:
    parsed = Invite.parse(f"USERLAN://Mediator.Example/{key_text(KEY)}/Home/")
    assert parsed == Invite((("mediator.example", 41414),), KEY, "home")


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("", "empty"),
        ("https://mediator.example/", "scheme"),
        ("mediator.example:41414", "scheme"),
        ("userlan://mediator.example", "key-missing"),
        ("userlan://mediator.example:41414/", "key-missing"),
        (f"userlan://mediator.example:41414/{key_text(KEY)[:-1]}", "key-cut"),
        (f"userlan://mediator.example:41414/{key_text(KEY)[:-1]}!", "key-mistyped"),
        (f"userlan://mediator.example:70000/{key_text(KEY)}", "endpoint"),
        (f"userlan://mediator.example:/{key_text(KEY)}", "endpoint"),
        (f"userlan://:41414/{key_text(KEY)}", "endpoint"),
        (f"userlan://2001:db8::1/{key_text(KEY)}", "endpoint"),
        (f"userlan://[2001:db8::1/{key_text(KEY)}", "endpoint"),
        (f"userlan://1.2.3.400:1/{key_text(KEY)}", "endpoint"),
        (f"userlan://mediatör.example:1/{key_text(KEY)}", "endpoint"),
        (f"userlan://{','.join(f'h{n}' for n in range(9))}/{key_text(KEY)}", "endpoints"),
        (f"userlan://mediator.example/{key_text(KEY)}/ho_me", "network"),
        (f"userlan://mediator.example/{key_text(KEY)}/home/more", "parts"),
        (f"userlan://mediator.example/{key_text(KEY)}#{'A' * 24}", "network-missing"),
        (LINK[:-24], "secret-missing"),
        (LINK[:-3], "secret-cut"),
        (LINK + "A", "secret-cut"),
        (LINK[:-1] + "!", "secret-mistyped"),
        (LINK[:30] + " " + LINK[30:], "space"),
        ("userlan://" + "x" * 3000, "too-long"),
    ],
)
def test_each_way_of_being_wrong_has_its_one_line(link: str, reason: str) -> None:
    with pytest.raises(InviteError) as caught:
        Invite.parse(link)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    assert str(caught.value)


def test_every_single_mistyped_character_of_the_secret_is_told() -> None:
    start = LINK.index("#") + 1
    for place in range(start, len(LINK)):
        wrong = "A" if LINK[place] != "A" else "B"
        with pytest.raises(InviteError) as caught:
            Invite.parse(LINK[:place] + wrong + LINK[place + 1 :])
        assert caught.value.reason == "mistyped"


def test_a_mistyped_key_or_network_is_told_before_anybody_is_asked() -> None:
    other_key = LINK.replace(key_text(KEY), key_text(public("other")))
    other_network = LINK.replace("/home#", "/hone#")
    for link in (other_key, other_network):
        with pytest.raises(InviteError, match="mistyped"):
            Invite.parse(link)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(LINK)))
def test_a_link_cut_anywhere_is_wrong_or_names_less(length: int) -> None:
    try:
        parsed = Invite.parse(LINK[:length])
    except InviteError:
        return
    assert parsed == INVITE or parsed.secret is None


@settings(deadline=None, max_examples=500)
@given(st.text(max_size=80) | st.text(max_size=80).map("userlan://".__add__) | st.text(max_size=30).map(LINK.__add__))
def test_any_text_is_a_link_or_an_invite_error(text: str) -> None:
    try:
        invite = Invite.parse(text)
    except InviteError:
        return
    assert Invite.parse(str(invite)) == invite


@pytest.mark.parametrize(
    ("endpoints", "key", "network", "secret"),
    [
        ((), KEY, None, None),
        ((("a", 0),), KEY, None, None),
        ((("A", 1),), KEY, None, None),
        ((("a", 1),), KEY[:-1], None, None),
        ((("a", 1),), KEY, "Home", None),
        ((("a", 1),), KEY, None, SECRET),
        ((("a", 1),), KEY, "home", SECRET[:-1]),
    ],
)
def test_no_link_is_made_of_wrong_parts(
    endpoints: tuple[tuple[str, int], ...], key: bytes, network: str | None, secret: bytes | None
) -> None:
    with pytest.raises(ValueError, match=r"."):
        Invite(endpoints, key, network, secret)
