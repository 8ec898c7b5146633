"""Absolute URLs in text (RFC 3986, section 3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.rewrite.translation import Places
from bridges.rewrite.urls import LONGEST_START, rewrite_urls, unfinished
from tests.bridges.rewrite.table import Table, outward


def places(table: Table | None = None) -> Places:
    return Places(table or outward({8200: 8201}), 64)


@pytest.mark.parametrize(
    ("written", "rewritten"),
    [
        (b"http://192.168.77.1:8200/x", b"http://25.4.5.6:8201/x"),
        (b"HTTP://192.168.77.1:8200", b"HTTP://25.4.5.6:8201"),
        (b"see http://192.168.77.1/, or", b"see http://25.4.5.6/, or"),
        (b"https://192.168.77.1/ https://192.168.77.1:443/", b"https://25.4.5.6/ https://25.4.5.6:443/"),
        (b"rtsp://192.168.77.1:8554/v", b"rtsp://25.4.5.6:8554/v"),
        (b"http://[fd00::77:1]:8200/", b"http://[fd75::456]:8201/"),
        (b"http://[FD00::77:1]/", b"http://[fd75::456]/"),
        (b"&lt;res&gt;http://192.168.77.1:8200&lt;/res&gt;", b"&lt;res&gt;http://25.4.5.6:8201&lt;/res&gt;"),
        (rb'{"u":"http:\/\/192.168.77.1:8200\/x"}', rb'{"u":"http:\/\/25.4.5.6:8201\/x"}'),
        (b"url(http://127.0.0.1:8200/a.png)", b"url(http://25.4.5.6:8201/a.png)"),
        (b"http://a/?u=http://192.168.77.1:8200/", b"http://a/?u=http://25.4.5.6:8201/"),
    ],
)
def test_known_places(written: bytes, rewritten: bytes) -> None:
    assert rewrite_urls(written, places()) == rewritten


@pytest.mark.parametrize(
    "text",
    [
        b"http://schemas.xmlsoap.org/soap/envelope/",
        b"http://192.168.77.11:8200/",
        b"http://192.168.77.1:99999/",
        b"http://192.168.77.1:820000/",
        b"http://192.168.77.1:0/",
        b"http://192.168.77.1@evil.example/",
        b"http://192.168.77.1:8200@evil.example/",
        b"http://user:secret@192.168.77.1:8200/",
        b"http://192.168.77.1.evil.example/",
        b"http:/192.168.77.1:8200/",
        b"192.168.77.1:8200",
        b"http://[fd00::77:1:8200/",
        b"http%3A%2F%2F192.168.77.1%3A8200%2F",
    ],
)
def test_what_is_not_such_a_url_stays(text: bytes) -> None:
    assert rewrite_urls(text, places()) == text


def test_the_same_place_is_asked_for_once() -> None:
    table = outward()
    rewrite_urls(b"http://192.168.77.1:8200/a " * 1000, places(table))
    assert table.asked == [("192.168.77.1", 8200, "tcp")]


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                b"http",
                b"s",
                b"://",
                b"\\/",
                b"192.168.77.1",
                b":8200",
                b":",
                b"/",
                b" ",
                b"[",
                b"fd00::77:1",
                b"]",
                b"@",
                b"h",
                b"x",
                b".",
                b"%",
            ]
        ),
        max_size=20,
    ).map(b"".join),
    st.data(),
)
def test_text_in_two_pieces_is_rewritten_as_in_one(text: bytes, data: st.DataObject) -> None:
    """What is held back for the next piece is exactly what might go on."""
    cut = data.draw(st.integers(0, len(text)))
    first, rest = text[:cut], text[cut:]
    held = unfinished(first)
    assert len(first) - held <= LONGEST_START
    pieces = rewrite_urls(first[:held], places()) + rewrite_urls(first[held:] + rest, places())
    assert pieces == rewrite_urls(text, places())
