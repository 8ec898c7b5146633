"""The core: which transfers there are, how they stand, and who is to be visited for them. Without clock, disk or network.

One place sets a state (:meth:`Exchange.move`) and one decides on visits (:meth:`Exchange._schedule`); what is to be done is returned by
:meth:`Exchange.effects`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs

from bridges.files import frames
from bridges.files.correspondents import Correspondent
from bridges.files.effects import Announce, Answered, Changed, Discard, Drop, Effect, Gone, Unspool, Visit
from bridges.files.frames import Message, News, Offer, State, Withdraw
from bridges.files.table import Table
from bridges.files.transfer import UNDER_WAY, Meter, Source, StateName, Transfer, plain

AT_ONCE: Final = 2
"""Files fetched from one member at the same time: the second fills the pauses in which the first is checked and synchronised."""
AT_ONCE_OF_ALL: Final = 8
"""From all members: each holds threads' time, an open file and up to some MB."""
PROGRESS_INTERVAL: Final = 0.5
"""Seconds between two reports of one transfer's progress."""
SWEEP: Final = 60.0
"""Seconds between two looks for what has lapsed."""
HOLD_UP: Final = 60.0
"""Seconds until a fetch is tried again that this computer could not take: the disk is full, or the folder is gone."""
BUSY_PAUSE: Final = 20.0
"""Seconds until a member is asked again that was busy."""
UNSEEN_LIMIT: Final = 30 * 86400.0
"""Seconds after which an offer lapses that was not answered, or whose receiver was never seen."""
STILL_LIMIT: Final = 7 * 86400.0
"""Seconds without progress after which a file that has come in part is given up, and the part removed."""

FetchOutcome: TypeAlias = Literal["done", "broken", "later", "held-up", "differs", "failed"]


@attrs.frozen
class Ready:
    """A file that can be offered."""

    file: str
    path: str
    source: Source


class Exchange:
    """See the module. ``wall``: seconds since 1970 now; every ``now`` is monotonic seconds."""

    def __init__(self, entropy: Callable[[int], bytes], wall: Callable[[], float], at_once: int = AT_ONCE) -> None:
        self.table = Table(entropy)
        self.wall = wall
        self._at_once = at_once
        self._correspondents: dict[str, Correspondent] = {}
        self._effects: list[Effect] = []
        self._meters: dict[str, Meter] = {}
        self._reported: dict[str, float] = {}
        self._not_before: dict[str, float] = {}
        """Fetches that wait, by id: until when."""
        self._held_up: set[str] = set()
        """Fetches that wait for this computer alone, by id."""
        self._saying: set[str] = set()
        """Transfers about which a request has been made and not answered."""
        self._unsaid: set[str] = set()
        """Transfers of which nobody else can know: no offer was ever begun to be made, in this run of the node."""
        self.deadline: float | None = None
        """When ``tick`` has to be called next."""
        self._sweep_at: float | None = None

    # --- in and out --------------------------------------------------------------------------------------------------

    def effects(self) -> list[Effect]:
        """What is to be done since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def load(self, value: object, now: float) -> None:
        """Go on from what was kept; ValueError where that is of another form."""
        self.table.load(value)
        for transfer in self.table:
            if transfer.state == "active":
                transfer.state = "paused"
            if transfer.direction == "out" and not transfer.ended:
                transfer.told = False
        self._schedule(now)

    def tick(self, now: float) -> None:
        """Time has passed: not before ``deadline``."""
        if self._sweep_at is not None and now >= self._sweep_at:
            self._sweep(now)
        for identifier in [one for one, time in self._not_before.items() if time <= now]:
            del self._not_before[identifier]
        self._schedule(now)

    def correspondent(self, key: str, now: float) -> Correspondent:
        """What is noted of a member's visits and offers."""
        found = self._correspondents.get(key)
        if found is None:
            found = self._correspondents[key] = Correspondent(now)
        return found

    # --- states ------------------------------------------------------------------------------------------------------

    def move(self, transfer: Transfer, state: StateName, error: str | None = None, told: bool = False) -> None:
        """Set a transfer's state; an ended one stays as it is. ``told``: the other member knows it already."""
        if transfer.ended:
            return
        was, transfer.state = transfer.state, state
        self._held_up.discard(transfer.id)
        transfer.error = error
        transfer.told = told
        transfer.moved = self.wall()
        self.changed(transfer)
        if was == "offered" and transfer.direction == "in":
            self._effects.append(Answered(transfer.id))
        if state != "active":
            self._meters.pop(transfer.id, None)
        if transfer.ended:
            self._over(transfer, state)

    def _over(self, transfer: Transfer, state: StateName) -> None:
        """What an end brings with it."""
        self._not_before.pop(transfer.id, None)
        self._reported.pop(transfer.id, None)
        self._unsaid.discard(transfer.id)
        if state != "done":
            self._effects.append(Drop(transfer.id))
        if transfer.direction == "in" and state != "done":
            self._effects.append(Discard(transfer.id))
        if transfer.spooled and transfer.path is not None:
            self._effects.append(Unspool(transfer.path))

    def changed(self, transfer: Transfer, lasting: bool = True) -> None:
        """Have it shown, and kept."""
        if not transfer.hidden:
            self._effects.append(Changed(transfer, lasting))

    def view(self, transfer: Transfer, now: float) -> dict[str, object]:
        """As commands show it."""
        meter = self._meters.get(transfer.id)
        return transfer.view(meter.rate(now) if meter is not None else 0.0, transfer.id in self._held_up)

    def progress(self, transfer: Transfer, done: int, now: float) -> None:
        """So many octets are there, or have been sent."""
        meter = self._meters.get(transfer.id)
        if meter is None:
            meter = self._meters[transfer.id] = Meter(now)
        else:
            meter.add(max(0, done - transfer.done), now)
        transfer.done = done
        if now - self._reported.get(transfer.id, -PROGRESS_INTERVAL) >= PROGRESS_INTERVAL:
            self._reported[transfer.id] = now
            transfer.moved = self.wall()
            self.changed(transfer, lasting=False)

    # --- what the user wants -----------------------------------------------------------------------------------------

    def send(self, key: str, name: str, files: list[Ready], spooled: bool, now: float) -> list[Transfer]:
        """Offer files to a member. ValueError where there are too many already."""
        if not self.table.has_room(len(files)):
            raise ValueError("too many transfers are under way: cancel some, or wait for them")
        made = []
        for ready in files:
            transfer = Transfer(
                id=self.table.new_id(), token=self.table.new_token(), direction="out", peer=key, name=name, file=ready.file,
                size=ready.source.size, mtime=ready.source.mtime, state="waiting", time=self.wall(), path=ready.path,
                source=ready.source, spooled=spooled, moved=self.wall(),
            )  # fmt: skip
            self.table.add(transfer)
            self._unsaid.add(transfer.id)
            self.changed(transfer)
            made.append(transfer)
        self._schedule(now)
        return made

    def accept(self, transfer: Transfer, now: float) -> None:
        """The user wants it. ValueError, one line, where that cannot be."""
        if transfer.direction != "in":
            raise ValueError(f"{transfer.id} is a file that you send: its receiver accepts it")
        if transfer.ended:
            raise ValueError(f"{transfer.file} ({transfer.id}) is {transfer.state} already: have it sent again")
        if transfer.state == "offered":
            self.move(transfer, "accepted")
        elif transfer.id in self._held_up:      # tried again at once: what was wrong may be right by now
            self._held_up.discard(transfer.id)
            self.changed(transfer, lasting=False)
        self._not_before.pop(transfer.id, None)
        self.correspondent(transfer.peer, now).succeeded(now)
        self._schedule(now)

    def decline(self, transfer: Transfer, now: float) -> None:
        """The user does not want it."""
        if transfer.direction != "in":
            raise ValueError(f"{transfer.id} is a file that you send: cancel it instead")
        if transfer.ended:
            raise ValueError(f"{transfer.file} ({transfer.id}) is {transfer.state} already")
        self.move(transfer, "declined" if transfer.state == "offered" else "cancelled")
        self._schedule(now)

    def cancel(self, transfer: Transfer, now: float) -> None:
        """Call it off, on whichever side."""
        if transfer.direction == "in":
            self.decline(transfer, now)
            return
        if transfer.ended:
            raise ValueError(f"{transfer.file} ({transfer.id}) is {transfer.state} already")
        self.move(transfer, "cancelled", told=transfer.id in self._unsaid)     # an offer whose answer was lost has been made, too
        self._schedule(now)

    def forget(self, transfer: Transfer, now: float) -> None:
        """Show it no more."""
        if not transfer.ended:
            raise ValueError(f"{transfer.file} ({transfer.id}) is still {transfer.state}: cancel it first")
        self._forget(transfer)

    def _forget(self, transfer: Transfer) -> None:
        shown = not transfer.hidden
        if shown:
            self._effects.append(Gone(transfer.id))
        if transfer.told:
            self.table.remove(transfer)
        else:
            transfer.hidden = True

    # --- visits ------------------------------------------------------------------------------------------------------

    def reached(self, key: str, name: str, now: float) -> None:
        """There is a way to a member: what waits for it goes on."""
        transfers = self.table.of_peer(key)
        if not transfers:
            return
        for transfer in transfers:
            transfer.name = name
            if transfer.direction == "out" and not transfer.ended and transfer.state != "active":
                transfer.told = False
        self.correspondent(key, now).succeeded(now)
        self._schedule(now)

    def news(self, key: str) -> News | None:
        """The next thing that a member is to be told, in the order in which it came about."""
        for transfer in self.table.of_peer(key):
            if transfer.told or transfer.id in self._saying:
                continue
            message = _statement(transfer)
            if message is None:
                transfer.told = True
                continue
            self._saying.add(transfer.id)
            self._unsaid.discard(transfer.id)
            return message
        return None

    def answered(self, key: str, said: News, answer: Message, now: float) -> None:
        """A member has answered what it was told."""
        transfer = self._said_of(key, said)
        if transfer is None:
            return
        self._saying.discard(transfer.id)
        if isinstance(said, Offer):
            self._offer_answered(transfer, answer, now)
        else:
            transfer.told = _statement(transfer) == said
            if transfer.told and transfer.hidden:
                self.table.remove(transfer)
        self._schedule(now)

    def _offer_answered(self, transfer: Transfer, answer: Message, now: float) -> None:
        if transfer.ended:
            return      # called off meanwhile: that is the next thing to tell
        match answer:
            case frames.State():
                self.told_of(transfer, answer)
                transfer.told = True
            case frames.Refused(later=True):
                self.correspondent(transfer.peer, now).retry_at = now + BUSY_PAUSE
                if transfer.error != answer.text:
                    self.move(transfer, transfer.state, plain(answer.text) or "it takes no more offers now")
            case frames.Refused():
                self.move(transfer, "failed", plain(answer.text) or f"{transfer.name} does not take it", told=True)

    def told_of(self, transfer: Transfer, state: State) -> None:
        """A receiver says how a transfer of this node's stands."""
        if transfer.ended or (state.state in ("offered", "accepted") and transfer.state == "active"):
            return
        error = None
        match state.state:
            case "accepted" if transfer.state == "paused":
                return
            case "done":
                transfer.done = transfer.size
            case "failed":
                error = plain(state.text) or f"{transfer.name} could not take it"
            case "cancelled":
                error = f"{transfer.name} called it off"
        if state.state != transfer.state or transfer.error:
            self.move(transfer, state.state, error, told=True)

    def visit_ended(self, key: str, fetching: bool, failed: bool, now: float, coming: bool = False) -> None:
        """A visit is over; ``failed``: the member did not answer, or broke off; ``coming``: it was about to ask what to fetch."""
        found = self.correspondent(key, now)
        if fetching:
            found.fetching -= 1
            found.coming -= coming
        else:
            found.errand = False
            self._saying.difference_update([one.id for one in self.table.of_peer(key)])
        if failed:
            found.failed(now)
        self._schedule(now)

    def next_fetch(self, key: str, now: float) -> Transfer | None:
        """What a visit that fetches is to fetch now: it asks once at first, and once after each :meth:`fetched`. The transfer is active
        until then."""
        self.correspondent(key, now).coming -= 1
        for transfer in self.table.of_peer(key):
            if self._fetchable(transfer, now):
                self.move(transfer, "active", told=transfer.told)
                self._meters[transfer.id] = Meter(now)
                return transfer
        return None

    def fetched(self, transfer: Transfer, outcome: FetchOutcome, text: str, now: float) -> None:
        """How a fetch has ended. ``text``: what is wrong, one line; empty where it is done."""
        self.correspondent(transfer.peer, now).coming += 1
        if transfer.ended:
            return
        match outcome:
            case "done":
                transfer.done = transfer.size
                self.move(transfer, "done")
            case "failed":
                self.move(transfer, "failed", text)
            case "differs" if transfer.again:
                self.move(transfer, "failed", text)
            case "differs":
                transfer.again, transfer.done = True, 0
                self.move(transfer, "accepted", f"{text}; it is fetched once more", told=True)
            case _:
                wait = {"held-up": HOLD_UP, "later": BUSY_PAUSE}.get(outcome)
                if wait is not None:
                    self._not_before[transfer.id] = now + wait
                self.move(transfer, "paused", text, told=True)
                if outcome == "held-up":
                    self._held_up.add(transfer.id)
        self._schedule(now)

    def crowded(self, now: float) -> bool:
        """Whether there is a member from whom nothing can be fetched, though it is to be, since others are."""
        if sum(one.fetching for one in self._correspondents.values()) < AT_ONCE_OF_ALL:
            return False
        waiting = {transfer.peer for transfer in self.table if self._fetchable(transfer, now)}
        return any(not found.fetching and found.retry_at <= now for key in waiting for found in (self.correspondent(key, now),))

    # --- inside ------------------------------------------------------------------------------------------------------

    def offered(self, transfer: Transfer, accepted: bool, now: float) -> None:
        """A member has offered a file; ``accepted``: the user wants it unasked."""
        self.table.add(transfer)
        if accepted:
            self.move(transfer, "accepted", told=True)
        else:
            self.changed(transfer)
            self._effects.append(Announce(transfer))
        self._schedule(now)

    def promised(self) -> int:
        """Octets that are still to come of what was accepted."""
        return sum(max(0, one.size - one.done) for one in self.table if one.direction == "in" and one.state in UNDER_WAY)

    def wanted(self, transfer: Transfer, now: float) -> None:
        """A member has said that a file may be fetched: those that wait for nothing but it go on."""
        if transfer.state in UNDER_WAY:
            self.correspondent(transfer.peer, now).succeeded(now)
            self._schedule(now)

    def schedule(self, now: float) -> None:
        """Something has changed elsewhere."""
        self._schedule(now)

    def _said_of(self, key: str, said: News) -> Transfer | None:
        if isinstance(said, Offer | Withdraw):
            return self.table.by_token(key, "out", said.token)
        return self.table.by_token(key, "in", said.token)

    def _fetchable(self, transfer: Transfer, now: float) -> bool:
        if transfer.direction != "in" or transfer.state not in ("accepted", "paused"):
            return False
        return self._not_before.get(transfer.id, now) <= now

    def _schedule(self, now: float) -> None:
        """Ask for the visits that are due, and note when the next ones are."""
        if self._sweep_at is None:
            self._sweep_at = now + SWEEP
        deadline = min([self._sweep_at, *self._not_before.values()])
        waiting: dict[str, tuple[bool, int]] = {}
        for transfer in self.table:
            news = not transfer.told and transfer.id not in self._saying
            fetch = self._fetchable(transfer, now)
            if news or fetch:
                other_news, fetches = waiting.get(transfer.peer, (False, 0))
                waiting[transfer.peer] = (news or other_news, fetches + fetch)
        running = sum(one.fetching for one in self._correspondents.values())
        for key, (news, fetches) in sorted(waiting.items(), key=lambda one: self.correspondent(one[0], now).turn):
            found = self.correspondent(key, now)
            if now < found.retry_at:
                deadline = min(deadline, found.retry_at)
                continue
            if news:
                found.errand = True
                self._effects.append(Visit(key, False))
            for _ in range(min(fetches - found.coming, self._at_once - found.fetching, AT_ONCE_OF_ALL - running)):
                found.fetching += 1
                found.coming += 1
                found.turn = now
                running += 1
                self._effects.append(Visit(key, True))
        self.deadline = deadline

    def _sweep(self, now: float) -> None:
        """Let go what has lapsed."""
        self._sweep_at = now + SWEEP
        wall = self.wall()
        for transfer in self.table:
            still = wall - transfer.moved
            if transfer.state in ("waiting", "offered") and wall - transfer.time > UNSEEN_LIMIT:
                self.move(transfer, "failed", "it lapsed after 30 days without an answer")
            elif transfer.state in UNDER_WAY and transfer.direction == "in" and still > STILL_LIMIT:
                self.move(transfer, "failed", f"nothing has come for 7 days ({transfer.error or f'{transfer.name} was not seen'})")
        for transfer in self.table.surplus(wall):
            self._effects.append(Gone(transfer.id))
            self.table.remove(transfer)
        known = {transfer.peer for transfer in self.table}
        for key, one in list(self._correspondents.items()):
            if key not in known and one.idle and one.rested(now):
                del self._correspondents[key]


def _statement(transfer: Transfer) -> News | None:
    """What the other member is to be told of a transfer as it stands."""
    if transfer.direction == "out":
        if not transfer.ended:
            return Offer(transfer.token, transfer.file, transfer.size, transfer.mtime)
        if transfer.state in ("cancelled", "failed"):
            return Withdraw(transfer.token, "failed" if transfer.state == "failed" else "cancelled", _told(transfer.error))
        return None
    match transfer.state:
        case "offered" | "done" | "declined" | "cancelled" | "failed" as plain:
            return State(transfer.token, plain, _told(transfer.error) if plain == "failed" else "")
        case _:
            return State(transfer.token, "accepted")


def _told(text: str | None) -> str:
    return (text or "")[: frames.MAX_TEXT]
