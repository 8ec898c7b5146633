"""Why a system makes no namespaces for programs, and what to do about it: one line each."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from userlan.driver.tap.device import DEVICE, TapError

SYSCTLS = Path("/proc/sys")

_NO_PERMISSION = (errno.EPERM, errno.EACCES)


class NamespaceError(Exception):
    """There is no place inside the LAN for programs; ``str()`` is one clear line that says what to do."""


def limits(sysctls: Path = SYSCTLS) -> dict[str, int | None]:
    """How many namespaces of each kind this user namespace has at the most; one made in it has limits of its own."""
    return {name: _value(sysctls, name) for name in (f"user.max_{kind}_namespaces" for kind in ("user", "net", "mnt"))}


def namespaces_refused(error: OSError, limited: dict[str, int | None], sysctls: Path = SYSCTLS) -> NamespaceError:
    """The kernel has refused to make the namespaces, or what one may do in them; ``limited``: the :func:`limits` before."""
    setting = _setting(sysctls) if error.errno in _NO_PERMISSION else None
    if error.errno == errno.ENOSPC:
        for name in (name for name, value in limited.items() if value == 0):
            setting = f"this system allows no namespaces: `sudo sysctl {name}=16384` changes that (a file in /etc/sysctl.d keeps it)"
    if setting is not None:
        return NamespaceError(setting)
    if error.errno == errno.ENOSPC:
        return NamespaceError(
            "this system makes no more namespaces: raise user.max_user_namespaces and user.max_net_namespaces with `sudo sysctl`"
        )
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return NamespaceError("this kernel has no user and network namespaces: it takes one with CONFIG_USER_NS and CONFIG_NET_NS")
    if error.errno in _NO_PERMISSION:
        return NamespaceError(
            "user namespaces are forbidden here: in a container allow them (Docker, Podman: --security-opt seccomp=unconfined), "
            "or use the proxy: `userlan proxy`"
        )
    return NamespaceError(f"no namespace can be made: {error.strerror}")


def _setting(sysctls: Path) -> str | None:
    """The setting that forbids it, and how to change it."""
    name = "kernel.unprivileged_userns_clone"
    if _value(sysctls, name) == 0:
        return f"this system allows user namespaces to root alone: `sudo sysctl {name}=1` changes that (a file in /etc/sysctl.d keeps it)"
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if _value(sysctls, name) == 1:
        return (
            f"AppArmor forbids user namespaces, as on Ubuntu since 24.04: `sudo sysctl {name}=0` allows them"
            " (a file in /etc/sysctl.d keeps it)"
        )
    return None


def _value(sysctls: Path, name: str) -> int | None:
    try:
        return int((sysctls / name.replace(".", "/")).read_text())
    except (OSError, ValueError):
        return None


def device_refused(error: TapError, sysctls: Path = SYSCTLS) -> NamespaceError:
    """There is no TAP in the namespaces."""
    if not error.forbidden:
        in_container = "" if os.path.exists(DEVICE) else f" (in a container: start it with --device {DEVICE})"
        return NamespaceError(f"{error}{in_container}")
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return NamespaceError(f"{DEVICE} is closed to this user: `sudo chmod 666 {DEVICE}` opens it, as it is on most systems")
    setting = _setting(sysctls)
    return NamespaceError(
        setting or "no TAP may be made in a namespace here: in a container allow it (--cap-add NET_ADMIN), or use `userlan proxy`"
    )
