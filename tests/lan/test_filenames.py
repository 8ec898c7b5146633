"""What a peer calls a file, and what it is called here."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from userlan.lan.filenames import FALLBACK, MAX_OCTETS, numbered, safe_name, split_extension

ODD = './\\:*?"<>|~- \0\n\x1b\u202e\u200bCONnul1².txtgzé\u0301'
NASTY = st.text(alphabet=st.one_of(st.sampled_from(ODD), st.characters()), max_size=300)


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system32\\evil.dll", "evil.dll"),
        ("C:\\Users\\x\\a.txt", "a.txt"),
        ("/", FALLBACK),
        ("..", FALLBACK),
        ("", FALLBACK),
        ("\0\x01\x1b", FALLBACK),
        (".bashrc", "bashrc"),
        ("...a", "a"),
        ("a. . .", "a"),
        ("-rf", "_rf"),
        ("a\0b\x1b[31mc", "ab[31mc"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("zero\u200bwidth", "zerowidth"),
        ("no\u00a0break", "no break"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("Com1.tar.gz", "_Com1.tar.gz"),
        ("com¹", "_com¹"),
        ("CON .txt", "_CON .txt"),
        ("console.log", "console.log"),
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("file.txt:stream", "file.txt_stream"),
        ("e\u0301.txt", "é.txt"),
        ("<script>alert(1)</script>.png", "script_.png"),
        ("日本語.txt", "日本語.txt"),
    ],
)
def test_names(told: str, kept: str) -> None:
    assert safe_name(told) == kept


def test_a_long_name_keeps_its_extension() -> None:
    assert safe_name("é" * 300 + ".tar.gz").endswith("é.tar.gz")
    assert len(safe_name("é" * 300 + ".tar.gz").encode()) <= MAX_OCTETS
    assert len(safe_name("a." + "b" * 500).encode()) <= MAX_OCTETS


@given(NASTY)
@example("- .txt")
@example("CON" + " " * 300)
@example("a" * 199 + ". .b")
def test_whatever_a_peer_says_is_one_plain_name(told: str) -> None:
    name = safe_name(told)
    assert name == safe_name(name)
    assert name.isprintable()
    assert 0 < len(name.encode()) <= MAX_OCTETS
    assert not set(name) & set('/\\<>:"|?*\0')
    assert name[0] not in ".- "
    assert name[-1] not in ". "
    assert unicodedata.normalize("NFC", name) == name
    assert Path("inbox", name).parent == Path("inbox")
    assert os.path.normpath(name) == name


@given(NASTY.map(safe_name), st.integers(2, 1000))
def test_numbered_names_differ_and_fit(name: str, number: int) -> None:
    other = numbered(name, number)
    assert other != name
    assert len(other.encode()) <= MAX_OCTETS
    assert other.endswith(f" ({number}){split_extension(name)[1]}")


def test_numbers_come_before_the_extension() -> None:
    assert [numbered(name, 2) for name in ("a.txt", "src.tar.gz", "README")] == ["a (2).txt", "src (2).tar.gz", "README (2)"]
    assert numbered("a.txt", 1) == "a.txt"
