"""Teeworlds 0.7: the client searches the LAN by itself when it starts (broadcasts to 255.255.255.255, ports 8303 to 8310), and lists it on
the page "Local". The first server of the list is chosen and joined by two keys; the game is UDP.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Mapping

import attrs

from tests.lab.programs.capture import capture
from tests.lab.programs.desktop import Desktop
from tests.lab.programs.place import PATIENCE, Place, Proof

NOWHERE = "127.9.9.9:9"
"""What the field for an address holds until a server of the list is chosen: nobody's."""
JOINING = 25.0
"""Seconds in which a client that draws without a graphics card has loaded the map and entered."""
LOCAL, ALL = 6, 2
"""The page with the LAN's servers; the filter that shows every one."""
FILTERS = {"settings": {"sidebar_active": 0, "filters": [ALL, ALL]}}


@attrs.frozen
class Teeworlds:
    """A dedicated server, and a client with its windows."""

    name: str = "Teeworlds"
    needs: tuple[str, ...] = ("teeworlds", "teeworlds-server", "Xvfb", "xdotool", "tshark")
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            title = f"{host.name} arena"
            home = host.home("teeworlds-server")
            server = host.start(
                "teeworlds-server", "teeworlds-server", f"sv_name {title}", "sv_register 0", "sv_map dm1", environment={"HOME": str(home)}
            )
            ending.callback(server.stop)
            server.line(f"server name is '{title}'")
            screen = ending.enter_context(Desktop(guest))
            home = guest.home("teeworlds-client")
            settings = home / ".local/share/teeworlds"
            settings.mkdir(parents=True)
            (settings / "ui_settings.json").write_text(json.dumps(FILTERS))
            options = (
                "player_name guest", "snd_enable 0", "gfx_fullscreen 0", "gfx_screen_width 640", "gfx_screen_height 480", "gfx_limitfps 1",
                "gfx_maxfps 20", "cl_cpu_throttle 50", "cl_show_welcome 0", "cl_show_menu_map 0", "cl_skip_start_menu 1",
                f"ui_browser_page {LOCAL}", f"ui_server_address_lan {NOWHERE}", "dbg_lognetwork 0", "debug 1",
            )  # fmt: skip
            seen = ending.enter_context(capture(guest, "udp portrange 8303-8310"))
            client = guest.start("teeworlds-client", "teeworlds", *options, environment=screen.environment | {"HOME": str(home)})
            ending.callback(client.stop)
            client.line("broadcasting for servers")
            keys = itertools.cycle((*[("Down", "Return")] * 6, ("F5",)))       # to search again empties the list
            joining: list[tuple[int, float]] = [(0, 0.0)]

            def press() -> None:
                """The next keys; not while it joins, since each joining begins a connection, and the server bans who makes many."""
                begun = sum("connecting to" in line and NOWHERE not in line for line in client.said())
                if begun > joining[-1][0]:
                    joining.append((begun, time.monotonic()))
                if not begun or time.monotonic() > joining[-1][1] + JOINING:
                    screen.key(*next(keys))

            used = server.line("player has entered the game", 2 * PATIENCE, press)
            client.line("connecting to")
            found = [line for line in client.said() if "connecting to" in line][-1]      # before the list came, Return was for NOWHERE
            assert NOWHERE not in found, found
            return Proof(f"{found}; {seen.exchange()}", used)
