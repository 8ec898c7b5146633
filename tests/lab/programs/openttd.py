"""OpenTTD: the client's "Search LAN" (a UDP broadcast to port 3979 on each interface), then "Join game" on what it lists.

The search has no console command, so the client's buttons are pressed on a virtual screen. What is listed is then asked by TCP, at the
address from which the answer to the broadcast came; the game itself is TCP as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import attrs

from tests.lab.programs.capture import capture
from tests.lab.programs.desktop import Desktop
from tests.lab.programs.place import Place, Proof, Running

SERVER = """[network]
server_name = {name}
server_game_type = local
server_port = 3979
[game_creation]
map_x = 6
map_y = 6
"""
CLIENT = """[network]
client_name = guest
"""
MULTIPLAYER, SEARCH_LAN, FIRST, JOIN = (398, 188), (192, 463), (94, 62), (461, 438)
"""Where the buttons and the first line of the list are on a screen of 640x480."""


@attrs.frozen
class OpenTTD:
    """A dedicated server, and a client with its windows."""

    name: str = "OpenTTD"
    needs: tuple[str, ...] = ("openttd", "Xvfb", "xdotool", "tshark")
    why_not: Mapping[str, str] = attrs.field(factory=dict)

    def prove(self, host: Place, guest: Place) -> Proof:
        with contextlib.ExitStack() as ending:
            server = self._serve(host)
            ending.callback(server.stop)
            screen = ending.enter_context(Desktop(guest))
            home = guest.home("openttd-client")
            (home / "openttd.cfg").write_text(CLIENT)
            client = guest.start(
                "openttd-client", "openttd", "-x", "-c", str(home / "openttd.cfg"), "-d", "net=5", "-v", "sdl", "-s", "null", "-m", "null",
                "-r", "640x480", environment=screen.environment | {"HOME": str(home)},
            )  # fmt: skip
            ending.callback(client.stop, kill=True)
            client.line("Detected broadcast addresses")
            seen = ending.enter_context(capture(guest, "udp port 3979"))

            def search() -> None:
                screen.click(*MULTIPLAYER)
                screen.click(*SEARCH_LAN)

            found = client.line("Server response from", meanwhile=search)
            client.line("Connected to")
            asked = seen.exchange()

            def join() -> None:
                screen.click(*FIRST)
                screen.click(*JOIN)

            used = server.line("joined as guest", meanwhile=join)
            return Proof(f"{found}; {asked}", used)

    def _serve(self, host: Place) -> Running:
        home = host.home("openttd-server")
        (home / "openttd.cfg").write_text(SERVER.format(name=f"{host.name} railway"))
        server = host.start(
            "openttd-server", "openttd", "-D", "0.0.0.0:3979", "-x", "-c", str(home / "openttd.cfg"), "-d", "net=5", "-v", "dedicated",
            environment={"HOME": str(home)},
        )  # fmt: skip
        server.line("Map generated, starting game")
        return server
