"""A link: something that carries IP packets between the LAN and a kernel, such as a TAP.

While it is attached, kernel and stack have the node's addresses together; ``userlan.stack.sharing`` says who gets what.

::

    tunnel ──▶ core.receive ──▶ stack ─┬─▶ its own
                                       └─▶ Host.unclaimed ──▶ LinkReceiver.deliver     once a batch of a socket is read
    kernel ──▶ LanLink.send ──▶ Attachment ──▶ tunnel ──▶ sockets                       within the call
                                       ├─▶ an ICMP error for the kernel ──▶ LinkReceiver.deliver
                                       └─▶ Uplink, what is beyond the members ──▶ LinkReceiver.deliver
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from twisted.logger import Logger

from userlan.driver.runner import CoreRunner
from userlan.driver.uplink import Uplink
from userlan.lan.addresses import ETHERIP_GROUP, text
from userlan.node.attachment import Attaching, Attachment
from userlan.stack.sharing import Distant
from userlan.wire.superpacket import SuperPacket


class AttachedError(Exception):
    """There is a link already, and there can be one only; ``str()`` is one clear line."""


class LinkReceiver(Protocol):
    """The far side of a link."""

    def deliver(self, packets: Sequence[SuperPacket]) -> None:
        """Packets for the kernel, in order."""


class LanLink:
    """The LAN as a kernel sees it. Made by ``Lan.attach_link``."""

    _log = Logger()

    def __init__(
        self,
        runner: CoreRunner,
        receiver: LinkReceiver,
        ports: tuple[int, int],
        uplink: Uplink | None = None,
        distant: Distant | None = None,
    ) -> None:
        """``distant``: the kernel is one of another computer, which takes nothing but IP."""
        if runner.link is not None:
            raise AttachedError(runner.link.in_the_way)
        core: Any = runner.core
        node: Attaching = core
        self._runner = runner
        self._receiver = receiver
        self._attachment = Attachment(node)
        self._host = runner.host
        self.in_the_way = "this computer is attached already: `userlan tap --detach` ends that"
        """What whoever wants another link is told."""
        self.addresses_changed: Callable[[], None] = _nothing
        """Called when :attr:`addresses` may have changed."""
        self.gather: Callable[[], None] = _nothing
        """Called once the sockets have been read: packets of the kernel that came by them are to be carried on (:meth:`carry`)."""
        runner.link = self
        self._host.share(*ports, (ETHERIP_GROUP,) if distant is None else (), distant)
        self._uplink = uplink
        if uplink is not None:
            self._attachment.beyond = uplink.attach(runner, receiver.deliver, self._attachment.is_lan)
        runner.touch()

    @property
    def addresses(self) -> tuple[tuple[bytes, int], ...]:
        """The own addresses, packed, each with the length of the LAN's prefix; the IPv4 one is missing while unknown."""
        return self._attachment.addresses

    @property
    def mtu(self) -> int:
        """Octets of the largest packet that the LAN is meant to carry."""
        return self._host.mtu

    @property
    def broadcast(self) -> bytes:
        """The packed broadcast address of the LAN's range."""
        return self._attachment.broadcast

    def described(self) -> list[str]:
        """:attr:`addresses` as text: ``25.1.2.3/8``."""
        return [f"{text(address)}/{prefix}" for address, prefix in self.addresses]

    def knows(self, address: bytes) -> bool:
        """Whether a packed address is another member's, or beyond the members (``uplink``)."""
        return self._attachment.knows(address)

    def member_ending(self, ending: bytes) -> bytes | None:
        """The packed IPv6 address of the member whose address ends with these four octets."""
        return self._attachment.member_ending(ending, self._runner.now())

    def send(self, packets: Sequence[SuperPacket]) -> None:
        """Packets of the kernel, at once."""
        self._attachment.send(packets, self._runner.now())
        self.flush()
        self._runner.touch()
        self._runner.pump()

    def carry(self, packets: Iterable[SuperPacket], now: float) -> None:
        """As :meth:`send`, for packets that come while the core receives: what follows from them is carried out with all else."""
        self._attachment.send(packets, now)

    def flush(self) -> None:
        """Hand over what the stack did not claim."""
        self.gather()
        packets = self._host.unclaimed
        if not packets:
            return
        self._host.unclaimed = []
        try:
            self._receiver.deliver(packets)
        except Exception:
            self._log.failure("a link failed to deliver")

    def counters(self) -> dict[str, int]:
        """What the kernel sent and was dropped, by reason."""
        counters = dict(self._attachment.counters)
        if self._uplink is not None:
            counters |= {f"uplink-{reason}": count for reason, count in self._uplink.tally().items()}
        return counters

    def detach(self) -> None:
        """The addresses are the stack's alone again. Idempotent."""
        if self._runner.link is self:
            self._runner.link = None
            self._host.unshare()
            self._runner.touch()
            self._attachment.beyond = None
            if self._uplink is not None:
                self._uplink.detach()


def _nothing() -> None:
    """Nobody wants to know."""
