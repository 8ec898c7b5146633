"""Samba: a server found by its NetBIOS name (a broadcast to port 137, RFC 1002), and a file copied from it by that name."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping

import attrs

from tests.lab.network import until
from tests.lab.programs.place import PATIENCE, Place, Proof, Running

SERVER = """[global]
netbios name = {name}
workgroup = LABGROUP
server role = standalone server
map to guest = Bad User
guest account = nobody
{folders}
smb passwd file = {home}/smbpasswd
log file = {home}/log.%m
load printers = no
printcap name = /dev/null
disable spoolss = yes
[share]
path = {home}/share
guest ok = yes
"""
CLIENT = """[global]
workgroup = LABGROUP
name resolve order = bcast
{folders}
"""
FOLDERS = ("lock directory", "state directory", "cache directory", "private dir", "pid directory", "ncalrpc dir")
SIZE = 3_000_000


def folders(home: object) -> str:
    """The lines that keep everything in one folder, nmbd's socket as well: the system's own is for root, or that of another."""
    return "\n".join((*(f"{what} = {home}" for what in FOLDERS), f"nmbd:socket dir = {home}/nmbd"))


@attrs.frozen
class Samba:
    """``smbd`` and ``nmbd``; ``nmblookup`` and ``smbclient``."""

    name: str = "Samba"
    needs: tuple[str, ...] = ("smbd", "nmbd", "nmblookup", "smbclient")
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            called = f"{host.name.upper()}PC"
            home = host.home("samba-server")
            (home / "share").mkdir()
            content = os.urandom(SIZE)
            (home / "share" / "film").write_bytes(content)
            (home / "smb.conf").write_text(SERVER.format(name=called, home=home, folders=folders(home)))
            servers: list[Running] = []
            for program in ("smbd", "nmbd"):
                servers.append(host.start(program, program, "-F", "--no-process-group", "--debug-stdout", "-s", str(home / "smb.conf")))
                ending.callback(servers[-1].stop)
            own = guest.home("samba-client")
            (own / "smb.conf").write_text(CLIENT.format(folders=folders(own)))
            configured = ("-s", str(own / "smb.conf"))

            def look_up() -> str | None:
                for server in servers:
                    server.goes_on()
                told = guest.run("nmblookup", *configured, f"{called}#20", check=False).stdout
                return next((line for line in told.splitlines() if line.endswith(f"{called}<20>")), None)

            found: str = until(look_up, PATIENCE, f"nmblookup finds {called}", 0.5)
            got = own / "film"

            def copy() -> bool:
                """smbclient asks for the name anew, and waits for less than a second: on a busy computer one tries again."""
                done = guest.run("smbclient", *configured, "-N", f"//{called}/share", "-c", f"get film {got}", check=False)
                told = done.stdout + done.stderr
                assert done.returncode == 0 or "NT_STATUS_NOT_FOUND" in told, told
                return done.returncode == 0

            until(copy, PATIENCE, f"smbclient copies from {called}", 0.5)
            assert got.read_bytes() == content
            return Proof(found, f"//{called}/share/film copied, SHA-256 {hashlib.sha256(content).hexdigest()[:12]}")
