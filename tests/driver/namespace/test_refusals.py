"""What a system that refuses is told to be the reason, by its settings. Those that a lab can have are tested there too."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from userlan.driver.namespace import refusals
from userlan.driver.namespace.refusals import device_refused, limits, namespaces_refused
from userlan.driver.tap.device import TapError


def settings(folder: Path, **values: int) -> Path:
    """A /proc/sys with these; ``kernel__name`` is kernel.name."""
    for name, value in values.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{value}\n")
    return folder


def told(code: int, folder: Path, **values: int) -> str:
    sysctls = settings(folder, **values)
    return str(namespaces_refused(OSError(code, "why"), limits(sysctls), sysctls))


def test_apparmor(tmp_path: Path) -> None:
    text = told(errno.EACCES, tmp_path, kernel__apparmor_restrict_unprivileged_userns=1, kernel__unprivileged_userns_clone=1)
    assert "AppArmor" in text
    assert "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`" in text


def test_debians_switch(tmp_path: Path) -> None:
    text = told(errno.EPERM, tmp_path, kernel__unprivileged_userns_clone=0)
    assert "`sudo sysctl kernel.unprivileged_userns_clone=1`" in text


@pytest.mark.parametrize("kind", ["user", "net", "mnt"])
def test_limits(tmp_path: Path, kind: str) -> None:
    values = {f"user__max_{name}_namespaces": 0 if name == kind else 100 for name in ("user", "net", "mnt")}
    assert f"`sudo sysctl user.max_{kind}_namespaces=16384`" in told(errno.ENOSPC, tmp_path, **values)


def test_a_limit_that_is_used_up(tmp_path: Path) -> None:
    assert "raise user.max_user_namespaces" in told(errno.ENOSPC, tmp_path, user__max_user_namespaces=100)


def test_no_setting_forbids_it(tmp_path: Path) -> None:
    text = told(errno.EPERM, tmp_path, kernel__apparmor_restrict_unprivileged_userns=0, user__max_user_namespaces=100)
    assert "in a container allow them" in text


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_a_kernel_without(tmp_path: Path, code: int) -> None:
    assert "CONFIG_USER_NS" in told(code, tmp_path)


def test_anything_else_is_named(tmp_path: Path) -> None:
    assert told(errno.ENOMEM, tmp_path) == "no namespace can be made: why"


def test_a_device_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "DEVICE", str(tmp_path / "tun"))
    text = str(device_refused(TapError("none: load it"), tmp_path))
    assert text == f"none: load it (in a container: start it with --device {tmp_path}/tun)"


def test_a_device_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "`sudo chmod 666 /dev/net/tun`" in str(device_refused(TapError("", forbidden=True), tmp_path))


def test_a_device_that_makes_no_tap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where AppArmor lets the namespace be made, but nothing in it be done."""
    monkeypatch.setattr("os.access", lambda path, mode: True)
    forbidden = TapError("", forbidden=True)
    assert "--cap-add NET_ADMIN" in str(device_refused(forbidden, tmp_path))
    assert "AppArmor" in str(device_refused(forbidden, settings(tmp_path, kernel__apparmor_restrict_unprivileged_userns=1)))
