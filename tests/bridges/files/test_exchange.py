"""The core of both members, in virtual time: offers, answers, visits and patience, without network or disk."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import msgspec
import pytest

from bridges.files import exchange as core
from bridges.files.answers import Answers
from bridges.files.correspondents import OFFER_BURST, OFFER_RATE, RETRY_FIRST, RETRY_MOST, Unasked
from bridges.files.effects import Announce, Answered, Changed, Discard, Drop, Gone, Unspool, Visit
from bridges.files.exchange import Exchange, Ready
from bridges.files.frames import Fetch, Noted, Offer, Refused, State, Withdraw
from bridges.files.table import MAX_ENDED, MAX_OFFERS_OF_PEER, NoSuchTransferError, Table
from bridges.files.transfer import Meter, Source, Transfer

DAY = 86400.0


def token(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


class Side:
    """One member: its core, and what it has asked for."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        self.world, self.name = world, name
        numbers = itertools.count(seed)
        self.core = Exchange(
            lambda size: hashlib.sha256(str(next(numbers)).encode()).digest()[:size], lambda: 1e9 + world.now
        )
        self.policy: bool | None = None
        self.room = 1 << 40
        self.answers = Answers(self.core, lambda key: self.policy, lambda: self.room, Unasked(1000, 5))
        self.seen: list[Any] = []

    def effects(self) -> list[Any]:
        effects = self.core.effects()
        self.seen += effects
        return effects

    def states(self) -> list[str]:
        return [one.state for one in self.core.table.shown()]

    def of_kind(self, kind: type) -> list[Any]:
        return [one for one in self.seen if isinstance(one, kind)]


class World:
    """Two members; while ``up`` is false no visit arrives. A fetch takes no time, and ends as ``fetching`` says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.up = True
        self.fetching = "done"
        self.anna, self.ben = Side(self, "anna", 1), Side(self, "ben", 1000)
        self.visits: list[tuple[float, str, bool]] = []

    def other(self, side: Side) -> Side:
        return self.ben if side is self.anna else self.anna

    def settle(self) -> None:
        """Carry out effects until there are none."""
        for _ in range(10_000):
            work = [(side, effect) for side in (self.anna, self.ben) for effect in side.effects() if isinstance(effect, Visit)]
            if not work:
                return
            for side, visit in work:
                self.visits.append((self.now, side.name, visit.fetching))
                (self._fetch if visit.fetching else self._tell)(side, visit.key)
        raise AssertionError("they never come to rest")

    def run(self, until: float) -> None:
        """Let time pass from deadline to deadline."""
        self.settle()
        for _ in range(100_000):
            times = [side.core.deadline for side in (self.anna, self.ben) if side.core.deadline is not None]
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))
            for side in (self.anna, self.ben):
                if side.core.deadline is not None and side.core.deadline <= self.now:
                    side.core.tick(self.now)
            self.settle()
        raise AssertionError("deadlines without end")

    def send(self, count: int = 1, size: int = 10, spooled: bool = False) -> list[Transfer]:
        files = [Ready(f"f{number}", f"/tmp/f{number}", Source(number, size, 1)) for number in range(count)]
        made = self.anna.core.send("ben", "ben", files, spooled, self.now)
        self.settle()
        return made

    def _tell(self, side: Side, key: str) -> None:
        while self.up and (message := side.core.news(key)) is not None:
            answer = self.other(side).answers.heard(side.name, side.name, message, self.now)
            assert not isinstance(answer, Transfer)
            side.core.answered(key, message, answer, self.now)
        side.core.visit_ended(key, False, not self.up, self.now)

    def _fetch(self, side: Side, key: str) -> None:
        coming = True
        while self.up:
            transfer = side.core.next_fetch(key, self.now)
            coming = transfer is not None
            if transfer is None:
                break
            answer = self.other(side).answers.heard(side.name, side.name, Fetch(transfer.token, transfer.done), self.now)
            if isinstance(answer, Transfer):
                self.other(side).core.move(answer, "active", told=True)
                side.core.fetched(transfer, self.fetching, "" if self.fetching == "done" else "why", self.now)  # type: ignore[arg-type]
            else:
                assert isinstance(answer, Refused)
                side.core.fetched(transfer, "failed", answer.text, self.now)
        side.core.visit_ended(key, True, not self.up, self.now, coming)


@pytest.fixture
def world() -> World:
    return World()


def accept_all(world: World) -> None:
    for one in world.ben.core.table.shown():
        if one.state == "offered":
            world.ben.core.accept(one, world.now)
    world.settle()


def test_offered_asked_accepted_fetched_and_told(world: World) -> None:
    world.send()
    assert (world.anna.states(), world.ben.states()) == (["offered"], ["offered"])
    assert len(world.ben.of_kind(Announce)) == 1
    assert not [visit for visit in world.visits if visit[2]], "nothing is fetched before the user has said yes"
    accept_all(world)
    assert (world.anna.states(), world.ben.states()) == (["done"], ["done"])
    assert len(world.ben.of_kind(Answered)) == 1


def test_an_offer_waits_for_its_receiver_and_is_made_when_it_is_seen(world: World) -> None:
    world.up = False
    world.send()
    world.run(3600)
    assert world.anna.states() == ["waiting"]
    times = [time for time, _, _ in world.visits]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps[0] == RETRY_FIRST
    assert all(later >= earlier for earlier, later in itertools.pairwise(gaps)), "ever more slowly"
    assert max(gaps) == RETRY_MOST
    world.up = True
    world.anna.core.reached("ben", "ben", world.now)
    world.settle()
    assert world.anna.states() == ["offered"]


def test_a_receiver_that_lost_everything_is_offered_it_again(world: World) -> None:
    world.send()
    world.ben = Side(world, "ben", 5000)
    world.anna.core.reached("ben", "ben", world.now)
    world.settle()
    accept_all(world)
    assert (world.anna.states(), world.ben.states()) == (["done"], ["done"])


@pytest.mark.parametrize("who", ["anna", "ben"])
def test_both_go_on_from_what_they_kept(world: World, who: str) -> None:
    world.send(3)
    world.up = False
    accept_all(world)
    kept = msgspec.json.decode(msgspec.json.encode(getattr(world, who).core.table.dump()))
    fresh = Side(world, who, 5000)
    setattr(world, who, fresh)
    fresh.core.load(kept, world.now)
    world.up = True
    world.run(world.now + RETRY_MOST + 1)
    assert (world.anna.states(), world.ben.states()) == (["done"] * 3, ["done"] * 3)


def test_the_end_is_told_until_it_is_heard(world: World) -> None:
    world.send()
    (offer,) = world.ben.core.table.shown()
    world.up = False
    world.ben.core.decline(offer, world.now)
    world.ben.core.forget(offer, world.now)
    world.settle()
    assert world.ben.states() == []
    assert world.anna.states() == ["offered"]
    world.up = True
    world.run(world.now + RETRY_MOST + 1)
    assert world.anna.states() == ["declined"]
    assert len(world.ben.core.table) == 0, "and then forgotten for good"


def test_a_sender_calls_off(world: World) -> None:
    (sent,) = world.send(spooled=True)
    world.anna.core.cancel(sent, world.now)
    world.settle()
    assert world.ben.states() == ["cancelled"]
    assert world.ben.core.table.shown()[0].error == "anna called it off"
    assert world.ben.of_kind(Discard)
    assert world.anna.of_kind(Unspool) == [Unspool("/tmp/f0")]
    with pytest.raises(ValueError, match="cancelled already"):
        world.ben.core.accept(world.ben.core.table.shown()[0], world.now)


def test_a_receiver_calls_off_what_it_had_accepted(world: World) -> None:
    world.send()
    world.fetching = "broken"
    world.up = False
    accept_all(world)
    world.ben.core.decline(world.ben.core.table.shown()[0], world.now)
    world.up = True
    world.run(world.now + RETRY_MOST + 1)
    assert (world.anna.states(), world.ben.states()) == (["cancelled"], ["cancelled"])
    assert world.ben.of_kind(Drop)


def test_what_differs_is_fetched_once_more_and_then_given_up(world: World) -> None:
    world.fetching = "differs"
    world.send()
    accept_all(world)
    assert sum(fetching for _, _, fetching in world.visits) == 1, "on the same visit"
    assert (world.anna.states(), world.ben.states()) == (["failed"], ["failed"])


def test_a_full_disk_is_tried_again_each_minute(world: World) -> None:
    world.fetching = "held-up"
    world.send()
    accept_all(world)
    assert world.ben.states() == ["paused"]
    begin = len(world.visits)
    world.run(world.now + 600)
    assert 9 <= len(world.visits) - begin <= 10


def test_what_waits_for_this_computer_alone_is_said_to(world: World) -> None:
    """Until it is tried again, as it is at once when it is accepted anew; what waits for the other member is no such thing."""
    world.fetching = "held-up"
    world.send()
    accept_all(world)
    [transfer] = world.ben.core.table.shown()

    def held_up() -> object:
        return world.ben.core.view(transfer, world.now)["held_up"]

    assert (transfer.state, held_up()) == ("paused", True)
    world.ben.core.accept(transfer, world.now)
    assert held_up() is False
    world.run(world.now + 1)
    assert held_up() is True
    world.fetching = "later"
    world.ben.core.accept(transfer, world.now)
    world.run(world.now + 1)
    assert (transfer.state, held_up()) == ("paused", False)


def test_what_does_not_go_on_for_a_week_is_given_up(world: World) -> None:
    world.send()
    world.up = False
    accept_all(world)
    world.run(6 * DAY)
    assert world.ben.states() == ["accepted"]
    world.run(8 * DAY)
    assert world.ben.states() == ["failed"]
    assert world.ben.of_kind(Discard)


def test_a_few_at_once_of_many(world: World) -> None:
    world.send(50)
    world.ben.effects()
    for one in world.ben.core.table.shown():
        world.ben.core.accept(one, world.now)
    visits = [one for one in world.ben.core.effects() if isinstance(one, Visit) and one.fetching]
    assert len(visits) == core.AT_ONCE


def test_one_file_is_one_visit(world: World) -> None:
    world.send()
    accept_all(world)
    assert sum(fetching for _, _, fetching in world.visits) == 1


def test_offers_lapse(world: World) -> None:
    world.up = False
    world.send()
    world.run(31 * DAY)
    assert world.anna.states() == ["failed"]
    world.run(70 * DAY)
    assert world.anna.of_kind(Gone), "and are shown for a month more"


# --- hostile members -------------------------------------------------------------------------------------------------


def offer(number: int, size: int = 5) -> Offer:
    return Offer(token(number), f"f{number}", size)


def test_a_flood_of_offers_is_slowed_and_capped(world: World) -> None:
    ben = world.ben
    answers = [ben.answers.heard("eve", "eve", offer(number), 0.0) for number in range(2000)]
    assert sum(isinstance(one, State) for one in answers) == min(OFFER_BURST, MAX_OFFERS_OF_PEER)
    assert all(isinstance(one, Refused) and one.later for one in answers[OFFER_BURST:])
    later = [ben.answers.heard("eve", "eve", offer(5000 + number), 1e4) for number in range(2000)]
    assert not any(isinstance(one, State) for one in later), "as long as nobody has answered those"
    assert isinstance(ben.answers.heard("anna", "anna", offer(1), 1e4), State), "others are not kept out"
    assert ben.answers.counters["offers too fast"] > 0
    assert OFFER_RATE < 10


def test_many_members_cannot_fill_it(world: World) -> None:
    for member in range(100):
        for number in range(100):
            world.ben.answers.heard(f"eve{member}", "eve", offer(member * 1000 + number), 0.0)
    assert world.ben.core.table.waiting_offers() == 1024


def test_tokens_are_of_one_member(world: World) -> None:
    (sent,) = world.send()
    known = Fetch(sent.token)
    none = world.anna.answers.heard("eve", "eve", Fetch(token(9)), 0.0)
    stolen = world.anna.answers.heard("eve", "eve", known, 0.0)
    assert isinstance(none, Refused)
    assert isinstance(stolen, Refused)
    assert none.text == stolen.text
    for forged in (State(sent.token, "done"), State(sent.token, "cancelled"), Withdraw(sent.token)):
        assert world.anna.answers.heard("eve", "eve", forged, 0.0) == Noted(sent.token)
    assert world.ben.answers.heard("eve", "eve", Withdraw(sent.token), 0.0) == Noted(sent.token)
    assert (world.anna.states(), world.ben.states()) == (["offered"], ["offered"])


def test_the_sender_cannot_answer_for_the_receiver(world: World) -> None:
    (sent,) = world.send()
    world.ben.answers.heard("anna", "anna", State(sent.token, "accepted"), 0.0)
    assert world.ben.states() == ["offered"]
    assert not [visit for visit in world.visits if visit[2]]


def test_another_file_under_the_same_token_is_refused(world: World) -> None:
    world.ben.answers.heard("anna", "anna", offer(1), 0.0)
    answer = world.ben.answers.heard("anna", "anna", offer(1, size=10**12), 0.0)
    assert isinstance(answer, Refused)
    assert [one.size for one in world.ben.core.table.shown()] == [5]


def test_fetches_beyond_the_end_and_of_what_has_ended_are_refused(world: World) -> None:
    (sent,) = world.send()
    assert isinstance(world.anna.answers.heard("ben", "ben", Fetch(sent.token, 11), 0.0), Refused)
    world.anna.core.cancel(sent, 0.0)
    assert isinstance(world.anna.answers.heard("ben", "ben", Fetch(sent.token), 0.0), Refused)


def test_those_who_are_denied_leave_no_trace(world: World) -> None:
    world.ben.policy = False
    world.send()
    assert world.anna.states() == ["declined"]
    assert len(world.ben.core.table) == 0


def test_their_words_are_plain(world: World) -> None:
    (sent,) = world.send()
    world.anna.answers.heard("ben", "ben", State(sent.token, "failed", "\x1b[2Jdisk\n"), 0.0)
    assert sent.error == "[2Jdisk"


# --- values ----------------------------------------------------------------------------------------------------------


def test_ids_are_found_by_their_beginning() -> None:
    numbers = itertools.count(1)
    table = Table(lambda size: hashlib.sha256(str(next(numbers)).encode()).digest()[:size])
    world = World()
    made = world.send(40)
    table = world.anna.core.table
    assert all(table.find(one.id.upper()[:6].lower()) is one for one in made)
    with pytest.raises(NoSuchTransferError, match="no transfer"):
        table.find("!")
    with pytest.raises(NoSuchTransferError, match="no transfer"):
        table.find("")
    first = next(letter for letter in "23456789abcdefghjkmnpqrstuvwxyz" if sum(one.id.startswith(letter) for one in made) > 1)
    with pytest.raises(NoSuchTransferError, match="may be"):
        table.find(first)


def test_the_oldest_ended_ones_give_way(world: World) -> None:
    for _ in range(3):
        for one in world.send(250):
            world.anna.core.cancel(one, world.now)
        world.run(world.now + 400)
    assert len(world.anna.core.table) <= MAX_ENDED
    assert any(isinstance(one, Changed) for one in world.anna.seen)


def test_a_rate_is_right_at_once_and_sinks_when_nothing_comes() -> None:
    meter = Meter(0.0)
    for tenth in range(1, 11):
        meter.add(100_000, tenth / 10)
    assert meter.rate(1.0) == pytest.approx(1e6, rel=0.05)
    assert meter.rate(31.0) < 100


def test_whoever_offers_and_withdraws_without_end_pushes_out_its_own() -> None:
    table = Table(lambda size: bytes(size))

    def ended(number: int, peer: str) -> None:
        transfer = Transfer(
            id=f"{peer}{number}", token=token(number), direction="in", peer=peer, name=peer, file="x", size=1, mtime=0,
            state="cancelled", time=number, told=True, moved=float(number),
        )  # fmt: skip
        table.add(transfer)

    for number in range(10):
        ended(number, "honest")
    for number in range(MAX_ENDED + 50):
        ended(100 + number, "eve")
    gone = table.surplus(1000.0)
    assert [one.id for one in gone] == [f"eve{100 + number}" for number in range(60)]


def test_members_take_turns_where_many_wait() -> None:
    """Whoever was fetched from longest ago comes first, however old the transfers of the others are."""
    exchange = Exchange(lambda size: hashlib.sha256(str(next(numbers)).encode()).digest()[:size], lambda: 1e9, at_once=1)
    numbers = itertools.count()

    def accepted(number: int) -> None:
        transfer = Transfer(
            id=exchange.table.new_id(), token=token(number), direction="in", peer=f"peer {number}", name="x", file="x", size=1, mtime=0,
            state="offered", time=1e9, told=True, moved=1e9,
        )  # fmt: skip
        exchange.offered(transfer, True, 0.0)

    def fetching() -> set[str]:
        return {one.key for one in exchange.effects() if isinstance(one, Visit) and one.fetching}

    for number in range(core.AT_ONCE_OF_ALL):
        accepted(number)
    first = fetching()
    assert len(first) == core.AT_ONCE_OF_ALL
    assert not exchange.crowded(1.0), "nobody else waits"
    begun = [exchange.next_fetch(key, 1.0) for key in sorted(first)]
    for number in range(100, 100 + 2 * core.AT_ONCE_OF_ALL):
        accepted(number)
    assert exchange.crowded(2.0)
    seen = set(first)
    for turn in range(1, 4):
        now = 60.0 * turn
        for transfer in begun:
            assert transfer is not None
            exchange.fetched(transfer, "broken", "", now)
            exchange.visit_ended(transfer.peer, True, False, now, coming=True)
        visited = fetching()
        begun = [exchange.next_fetch(key, now) for key in sorted(visited)]
        seen |= visited
        if turn < 3:
            assert not visited & first, "it is not their turn"
    assert len(seen) == 3 * core.AT_ONCE_OF_ALL
