"""avahi: a service published by one daemon is browsed and resolved by another one, and its web page fetched from where that says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import attrs

from tests.lab.avahi import PROGRAMS, Avahi
from tests.lab.network import end, until
from tests.lab.programs.place import PATIENCE, Place, Proof

PORT = 8088
TYPE = "_http._tcp"
ALONE = ("unshare", "-Ur", "--")
"""A user namespace in which the daemon may mount its own ``/run``; whose namespace the network is makes no difference to it."""


@attrs.frozen
class AvahiDaemon:
    """``avahi-daemon`` and ``avahi-publish``; a second daemon, ``avahi-browse`` and ``curl``."""

    name: str = "avahi"
    needs: tuple[str, ...] = (*PROGRAMS, "curl")
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            home = host.home("avahi-server")
            (home / "page").mkdir()
            (home / "page" / "index.html").write_text(f"the page of {host.name}")
            command = ("python3", "-u", "-m", "http.server", str(PORT), "--directory", str(home / "page"))
            server = host.start("avahi-page", *command)
            ending.callback(server.stop)
            server.line("Serving HTTP")
            here = Avahi(host.inside.through(*ALONE), home, f"{host.name}s-computer")
            ending.callback(here.stop)
            name = f"Web of {host.name}"
            publisher = here.publish(name, TYPE, PORT, "path=/index.html")
            ending.callback(end, publisher)
            there = Avahi(guest.inside.through(*ALONE), guest.home("avahi-client"), f"{guest.name}s-computer")
            ending.callback(there.stop)
            found = there.wait_for(name, TYPE, PATIENCE, {"protocol": "IPv4"})
            assert found.text == ("path=/index.html",)
            address = f"[{found.address}]" if ":" in found.address else found.address
            url = f"http://{address}:{found.port}/index.html"
            told = guest.run("curl", "-sS", "-g", "-m", "20", url).stdout
            assert told == f"the page of {host.name}"
            end(publisher)
            until(lambda: not any(one.name == name for one in there.browse(TYPE, 10)), PATIENCE, "the goodbye is heard", 0.5)
            where = f"{found.host} {found.address}:{found.port} on {found.interface}"
            return Proof(f"{found.name!r} at {where}", f"{url}: {told!r}; goodbye heard")
