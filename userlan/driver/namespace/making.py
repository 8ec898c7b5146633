"""Making the namespaces, and entering those that a process is in."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from userlan.driver.namespace import calls
from userlan.driver.namespace.refusals import NamespaceError, limits, namespaces_refused

KINDS = {"user": calls.NEW_USERS, "net": calls.NEW_NETWORK, "mnt": calls.NEW_MOUNTS}
"""The namespaces by their names in ``/proc/PID/ns``, in the order in which they are entered."""


def make() -> None:
    """Move this process, of one thread, into new namespaces, in which it may do what root may. Raises NamespaceError."""
    uid, gid, limited = os.geteuid(), os.getegid(), limits()
    try:
        calls.be_dumpable()
        if not (uid == 0 and _made_by_root()):
            calls.unshare(calls.NEW_USERS)
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
            calls.unshare(calls.NEW_NETWORK | calls.NEW_MOUNTS)
        # What is mounted outside later is seen inside, and nothing the other way round.
        calls.mount("", "/", flags=calls.MOUNT_FOLLOWING | calls.MOUNT_RECURSIVE)
    except OSError as error:
        raise namespaces_refused(error, limited) from error


def _made_by_root() -> bool:
    """Root needs no namespace of users, and stays root; one without its powers, as in a container, does."""
    try:
        calls.unshare(calls.NEW_NETWORK | calls.NEW_MOUNTS)
    except PermissionError:
        return False
    return True


def identities(pid: int | str = "self") -> dict[str, tuple[int, int]]:
    """What tells the namespaces of a process from others. Raises OSError when it has ended, or is somebody else's."""
    found = {name: os.stat(f"/proc/{pid}/ns/{name}") for name in KINDS}
    return {name: (status.st_dev, status.st_ino) for name, status in found.items()}


def enter(pid: int) -> bool:
    """Move this process, of one thread, to where the process ``pid`` is, in the same working directory. Raises NamespaceError.

    Whether it has entered a user namespace, and so may do there what root may.
    """
    descriptors: list[int] = []
    try:
        mine, theirs = identities(), identities(pid)
        folder = ""
        with suppress(FileNotFoundError):   # it was removed
            folder = os.getcwd()
        place = os.open(".", os.O_PATH | os.O_CLOEXEC)
        descriptors.append(place)
        wanted = [name for name in KINDS if mine[name] != theirs[name]]
        descriptors += [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in wanted]
        for name, descriptor in zip(wanted, descriptors[1:], strict=True):
            calls.set_namespace(descriptor, KINDS[name])
        _return_to(folder, place)
        return "user" in wanted
    except OSError as error:
        raise NamespaceError(f"the namespace of the programs that run cannot be entered: {error.strerror}") from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _return_to(folder: str, place: int) -> None:
    """To the working directory, which is lost on entering: by its name, or where that leads nowhere by its descriptor."""
    with suppress(OSError):
        os.chdir(folder)
        if os.path.samestat(os.stat("."), os.fstat(place)):
            return
    os.fchdir(place)
