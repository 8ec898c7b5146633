"""``userlan tap``: whose node it is under sudo, and where there is no such thing."""

from __future__ import annotations

import pwd
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from userlan.cli.client import ApiError
from userlan.cli.main import Settings
from userlan.cli.tap_commands import _of_the_caller, tap


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Root by sudo, called by somebody with this home."""
    monkeypatch.setenv("SUDO_USER", "anna")
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    def account(name: str) -> SimpleNamespace:
        if name != "anna":
            raise KeyError(name)
        return SimpleNamespace(pw_dir=str(tmp_path))

    monkeypatch.setattr(pwd, "getpwnam", account)
    return tmp_path


OWN = Settings(Path("/root/.local/share/userlan"), None, 0)


def test_sudo_means_the_callers_node(home: Path) -> None:
    state = home / ".local/share/userlan"
    state.mkdir(parents=True)
    assert _of_the_caller(OWN).state == state


def test_a_caller_without_a_state_folder_means_roots(home: Path) -> None:
    assert _of_the_caller(OWN) is OWN


def test_a_folder_that_was_named_is_meant(home: Path) -> None:
    (home / ".local/share/userlan").mkdir(parents=True)
    named = Settings(Path("/var/lib/userlan"), None, 0, True)
    assert _of_the_caller(named) is named


def test_without_sudo_nothing_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".local/share/userlan").mkdir(parents=True)
    monkeypatch.setenv("SUDO_USER", "nobody-knows")
    assert _of_the_caller(OWN) is OWN
    monkeypatch.delenv("SUDO_USER")
    assert _of_the_caller(OWN) is OWN


@pytest.mark.parametrize(("platform", "system"), [("darwin", "macOS"), ("win32", "Windows"), ("freebsd14", "freebsd14")])
@pytest.mark.parametrize("arguments", [[], ["--detach"]])
def test_where_it_is_not_built_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, platform: str, system: str, arguments: list[str], tmp_path: Path
) -> None:
    """Before a node is started for it."""
    monkeypatch.setattr(sys, "platform", platform)
    refused = CliRunner().invoke(tap, arguments, obj=Settings(tmp_path, None, 0, True), standalone_mode=False)
    monkeypatch.undo()
    assert isinstance(refused.exception, ApiError)
    assert str(refused.exception).startswith(f"`userlan tap` is built for Linux alone, not for {system}: ")
    assert list(tmp_path.iterdir()) == []
