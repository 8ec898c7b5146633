"""Locks of public addresses: one negotiation at a time behind each, in turn, without a circle and without end."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.mediator.site_locks import MAX_ENDS, MAX_QUEUE, MAX_QUEUE_MEMBER, SHARED_A_ROUND, Need, SiteLocks

HOLD = 5.0


def site(number: int) -> bytes:
    return bytes((198, 51, 100, number))


def member(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Keeper:
    """Locks, a clock, and who has what."""

    def __init__(self) -> None:
        self.now = 0.0
        self.locks = SiteLocks()
        self.needs: dict[int, tuple[Need, ...]] = {}
        self.held: dict[int, float] = {}
        self.order: list[int] = []

    def ask(self, owner: int, *needs: tuple[int, int], shared: bool = False) -> bool | None:
        self.needs[owner] = tuple(Need(site(where), member(who), shared) for where, who in needs)
        taken = self.locks.take(owner, self.needs[owner], self.now + HOLD)
        if taken:
            self._got(owner)
        return taken

    def _got(self, owner: Hashable) -> None:
        assert isinstance(owner, int)
        for other in self.held:
            for one in self.needs[owner]:
                for two in self.needs[other]:
                    assert one.site != two.site or (one.shared and two.shared), "two hold one lock"
        self.held[owner] = self.now
        self.order.append(owner)

    def free(self, owner: int) -> None:
        self.locks.release(owner)
        self.held.pop(owner, None)

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        for late in [owner for owner in self.held if self.held[owner] + HOLD <= self.now]:
            del self.held[late]
        for owner in self.locks.granted(self.now, self.now + HOLD):
            self._got(owner)


def test_the_second_behind_one_address_waits_and_others_do_not() -> None:
    keeper = Keeper()
    assert keeper.ask(1, (1, 1)) is True
    assert keeper.ask(2, (1, 2)) is False
    assert keeper.ask(3, (2, 3)) is True
    keeper.turn(1.0)
    assert keeper.order == [1, 3]
    keeper.free(1)
    keeper.turn()
    assert keeper.order == [1, 3, 2]
    assert len(keeper.locks) == 0


def test_who_needs_two_gets_both_at_once_and_is_not_overtaken() -> None:
    keeper = Keeper()
    keeper.ask(1, (1, 1))
    keeper.ask(2, (1, 2), (2, 3))
    assert keeper.ask(3, (2, 4)) is False, "it would keep the one that waits for both from the second"
    keeper.turn(1.0)
    assert keeper.order == [1]
    keeper.free(1)
    keeper.turn()
    assert keeper.order == [1, 2]
    keeper.free(2)
    keeper.turn()
    assert keeper.order == [1, 2, 3]


def test_those_that_share_a_lock_have_it_together_but_not_during_a_prediction() -> None:
    keeper = Keeper()
    assert keeper.ask(1, (1, 1), shared=True) is True
    assert keeper.ask(2, (1, 2), shared=True) is True
    assert keeper.ask(3, (1, 3)) is False
    keeper.free(1)
    keeper.turn()
    assert keeper.order == [1, 2]
    keeper.free(2)
    keeper.turn()
    assert keeper.order == [1, 2, 3]
    assert keeper.ask(4, (1, 4), shared=True) is False
    assert keeper.ask(5, (1, 5), shared=True) is False
    assert keeper.ask(6, (1, 6)) is False
    keeper.free(3)
    keeper.turn()
    assert keeper.order == [1, 2, 3, 4, 5]
    assert set(keeper.held) == {4, 5}, "all who share, before the next that does not"
    keeper.free(4)
    keeper.free(5)
    keeper.turn()
    assert set(keeper.held) == {6}


def test_sharing_all_the_time_does_not_keep_a_prediction_away() -> None:
    keeper = Keeper()
    keeper.ask(0, (1, 1), shared=True)
    keeper.ask(1, (1, 2))
    for owner in range(2, 200):
        keeper.ask(owner, (1, 1), shared=True)
        keeper.turn(0.1)
        if 1 in keeper.held:
            break
        keeper.free(keeper.order[0] if len(keeper.order) == 1 else keeper.order[-2])
    assert 1 in keeper.held
    assert len(keeper.order) < 2 * SHARED_A_ROUND


def test_a_lock_that_is_never_given_back_is_taken_away() -> None:
    keeper = Keeper()
    keeper.ask(1, (1, 1))
    keeper.ask(2, (1, 2))
    assert keeper.locks.deadline() == HOLD
    keeper.turn(HOLD)
    assert keeper.order == [1, 2]
    assert keeper.locks.counters["locks-expired"] == 1
    assert not keeper.locks.holds(1)
    keeper.locks.hold(2, keeper.now + 1.0)
    assert keeper.locks.deadline() == keeper.now + 1.0
    keeper.locks.hold(2, keeper.now + 3.0)
    assert keeper.locks.deadline() == keeper.now + 1.0, "only shorter"


def test_a_member_with_many_peers_takes_turns_with_its_neighbours() -> None:
    keeper = Keeper()
    keeper.ask(0, (1, 1))
    for owner in range(1, 31):
        keeper.ask(owner, (1, 1))
    for owner in range(31, 34):
        keeper.ask(owner, (1, owner))
    for _ in range(12):
        keeper.free(keeper.order[-1])
        keeper.turn(0.1)
    assert set(keeper.order[1:6]) >= {31, 32, 33}


def test_queues_are_bounded_for_each_member_and_each_address() -> None:
    keeper = Keeper()
    keeper.ask(0, (1, 0))
    answers = [keeper.ask(1 + number, (1, 1)) for number in range(MAX_QUEUE_MEMBER + 1)]
    assert answers == [False] * MAX_QUEUE_MEMBER + [None]
    more = [keeper.ask(1000 + number, (1, 2 + number)) for number in range(MAX_QUEUE)]
    assert more.count(False) == MAX_QUEUE - MAX_QUEUE_MEMBER
    assert len(keeper.locks) == MAX_QUEUE
    assert keeper.ask(5000, (2, 1)) is True
    for owner in list(keeper.needs):
        keeper.free(owner)
    keeper.turn()
    assert len(keeper.locks) == 0
    assert keeper.ask(6000, (1, 1)) is True


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 4), min_size=1, max_size=2, unique=True),
            st.integers(0, 3),
            st.one_of(st.none(), st.floats(0.0, HOLD)),
            st.floats(0.0, 1.0),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(deadline=None, max_examples=200)
def test_no_deadlock_and_no_starvation(asks: list[tuple[list[int], int, float | None, float, bool]]) -> None:
    """Whoever asks gets its locks within the sum of all holds, whether the others give theirs back or not."""
    keeper = Keeper()
    keeps = {}
    for owner, (sites, who, keep, pause, shared) in enumerate(asks):
        keeps[owner] = HOLD if keep is None else keep
        keeper.ask(owner, *((where, who * 10 + where) for where in sites), shared=shared)
        keeper.turn(pause)
    end = keeper.now + HOLD * (len(asks) + 1)
    while len(keeper.order) < len(asks):
        assert keeper.now < end, "somebody waits for ever"
        for owner, since in list(keeper.held.items()):
            if since + keeps[owner] <= keeper.now and asks[owner][2] is not None:
                keeper.free(owner)
        keeper.turn(0.25)
    assert sorted(keeper.order) == list(range(len(asks)))


def test_members_without_number_do_not_make_each_ticket_dearer() -> None:
    """Keys cost nothing: what is remembered of each is forgotten in the end, whether or not anybody waits."""
    locks = SiteLocks()
    for number in range(MAX_ENDS + 1000):
        name = number.to_bytes(4, "big")
        assert locks.take(number, [Need(name, name)], 10.0)
        locks.release(number)
        locks.granted(0.0, 10.0)
    assert len(locks._ends) <= MAX_ENDS
