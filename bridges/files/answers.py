"""What a member that visits is answered. All that it may speak of are the transfers between it and this node.

Files of a member whose files are wanted unasked are accepted at once, but no more of them than ``Unasked`` says, and none that would take
more than half of what the disk has left: a member that is trusted may be somebody else's by now. Those that go beyond wait for the user.

A token that is unknown, and one of somebody else's transfer, get the same answer: nobody learns what others send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from bridges.files.correspondents import Unasked
from bridges.files.exchange import Exchange
from bridges.files.frames import Fetch, Message, Noted, Offer, Refused, Request, State, Withdraw
from bridges.files.table import MAX_OFFERS, MAX_OFFERS_OF_PEER
from bridges.files.transfer import Transfer, plain
from userlan.lan.filenames import safe_name

NOT_OFFERED: Final = "it is not offered any more"
FULL: Final = "too many offers wait there for an answer"
FAST: Final = "that were too many offers in a short time"


class Answers:
    """See the module. ``policy``: whether files of a member are accepted unasked (True), shown to the user (None), or declined (False);
    ``room``: octets that the disk of the inbox has left, its reserve aside."""

    def __init__(
        self, exchange: Exchange, policy: Callable[[str], bool | None], room: Callable[[], int], unasked: Unasked | None = None
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._exchange = exchange
        self._policy = policy
        self._room = room
        self._unasked = Unasked() if unasked is None else unasked

    def heard(self, key: str, name: str, request: Request, now: float) -> Message | Transfer:
        """The answer to a member's request; a Transfer: its file is to be sent from the offset that was asked for."""
        match request:
            case Offer():
                return self._offered(key, name, request, now)
            case State():
                self._stated(key, request, now)
                return Noted(request.token)
            case Withdraw():
                self._withdrawn(key, request, now)
                return Noted(request.token)
            case Fetch():
                return self._fetched(key, request)

    def _offered(self, key: str, name: str, offer: Offer, now: float) -> Message:
        exchange, table = self._exchange, self._exchange.table
        known = table.by_token(key, "in", offer.token)
        if known is not None:
            return self._offered_again(known, offer, now)
        policy = self._policy(key)
        if policy is False:
            self.counters["offers declined unseen"] += 1
            return State(offer.token, "declined")
        if not exchange.correspondent(key, now).may_offer(now):
            self.counters["offers too fast"] += 1
            return Refused(offer.token, FAST, later=True)
        if table.waiting_offers(key) >= MAX_OFFERS_OF_PEER or table.waiting_offers() >= MAX_OFFERS or not table.has_room():
            self.counters["offers too many"] += 1
            return Refused(offer.token, FULL, later=True)
        transfer = Transfer(
            id=table.new_id(), token=offer.token, direction="in", peer=key, name=name, file=safe_name(offer.name), size=offer.size,
            mtime=offer.mtime, state="offered", time=exchange.wall(), told=True, moved=exchange.wall(),
        )  # fmt: skip
        accepted = policy is True and self._taken_unasked(key, offer.size, now)
        exchange.offered(transfer, accepted, now)
        return State(offer.token, "accepted" if accepted else "offered")

    def _taken_unasked(self, key: str, size: int, now: float) -> bool:
        """Whether a file is still taken without asking the user."""
        if size + self._exchange.promised() > self._room() // 2:
            self.counters["offers too large to take unasked"] += 1
            return False
        if not self._exchange.correspondent(key, now).take_unasked(size, self._unasked, now):
            self.counters["offers too many to take unasked"] += 1
            return False
        return True

    def _offered_again(self, known: Transfer, offer: Offer, now: float) -> Message:
        if (known.size, known.mtime) != (offer.size, offer.mtime) or known.file != safe_name(offer.name):
            self.counters["offers changed"] += 1
            return Refused(offer.token, "it was another file that was offered first")
        self._exchange.wanted(known, now)
        match known.state:
            case "offered" | "done" | "declined" | "cancelled" | "failed" as plain:
                return State(offer.token, plain, (known.error or "")[:200] if plain == "failed" else "")
            case _:
                return State(offer.token, "accepted")

    def _stated(self, key: str, state: State, now: float) -> None:
        known = self._exchange.table.by_token(key, "out", state.token)
        if known is None:
            self.counters["states of nothing"] += 1
            return
        self._exchange.told_of(known, state)
        self._exchange.schedule(now)

    def _withdrawn(self, key: str, withdrawn: Withdraw, now: float) -> None:
        known = self._exchange.table.by_token(key, "in", withdrawn.token)
        if known is None:
            self.counters["withdrawals of nothing"] += 1
            return
        if withdrawn.state == "failed":
            self._exchange.move(known, "failed", plain(withdrawn.text) or f"{known.name} cannot send it", told=True)
        else:
            self._exchange.move(known, "cancelled", f"{known.name} called it off", told=True)
        self._exchange.schedule(now)

    def _fetched(self, key: str, fetch: Fetch) -> Message | Transfer:
        known = self._exchange.table.by_token(key, "out", fetch.token)
        if known is None or known.ended:
            self.counters["fetches of nothing"] += 1
            return Refused(fetch.token, NOT_OFFERED)
        if fetch.offset > known.size:
            self.counters["fetches beyond the end"] += 1
            return Refused(fetch.token, "the file is shorter than that")
        return known
