"""minidlna: a media server found by GSSDP (SSDP's M-SEARCH to 239.255.255.250:1900), its directory browsed and a picture fetched.

The client after the search is a control point of the kind that UPnP's Device Architecture describes: it fetches the description that
LOCATION names, asks the ContentDirectory in it, and fetches the picture from where that says. Each address comes from an answer.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.lab.network import until
from tests.lab.programs.place import PATIENCE, Place, Proof

CONFIG = """port=8200
media_dir=P,{home}/pictures
friendly_name={name}
db_dir={home}/db
log_dir={home}/db
inotify=no
notify_interval=5
uuid=4d696e69-444c-164e-9d41-000000000001
"""
CONTROL_POINT = Path(__file__).parent / "ends" / "control_point.py"
DEVICE = "urn:schemas-upnp-org:device:MediaServer:1"


@attrs.frozen
class MiniDLNA:
    """``minidlnad``; ``gssdp-discover`` and a control point."""

    name: str = "minidlna"
    needs: tuple[str, ...] = ("minidlnad", "gssdp-discover", "convert")
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            home = host.home("minidlna")
            for folder in ("pictures", "db"):
                (home / folder).mkdir()
            picture = home / "pictures" / "holiday.jpg"
            host.beside().run("convert", "-size", "640x400", "plasma:red-blue", str(picture))
            (home / "minidlna.conf").write_text(CONFIG.format(home=home, name=f"pictures of {host.name}"))
            server = host.start("minidlna", "minidlnad", "-S", "-R", "-f", str(home / "minidlna.conf"), "-P", str(home / "pid"))
            ending.callback(server.stop)
            log = home / "db" / "minidlna.log"

            def read() -> bool:
                server.goes_on()
                return log.exists() and "finished (1 files)" in log.read_text()

            until(read, PATIENCE, "minidlna has read its folder")

            def search() -> str | None:
                told = guest.run("gssdp-discover", "-n", "3", "-t", DEVICE, check=False).stdout.splitlines()
                return next((line.split()[1] for line in told if line.strip().startswith("Location:")), None)

            location: str = until(search, PATIENCE, "gssdp-discover finds a media server")
            got = guest.folder / "holiday.jpg"
            told = guest.run(sys.executable, str(CONTROL_POINT), location, "holiday", str(got)).stdout.strip()
            assert got.read_bytes() == picture.read_bytes()
            assert f"pictures of {host.name}" in told
            return Proof(f"MediaServer at {location}", f"{told}, SHA-256 {hashlib.sha256(got.read_bytes()).hexdigest()[:12]}")
