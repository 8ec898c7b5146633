"""A screen without a monitor: a virtual framebuffer, a hand on the mouse and one on the keyboard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.lab.network import until
from tests.lab.programs.place import PATIENCE, Place

SIZE = "640x480"
"""The games lay their windows out for it, so a button is always at the same point."""
FIRST = 100
"""Numbers below are those of people's screens."""
SOCKETS = Path("/tmp/.X11-unix")


class Desktop:
    """A screen of one user. Use as a context manager; ``environment`` is for the programs shown on it."""

    def __init__(self, place: Place) -> None:
        self.place = place.beside()
        if not SOCKETS.exists():        # an X server that is no root's does not make it
            SOCKETS.mkdir(mode=0o1777)
            SOCKETS.chmod(0o1777)
        number = FIRST + os.getpid() % 50_000     # a number is the whole computer's, and one that the server chooses the namespace's
        self._socket = SOCKETS / f"X{number}"
        self._socket.unlink(missing_ok=True)
        self._server = self.place.start("screen", "Xvfb", f":{number}", "-screen", "0", f"{SIZE}x24", "-nolisten", "tcp", "-nolock")
        until(self._ready, PATIENCE, "the screen is there")
        self.environment = {
            "DISPLAY": f":{number}", "SDL_AUDIODRIVER": "dummy", "LIBGL_ALWAYS_SOFTWARE": "1", "XDG_RUNTIME_DIR": str(place.folder),
        }  # fmt: skip

    def _ready(self) -> bool:
        self._server.goes_on()
        return self._socket.exists()

    def click(self, x: int, y: int) -> None:
        """The left button at a point."""
        self._hand("mousemove", str(x), str(y), "sleep", "0.2", "click", "1")

    def key(self, *names: str) -> None:
        """Keys, one after the other."""
        self._hand("key", "--delay", "200", *names)

    def clicking(self, x: int, y: int) -> Callable[[], None]:
        """A click to be repeated."""
        return lambda: self.click(x, y)

    def picture(self, name: str) -> Path:
        """What is to be seen, for people who look for a failure's cause."""
        path = self.place.folder / f"{name}.png"
        self.place.run("env", f"DISPLAY={self.environment['DISPLAY']}", "import", "-window", "root", str(path), check=False)
        return path

    def _hand(self, *words: str) -> None:
        self.place.run("env", f"DISPLAY={self.environment['DISPLAY']}", "xdotool", *words)

    def __enter__(self) -> Desktop:
        return self

    def __exit__(self, kind: object, *failure: object) -> None:
        if kind is not None and os.environ.get("USERLAN_LAB_PICTURES"):
            self.picture("failure").rename(Path(os.environ["USERLAN_LAB_PICTURES"]) / f"{self.place.name}.png")
        self._server.stop()
        self._socket.unlink(missing_ok=True)
