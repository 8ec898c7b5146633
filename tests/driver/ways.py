"""What a core has to say about full sockets, for cores in tests that keep nothing back."""

from __future__ import annotations

from typing import Any

from userlan.tunnel.device import Device
from userlan.wire.endpoint import Endpoint


class Numbered:
    """What a core has to say about numbered sockets: notes those that were opened, dismisses what the test says."""

    def __init__(self) -> None:
        self.opened: list[tuple[int, str, int]] = []
        self.to_dismiss: list[int] = []

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        self.opened.append((via, transport, port))

    def dismissed(self) -> list[int]:
        dismissed, self.to_dismiss = self.to_dismiss, []
        return dismissed


class Unnumbered:
    """A core with the main socket only."""

    def socket_opened(self, via: int, transport: str, port: int) -> None:
        raise AssertionError("it never asked for one")

    def dismissed(self) -> list[int]:
        """Nothing was opened."""
        return []


class NothingKept(Unnumbered):
    """A core that gives all it has in one ``datagrams``."""

    backlog = False

    def answers(self, now: float) -> list[Any]:
        """What does not wait for events: nothing."""
        return []

    def hold(self, way: Endpoint | str, now: float) -> None:
        """It goes on."""

    def release(self, way: Endpoint | str) -> None:
        """It never stopped."""

    def way_opened(self, endpoint: Endpoint) -> None:
        """Nothing was waiting for it."""

    def way_lost(self, endpoint: Endpoint) -> None:
        """It has no ways of its own."""

    def way_lossy(self, endpoint: Endpoint) -> None:
        """Nor has it any to choose from."""


class DeviceWays(Unnumbered):
    """A core whose packets wait in its device."""

    device: Device

    @property
    def backlog(self) -> bool:
        return self.device.backlog

    def answers(self, now: float) -> list[Any]:
        """What does not wait for events: nothing."""
        return []

    def hold(self, way: Endpoint | str, now: float) -> None:
        self.device.hold(way, now)

    def release(self, way: Endpoint | str) -> None:
        self.device.release(way)

    def way_opened(self, endpoint: Endpoint) -> None:
        """Nothing was waiting for it."""

    def way_lost(self, endpoint: Endpoint) -> None:
        self.device.way_lost(endpoint)

    def way_lossy(self, endpoint: Endpoint) -> None:
        """There is no other way."""
