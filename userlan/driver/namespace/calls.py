"""System calls of namespaces and mounts (unshare(2), setns(2), mount(2), prctl(2)). All raise OSError."""

from __future__ import annotations

import ctypes
import os

NEW_MOUNTS, NEW_USERS, NEW_NETWORK = 0x0002_0000, 0x1000_0000, 0x4000_0000
"""CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET (Linux, include/uapi/linux/sched.h)."""

MOUNT_BIND, MOUNT_RECURSIVE, MOUNT_FOLLOWING = 0x1000, 0x4000, 0x8_0000
MOUNT_HARMLESS, MOUNT_READ_ONLY = 0x2 | 0x4 | 0x8, 0x1
"""MS_BIND, MS_REC, MS_SLAVE; MS_NOSUID, MS_NODEV and MS_NOEXEC together, MS_RDONLY (include/uapi/linux/mount.h)."""
UNMOUNT_DETACH = 0x2

_SET_DUMPABLE, _SET_SECUREBITS, _CAP_AMBIENT = 4, 28, 47
_AMBIENT_CLEAR_ALL = 4
_NO_ROOT, _NO_ROOT_LOCKED = 0x1, 0x2
"""PR_*, SECBIT_NOROOT (include/uapi/linux: prctl.h, securebits.h)."""
_CAPABILITY_VERSION = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3: two words of each set."""


def unshare(flags: int) -> None:
    """Move this process, which must have one thread alone, into new namespaces."""
    _check(_library().unshare(ctypes.c_int(flags)))


def set_namespace(descriptor: int, kind: int) -> None:
    """Move this process into the namespace of an open file of ``/proc/PID/ns``."""
    _check(_library().setns(ctypes.c_int(descriptor), ctypes.c_int(kind)))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system, or with a flag change what is mounted."""
    texts = [os.fsencode(text) or None for text in (source, target, kind, data)]
    _check(_library().mount(texts[0] or b"none", texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def unmount(target: str) -> None:
    """Take away what is mounted last at a place; whoever uses it keeps it."""
    _check(_library().umount2(os.fsencode(target), ctypes.c_int(UNMOUNT_DETACH)))


def be_dumpable() -> None:
    """Let this user's other processes look at this one, and itself write its maps: a program file with capabilities of its
    own (``setcap``) begins without that (proc(5), PR_SET_DUMPABLE)."""
    _control(_SET_DUMPABLE, 1)


def give_up_capabilities() -> None:
    """What this process executes has no capabilities: not by inheritance, and not for being root here either (capabilities(7))."""
    _control(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    _control(_SET_SECUREBITS, _NO_ROOT | _NO_ROOT_LOCKED)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _check(_library().capset(header, (ctypes.c_uint32 * 6)()))


def _control(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _check(_library().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
