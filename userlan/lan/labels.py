"""The rules for one label: nicknames of nodes and names of networks.

A name is one label of a host name: ASCII letters, digits and hyphens (RFC 952, RFC 1123 section 2.1), 1 to 63
characters, compared and kept in lower case. Nothing else is let in, since names are shown to people and typed by them:
no two that look alike, no escape sequences, no ``xn--`` label that a browser would show as something else (RFC 5891
section 4.2.3.1), no number that a resolver would read as an address.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container

#: Greatest length of a label, characters (RFC 1035 section 2.3.4).
MAX_NAME = 63
#: Greatest length of a name that is looked up, characters (RFC 1035 section 2.3.4).
MAX_HOST = 253
#: What a computer is called whose host name leaves nothing usable.
FALLBACK_NICK = "node"
#: Names that programs and computers treat as special: nobody may take them.
RESERVED = frozenset({"localhost", "internal", "local", "broadcasthost", "wpad", "isatap"})

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-f]*", re.ASCII)
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "å": "a", "ł": "l", "đ": "d", "ð": "d"}
    | {"þ": "th", "ı": "i", "'": "", "’": "", "‘": "", "`": "", "´": ""}
)


def check_nick(written: str) -> str:
    """A nickname in its canonical form (lower case). ValueError, one line that says what is wrong."""
    return _checked(written, "nickname")


def check_network(written: str) -> str:
    """A network's name in its canonical form (lower case). ValueError, one line that says what is wrong."""
    return _checked(written, "network name")


def suggest_nick(hostname: str) -> str:
    """A nickname that is allowed, made from whatever the computer calls itself: ``Jürgen's Mac`` → ``juergens-mac``."""
    hostname = hostname[:MAX_HOST].strip()
    if not any(character.isspace() for character in hostname):
        hostname = hostname.partition(".")[0]
    plain = unicodedata.normalize("NFC", hostname).lower().translate(_LETTERS)
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode("ascii").lower()
    nick = re.sub(r"[^a-z0-9]+", "-", ascii_only).strip("-")[:MAX_NAME].rstrip("-")
    for candidate in (nick, f"{FALLBACK_NICK}-{nick}"[:MAX_NAME].rstrip("-")):
        try:
            return check_nick(candidate)
        except ValueError:
            continue
    return FALLBACK_NICK


def distinct_nick(wanted: str, taken: Container[str]) -> str:
    """``wanted`` if nobody has it, else ``wanted-2``, ``wanted-3`` …; at most 63 characters."""
    nick, number = wanted, 1
    while nick in taken:
        number += 1
        ending = f"-{number}"
        nick = wanted[: MAX_NAME - len(ending)].rstrip("-") + ending
    return nick


def _checked(written: str, what: str) -> str:
    name = written.lower() if written.isascii() else written
    if not name:
        raise ValueError(f"the {what} is empty")
    if len(name) > MAX_NAME:
        raise ValueError(f"the {what} is too long: {len(name)} characters, not more than {MAX_NAME}")
    if not _LABEL.fullmatch(name):
        wrong = next((character for character in name if not re.fullmatch(r"[a-z0-9-]", character, re.ASCII)), None)
        if wrong is None:
            raise ValueError(f"the {what} {name!r} begins or ends with a hyphen")
        raise ValueError(f"the {what} {written!r} holds {wrong!r}: only letters a to z, digits and hyphens are allowed")
    if name.isdigit() or _HEXADECIMAL.fullmatch(name):
        raise ValueError(
            f"the {what} {name!r} is a number: it needs a letter, since programs take numbers for addresses"
        )
    if name[2:4] == "--":
        raise ValueError(f"the {what} {name!r} has '--' as its third and fourth character, which is reserved")
    if name in RESERVED:
        raise ValueError(f"the {what} {name!r} is reserved")
    return name
