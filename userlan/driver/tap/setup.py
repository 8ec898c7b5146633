"""An interface that follows the node: set up once, and its addresses whenever they change."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from userlan.driver.tap.device import TapError
from userlan.driver.tap.netlink import Interface

QUEUE = 500
"""Packets that wait in the kernel for us, in order of arrival (Linux: 1000). As many as WireGuard's own interfaces have;
fewer lose most of a flood of small ones on a busy computer, and large ones do not stay here (``BYTES_A_WAKEUP``)."""


BROADCASTS = ((b"\xff\xff\xff\xff", 32), (bytes((224, 0, 0, 0)), 4))
"""The limited broadcast and IPv4's groups: with the prefix of each. A kernel sends them by its default route where a program
names no interface, as old games do not. (IPv6 has no such thing: a group of its link needs an interface's name.)"""


class InterfaceSetup:
    """The interface of a TAP, in the network namespace of this process."""

    def __init__(self, name: str, hardware: bytes, mtu: int, broadcasts: bool = False) -> None:
        """Sets it up without addresses. ``broadcasts``: have routes for ``BROADCASTS`` lead here. Raises TapError."""
        self._routes = BROADCASTS if broadcasts else ()
        self.warning = ""
        """What could not be done and can be done without."""
        self._addresses: dict[str, tuple[bytes, int]] = {}
        self.name = name
        try:
            self._interface = Interface(name)
        except OSError as error:
            raise self._failed(error) from error
        self.bring_up(hardware, mtu)

    def bring_up(self, hardware: bytes, mtu: int) -> None:
        """Have this hardware address and MTU, and be up; its addresses stay. Raises TapError."""
        try:
            self._interface.bring_up(hardware, mtu, QUEUE)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> TapError:
        return TapError(f"the interface {self.name} cannot be set up: {error.strerror}")

    def follow(self, addresses: Iterable[str]) -> None:
        """Have these addresses (``25.1.2.3/8``) and no other ones. Raises TapError.

        A computer whose IPv6 is switched off gets none, and goes on.
        """
        wanted = {written: _parsed(written) for written in addresses}
        try:
            for written, (address, prefix) in list(self._addresses.items()):
                if written not in wanted:
                    self._interface.remove_address(address, prefix)
                    del self._addresses[written]
            for written, (address, prefix) in wanted.items():
                if written not in self._addresses:
                    self._add(written, address, prefix)
            for destination, length in self._routes if any(len(address) == 4 for address, _ in self._addresses.values()) else ():
                self._interface.add_route(destination, length)
        except OSError as error:
            raise TapError(f"the addresses of {self.name} cannot be set: {error.strerror}") from error

    def _add(self, written: str, address: bytes, prefix: int) -> None:
        try:
            self._interface.add_address(address, prefix)
        except OSError as error:
            if len(address) == 4:
                raise
            self.warning = f"{self.name} has no IPv6 address: {error.strerror}"
            return
        self._addresses[written] = (address, prefix)


def _parsed(written: str) -> tuple[bytes, int]:
    interface = ipaddress.ip_interface(written)
    return interface.ip.packed, interface.network.prefixlen
