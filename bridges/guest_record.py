"""What is kept of a guest, and the configuration that its WireGuard program is given.

::

    STATE/guests/NAME/          0700: the companion's state folder
        guest.json              0600: this record
        identity.key, …         the companion's own

The guest's private key is kept, so that ``userlan guest show`` can print the configuration again: for a phone that was reset, or a second
look at the code. Whoever can read it can read the companion's own key beside it, with which he is that member anyway.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from userlan.driver.bridge import CommandError
from userlan.driver.guest import KEEPALIVE, LEAST_MTU
from userlan.driver.state import load_json, save_json
from userlan.driver.uplink import RESOLVER_TEXT
from userlan.lan.hostport import join_host_port

VERSION = 1
FOLDER, FILE = "guests", "guest.json"
FIRST_PORT, PORTS = 51_820, 64
"""WireGuard's own port, and how many from there on are tried before any free one is taken: what a firewall is told of, stays short."""
EVERYBODY = "255.255.255.255/32"
GROUPS = ("224.0.0.0/4", "ff00::/8")
"""What is for many goes through the tunnel, too."""
_ENDPOINT = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?))(?::(?P<port>[0-9]{1,5}))?"
)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One guest. Keys are base64, as WireGuard writes them; empty once it is ``removed``."""

    name: str
    port: int
    private: str = ""
    public: str = ""
    preshared: str = ""
    mtu: int = LEAST_MTU
    networks: tuple[str, ...] = ()
    """Of the node's, the guest's; none: all of them."""
    endpoint: str = ""
    """What the configuration names instead of what was found out: HOST or HOST:PORT."""
    dns: bool = True
    shown: str = ""
    """The endpoint in the configuration that was printed last."""
    removed: bool = False
    version: int = VERSION


def load(folder: Path, warn: Any) -> Record | None:
    """The record in a companion's folder; None where there is none that can be read."""
    value = load_json(folder / FILE, warn)
    if value is None:
        return None
    try:
        record = msgspec.convert(value, Record)
    except msgspec.ValidationError as error:
        warn(f"{folder / FILE} is left alone: {error}")
        return None
    if record.version > VERSION:
        warn(f"{folder / FILE} is of a newer version and left alone")
        return None
    return record


def save(folder: Path, record: Record) -> None:
    """Keep it, atomically and for nobody else's eyes. Raises CommandError."""
    try:
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        save_json(folder / FILE, msgspec.to_builtins(record))
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error.strerror}") from None


def kept(state: Path, warn: Any) -> Iterator[Record]:
    """All records of a node."""
    with suppress(OSError):
        for folder in sorted((state / FOLDER).iterdir()):
            record = load(folder, warn)
            if record is not None and record.name == folder.name:
                yield record


def free_port(taken: set[int]) -> int:
    """A port that is free for UDP and TCP now, and no other guest's. Raises CommandError."""
    for port in (*range(FIRST_PORT, FIRST_PORT + PORTS), *[0] * PORTS):
        found = _free(port) if port not in taken else 0
        if found and found not in taken:
            return found
    raise CommandError("there is no free port for the guest")


def _free(port: int) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket(socket.AF_INET, socket.SOCK_STREAM) as streams:
        try:
            datagrams.bind(("0.0.0.0", port))
            port = int(datagrams.getsockname()[1])
            streams.bind(("0.0.0.0", port))
        except OSError:
            return 0
    return port


def endpoint_of(record: Record, told: Mapping[str, Any]) -> str:
    """HOST:PORT as the configuration names it; empty while nothing is known. ``told``: what the companion says."""
    end = told.get("end") or {}
    if record.endpoint:
        host, port = split_endpoint(record.endpoint)
        return f"{host}:{port or end.get('port') or record.port}"
    if not end:
        return ""
    return join_host_port(end["host"], end["port"])


def split_endpoint(written: str) -> tuple[str, int]:
    """``HOST[:PORT]`` as host (IPv6 in brackets) and port, 0: none. ValueError for what is none."""
    found = _ENDPOINT.fullmatch(written)
    port = int(found["port"] or 0) if found is not None else -1
    if found is None or port > 65535 or (found["port"] is not None and not port):
        raise ValueError(f"{written!r} is no HOST:PORT")
    if found["ipv6"] is not None:
        try:
            return f"[{ipaddress.IPv6Address(found['ipv6'])}]", port
        except ValueError:
            raise ValueError(f"{written!r} is no HOST:PORT") from None
    return found["name"], port


def configuration(record: Record, told: Mapping[str, Any], server_key: str) -> str:
    """As ``wg-quick`` and every WireGuard program read it."""
    lines = [
        "[Interface]",
        f"# {record.name}, a guest of userlan",
        f"PrivateKey = {record.private}",
        f"Address = {told['ipv4']}, {told['ipv6']}",
    ]
    if record.dns:
        lines.append(f"DNS = {RESOLVER_TEXT}, internal")
    allowed = (told["range"], _prefix(told["ipv6"]), EVERYBODY, *GROUPS)
    lines += [
        f"MTU = {record.mtu}",
        "",
        "[Peer]",
        f"PublicKey = {server_key}",
        f"PresharedKey = {record.preshared}",
        f"AllowedIPs = {', '.join(allowed)}",
        f"Endpoint = {endpoint_of(record, told)}",
        f"PersistentKeepalive = {KEEPALIVE}",
    ]
    return "\n".join(lines) + "\n"


def _prefix(address: str) -> str:
    return str(ipaddress.ip_interface(address).network)
