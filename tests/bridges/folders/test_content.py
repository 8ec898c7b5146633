"""Types, headers and parts of files (RFC 9110, RFC 6266), and the pages of folders."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from bridges.folders import content
from bridges.folders.listing import STYLE, folder_page, link, readable, size_text
from bridges.folders.tree import Entry, Listed

TAG = b'"tag"'
PARTS: list[tuple[bytes | None, Any]] = [
    (None, None), (b"bytes=0-0", (0, 1)), (b"bytes=0-99", (0, 100)), (b"bytes=90-", (90, 10)), (b"bytes=90-1000", (90, 10)),
    (b"bytes=-10", (90, 10)), (b"bytes=-1000", (0, 100)), (b"Bytes=5-6", (5, 2)), (b"bytes=0-1,3-4", None), (b"bytes=9-2", None),
    (b"bytes=-", None), (b"bytes=a-b", None), (b"octets=0-1", None), (b"bytes=" + b"9" * 40 + b"-", None), (b"", None),
]


@pytest.mark.parametrize(("written", "part"), PARTS)
def test_parts(written: bytes | None, part: Any) -> None:
    """RFC 9110 14.1.2; what is no Range, or several, is the whole (14.2)."""
    assert content.part_of(written, None, TAG, 100) == part


@pytest.mark.parametrize("written", [b"bytes=100-", b"bytes=100-200", b"bytes=-0"])
def test_parts_that_are_not_there(written: bytes) -> None:
    """RFC 9110 15.5.17."""
    with pytest.raises(ValueError):
        content.part_of(written, None, TAG, 100)


def test_a_part_of_another_file_than_there_was() -> None:
    """RFC 9110 13.1.5."""
    assert content.part_of(b"bytes=5-", TAG, TAG, 100) == (5, 95)
    assert content.part_of(b"bytes=5-", b'"other"', TAG, 100) is None
    assert content.part_of(b"bytes=5-", b"Sat, 29 Oct 1994 19:43:31 GMT", TAG, 100) is None
    assert content.part_of(b"bytes=500-", b'"other"', TAG, 100) is None


def test_what_is_known() -> None:
    """RFC 9110 13.1.2."""
    for written in (TAG, b'"a", "tag"', b'W/"tag"', b"*"):
        assert content.is_known(written, TAG)
    for other in (None, b"", b"tag", b'"other"'):
        assert not content.is_known(other, TAG)


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [
        ("a.html", "text/html; charset=utf-8", "inline"), ("a.svg", "image/svg+xml", "inline"), ("a.JPG", "image/jpeg", "inline"),
        ("a.mkv", "video/x-matroska", "inline"), ("a.md", "text/plain; charset=utf-8", "inline"), ("a.pdf", "application/pdf", "inline"),
        ("a.tar.gz", content.OCTETS, "attachment"), ("a", content.OCTETS, "attachment"), ("html", content.OCTETS, "attachment"),
        ("a.exe", None, "attachment"), ("data:text/html,x", content.OCTETS, "attachment"), ("http://a/b.html", None, "inline"),
    ],
)
def test_types(name: str, kind: str | None, how: str) -> None:
    told = content.type_of(name)
    assert kind is None or told == kind
    assert content.disposition_of(name, told).startswith(f"{how}; ")


@pytest.mark.parametrize("name", ["a.html", "a.htm", "a.xhtml", "a.svg", "a.xml", "a.js", "a", "a.css", "a.xsl", "a.mht", "a.svgz"])
def test_what_a_browser_may_run_has_no_origin(name: str) -> None:
    """CSP level 3, section 6.3.2: sandbox."""
    policy = content.policy_of(content.type_of(name))
    assert policy.split(";")[0] == "sandbox"
    assert "script-src" not in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize("name", ['a"; x="\r\nSet-Cookie: a=b', "Ü 打印机\u202e.txt", os.fsdecode(b"\xff")])
def test_a_name_ends_no_header(name: str) -> None:
    """RFC 8187: octets are written as percent and two digits."""
    assert re.fullmatch(r"attachment; filename\*=UTF-8''[A-Za-z0-9%._~-]+", content.disposition_of(name, content.OCTETS))


HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "a&amp;b", "javascript:alert(1)", "\u202egnp.exe", "\n", "//evil"]


def test_names_are_never_markup() -> None:
    page = folder_page([HOSTILE[0], HOSTILE[1]], Listed(tuple(Entry(name, False, 1, 1.0) for name in HOSTILE), len(HOSTILE))).decode()
    assert set(re.findall(r"<([a-z0-9]+)", page)) == {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "a", "bdi", "table", "thead", "tr", "th", "tbody", "td", "time")
    }
    assert "\u202e" not in page
    assert all(re.fullmatch(r"/[A-Za-z0-9%._~/-]*", href) for href in re.findall(r'href="([^"]*)"', page))
    assert "</style" not in STYLE
    assert readable("a\x00\u202e\udcffb") == "a\ufffd\ufffd\ufffdb"


def test_links() -> None:
    assert link(["a b", "ü"]) == "/a%20b/%C3%BC/"
    assert link(["a", os.fsdecode(b"\xff/")], False) == "/a/%FF%2F"


def test_what_is_not_shown_is_told() -> None:
    entries = (Entry("a", False, 1, 1e300), Entry("b", True))
    assert "2 of 7 entries are shown." in folder_page(["x"], Listed(entries, 7)).decode()
    assert "2 of 20,000 or more entries are shown." in folder_page(["x"], Listed(entries, 20_000, True)).decode()
    assert "shown" not in folder_page(["x"], Listed(entries, 2)).decode()
    assert "This folder is empty." in folder_page(["x"], Listed((), 0)).decode()


def test_sizes() -> None:
    assert [size_text(size) for size in (0, 999, 1000, 1500, 12_345_678, 999_999, 5 * 10**18)] == [
        "0 B", "999 B", "1.0 KB", "1.5 KB", "12 MB", "1.0 MB", "5000 PB"
    ]
