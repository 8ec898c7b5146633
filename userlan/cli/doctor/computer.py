"""This computer, looked at as it is for the user who asks: with a node or without one. Nothing is changed."""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import suppress
from pathlib import Path

from userlan.cli.background import LOG_NAME
from userlan.cli.client import ApiError
from userlan.cli.configuration import discover_bridges, load_configuration
from userlan.cli.doctor import firewall, rehearsal
from userlan.cli.doctor.finding import Computer, Folder, Wanted
from userlan.cli.main import Settings, default_config
from userlan.driver import sockets
from userlan.driver.interfaces import interfaces
from userlan.driver.state import holds

DEVICE = "/dev/net/tun"
AVAHI = Path("/etc/avahi/avahi-daemon.conf")
PROBE_ALIAS = "127.1.2.3"
"""A loopback address other than 127.0.0.1."""
LOG_TAIL = 65_536
"""Octets of the log in which its last line is sought."""


def look(settings: Settings) -> Computer:
    """All of it; the longest part is the try for `userlan run`, a quarter of a second."""
    linux = sys.platform == "linux"
    path = settings.config or (default_config() if default_config().is_file() else None)
    held = sockets.waiting()
    rules, hidden = firewall.look() if linux else ((), "only Linux's firewall can be read")
    return Computer(
        folder=folder(settings.state),
        config=str(path or ""),
        mistakes=_mistakes(path),
        wanted=_wanted(settings),
        sockets=held,
        only_ipv6=sockets.only_ipv6(held),
        linux=linux,
        addresses=tuple(str(one.ip) for interface in interfaces() for one in interface.ipv4),
        loopback_up=_loopback_up(),
        aliases=_bindable(PROBE_ALIAS),
        tun=_tun() if linux else "",
        namespaces=rehearsal.rehearse() if linux else "",
        firewall=rules,
        firewall_hidden=hidden,
        broadcasts_from=_source_of_broadcasts(),
        avahi=server_settings(AVAHI),
    )


def folder(path: Path) -> Folder:
    """The state folder."""
    try:
        status = path.stat()
    except OSError:
        parent = next((one for one in path.parents if one.exists()), Path("/"))
        return Folder(str(path), exists=False, writable=os.access(parent, os.W_OK | os.X_OK))
    own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    disk = os.statvfs(path) if hasattr(os, "statvfs") else None
    return Folder(
        str(path),
        own=own,
        open_to_others=bool(stat.S_IMODE(status.st_mode) & 0o077) and os.name == "posix",
        writable=path.is_dir() and os.access(path, os.W_OK | os.X_OK),
        free=disk.f_bavail * disk.f_frsize if disk is not None else 1 << 40,
        holder=_holder(path),
        damaged=tuple(sorted(one.name for one in path.glob("*.corrupt"))) if own else (),
        log_end=_last_line(path / LOG_NAME),
    )


def _holder(folder: Path) -> int:
    """The process that holds the folder: the one that its lock names, where that has it open."""
    with suppress(OSError, ValueError):
        process = int((folder / "lock").read_text(encoding="ascii").partition("\n")[0])     # what it is stands behind it
        if holds(process, folder):
            return process
    return 0


def _last_line(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return "".join(character for character in (lines or [""])[-1] if character.isprintable())
    return ""


def _mistakes(path: Path | None) -> tuple[str, ...]:
    from userlan.node.config import check_file

    if path is None:
        return ()
    return tuple(str(problem) for problem in check_file(path, {name: kind.Options for name, kind in discover_bridges().items()}))


def _wanted(settings: Settings) -> tuple[Wanted, ...]:
    """The ports that a node holds by its configuration; none where that is wrong."""
    from userlan.lan.hostport import split_host_port
    from userlan.node.config import Config

    try:
        config, _ = load_configuration(settings)
    except ApiError:
        return ()
    named = config.listen != Config().listen
    found = [Wanted("listen", one.host, one.port, protocol, named) for one in config.listen for protocol in ("udp", "tcp")]
    for name in ("proxy", "dns"):
        listen = getattr(config.bridges.get(name), "listen", "none")
        if listen == "none":
            continue
        with suppress(ValueError):
            host, port = split_host_port(listen)
            protocols = ("tcp",) if name == "proxy" else ("udp", "tcp")
            found += [Wanted(f"{name}.listen", host, port, protocol, name == "proxy") for protocol in protocols]
    return tuple(one for one in found if one.port)


def _loopback_up() -> bool:
    """Whether packets to 127.0.0.1 arrive at all: in a bare network namespace they do not."""
    with suppress(OSError, ValueError):
        return bool(int(Path("/sys/class/net/lo/flags").read_text(), 16) & 1)
    return True


def _bindable(host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True


def _tun() -> str:
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        return f"{DEVICE}: {error.strerror}"
    return ""


def _source_of_broadcasts() -> str:
    """The own address by which the kernel would send to everybody; asks for the route and sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        probe.connect(("255.255.255.255", 9))
        return str(probe.getsockname()[0])
    return ""


def server_settings(path: Path) -> dict[str, str]:
    """The section [server] of avahi-daemon.conf (avahi-daemon.conf(5))."""
    import configparser

    read = configparser.ConfigParser(interpolation=None, strict=False)
    with suppress(OSError, configparser.Error, UnicodeDecodeError):
        read.read_string(path.read_text())
        return dict(read["server"]) if read.has_section("server") else {}
    return {}
