"""Invites that are clicked on: ``userlan://`` links open with ``userlan open LINK``, where the desktop follows the freedesktop.org
specifications (Desktop Entry, Icon Theme, MIME applications associations)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from userlan.cli.client import ApiError
from userlan.cli.service_managers import run, write

ENTRY = "userlan.desktop"
SCHEME = "x-scheme-handler/userlan"
TOOLS = ("xdg-mime", "gio", "update-desktop-database")
"""Any of them is a sign of a desktop that reads such files."""

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" fill="none" stroke-linecap="round" stroke-linejoin="round">
  <rect x="3" y="4" width="58" height="56" rx="15" fill="#14532d"/>
  <path d="M17.2 23.5C21 32 20.4 39.6 31.6 45.2M46.8 23.1C43.6 31 43.9 39.3 32.4 45.6M17.5 21.8c9.6-3.4 19.9-3.2 29.2-.3" stroke="#86efac"
    stroke-width="3.2"/>
  <circle cx="17" cy="22" r="6.6" fill="#f0fdf4"/><circle cx="47.2" cy="21.6" r="6.6" fill="#f0fdf4"/>
  <circle cx="32" cy="46" r="6.9" fill="#4ade80"/>
</svg>
"""
"""Three computers of one LAN."""


def available(environment: Mapping[str, str]) -> bool:
    """Whether there is a desktop that would read the files."""
    return any(shutil.which(tool, path=environment.get("PATH")) for tool in TOOLS)


def files(command: Sequence[str], environment: Mapping[str, str]) -> dict[Path, bytes]:
    """What is written where. ``command``: ``userlan`` and its global options."""
    data = _data(environment)
    return {
        data / "applications" / ENTRY: desktop_entry(command).encode(),
        data / "icons" / "hicolor" / "scalable" / "apps" / "userlan.svg": ICON.encode(),
    }


def desktop_entry(command: Sequence[str]) -> str:
    """The entry: in menus it opens the page; with a link, the page asks whether to join."""
    return f"""[Desktop Entry]
Type=Application
Name=userlan
GenericName=LAN over the Internet
Comment=Chat, files, games and services with the computers of your LAN, wherever they are
Exec={" ".join(map(exec_quoted, command))} open -- %u
Icon=userlan
Terminal=false
StartupNotify=false
Categories=Network;
MimeType={SCHEME};
"""


def exec_quoted(word: str) -> str:
    """A word of the key ``Exec``: quoted by its own rules, then as all strings of the file are ("The Exec key" in the specification)."""
    if not word.isprintable():
        raise ApiError(f"{word!r} holds characters that a desktop entry cannot")
    word = word.replace("%", "%%")
    if re.fullmatch(r"[A-Za-z0-9/_.:=@+,%-]+", word):
        return word
    quoted = re.sub(r'(["`$\\])', r"\\\1", word)
    return '"' + quoted.replace("\\", "\\\\") + '"'


def install(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Write the files, and make the entry the one for such links; what was done, line by line."""
    told = []
    for path, content in files(command, environment).items():
        write(path, content)
        told.append(f"wrote {path}")
    _tell_desktop(environment)
    tool = shutil.which("xdg-mime", path=environment.get("PATH"))
    if tool is not None:
        done = run([tool, "default", ENTRY, SCHEME], environment)
        told.append("userlan:// links open with `userlan open`" if done.returncode == 0 else f"xdg-mime: {done.stderr.strip()}")
    return told


def remove(environment: Mapping[str, str]) -> list[str]:
    """Leave nothing of ``install``."""
    told = []
    for path in files((), environment):
        if path.exists():
            path.unlink()
            told.append(f"removed {path}")
    if told:
        config = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME", "/")) / ".config")
        for listing in (config / "mimeapps.list", _data(environment) / "applications" / "mimeapps.list"):
            _forget(listing)
        _tell_desktop(environment)
    return told


def _forget(listing: Path) -> None:
    """Take the association out of a list of the user's; all else in it stays as it is."""
    if not listing.is_file():
        return
    lines = listing.read_text(errors="surrogateescape").splitlines(keepends=True)
    kept = [line for line in lines if not re.fullmatch(rf"{SCHEME}\s*=\s*{re.escape(ENTRY)};?\s*", line)]
    if kept == lines:
        return
    if "".join(kept).strip() in ("", "[Default Applications]", "[Added Associations]"):
        listing.unlink()
    else:
        write(listing, "".join(kept).encode(errors="surrogateescape"))


def _tell_desktop(environment: Mapping[str, str]) -> None:
    folder = _data(environment) / "applications"
    tool = shutil.which("update-desktop-database", path=environment.get("PATH"))
    if tool is not None and folder.is_dir():
        run([tool, str(folder)], environment)
        cache = folder / "mimeinfo.cache"
        if cache.is_file() and not cache.read_text(errors="replace").replace("[MIME Cache]", "").strip():
            cache.unlink()


def _data(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_DATA_HOME") or os.path.join(environment.get("HOME", "/"), ".local", "share"))
