"""How many connections a member may make to this node in a short time: to whatever listens here, a built-in service or an exposed one.

Each costs this computer a protocol, mostly a socket and a connection to a local program as well, about a millisecond in all; what it
costs the member is a few packets. The rate is asked for once for each connection, when its handshake is complete: packets are not looked
at. Beyond it a connection is reset, which the member sees at once, and counted.

The account is kept by address. The tunnels prove that it is a member's, who has two (IPv4 and IPv6), and may have the rate of each. Own
addresses have none: what comes from there is this computer's own programs.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from userlan.stack.addresses import Addresses
from userlan.stack.limiter import TokenBucket

BURST: Final = 4096
"""Connections that an address may make in a row: as many as one port has at a time, and forty browsers at once."""
RATE: Final = 256.0
"""Connections a second that it may make for ever: about a quarter of what a core accepts, so that others are served beside it."""
MAX_ADDRESSES: Final = 4096
"""Addresses with an account, about 200 octets each: those of more members than most nodes know. The one that was longest quiet gives way,
and begins anew."""


class Arrivals:
    """Those of all ports of one node. ``own``: its addresses."""

    def __init__(self, own: Addresses, rate: float = RATE, burst: int = BURST) -> None:
        self._own = own
        self._rate = rate
        self._burst = burst
        self._accounts: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        """Addresses with an account."""
        return len(self._accounts)

    def admit(self, address: bytes, now: float) -> bool:
        """Whether a connection from a packed address is taken; counts it."""
        if address in self._own:
            return True
        account = self._accounts.get(address)
        if account is None:
            account = self._accounts[address] = TokenBucket(self._rate, self._burst)
            if len(self._accounts) > MAX_ADDRESSES:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(address)
        return account.allow(now)
