"""To whom a connection is made, and when, in virtual time."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridges.chat.absences import GRACE, Absences
from bridges.chat.post import EAGER, FIRST_PAUSE, LAST_PAUSE, MAX_CONNECTING, MAX_OPEN, SPREAD, Connect, Disconnect, Post


def post() -> Post:
    return Post(lambda: 0.5)


def test_what_waits_is_brought_at_once() -> None:
    one = post()
    assert one.deadline() is None
    one.wake("ben", 10.0)
    assert one.deadline() == 10.0
    assert one.tick(10.0) == [Connect("ben")]
    assert (one.tick(10.0), one.deadline()) == ([], None)


def test_pauses_double_and_are_bounded() -> None:
    one, now, pauses = post(), 0.0, []
    one.wake("ben", now)
    for _ in range(14):
        assert one.tick(now) == [Connect("ben")]
        one.lost("ben", now)
        due = one.deadline()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses[:4] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE, 8 * FIRST_PAUSE]
    assert pauses[-1] == LAST_PAUSE


def test_a_connection_alone_is_no_success() -> None:
    """A recipient who accepts, and takes nothing, is asked as seldom as one who is not there."""
    one, now = post(), 0.0
    one.wake("ben", now)
    for _ in range(12):
        one.tick(now)
        one.connected("ben")
        one.lost("ben", now)
        now = one.deadline() or 0.0
    one.tick(now)
    one.connected("ben")
    one.succeeded("ben")
    one.lost("ben", now)
    assert one.deadline() == now + FIRST_PAUSE


def test_pauses_are_spread() -> None:
    one = Post(random.Random(7).random)
    for number in range(200):
        one.wake(str(number), 0.0)
    starts: list[float] = []
    while len(starts) < 200:
        for effect in one.tick(0.0):
            one.lost(effect.key, 0.0)
            starts.append(one._ways[effect.key].at)
    assert FIRST_PAUSE * (1 - SPREAD) <= min(starts) < max(starts) <= FIRST_PAUSE * (1 + SPREAD)
    assert len(set(starts)) > 100


def test_a_way_to_the_member_ends_the_pause() -> None:
    one, now = post(), 0.0
    one.wake("ben", now)
    for _ in range(10):
        one.tick(now)
        one.lost("ben", now)
        now = one.deadline() or 0.0
    one.lost("ben", now)
    one.reached("ben", now + 1)
    assert one.tick(now + 1) == [Connect("ben")]
    one.lost("ben", now + 1)
    assert one.deadline() == now + 1 + FIRST_PAUSE


def test_members_for_whom_nothing_waits_are_left_alone() -> None:
    one = post()
    one.reached("ben", 0.0)
    assert one.tick(0.0) == []


def test_a_new_message_tries_again_though_not_with_each_word() -> None:
    one = post()
    one.wake("ben", 0.0)
    one.tick(0.0)
    for _ in range(9):
        one.lost("ben", 0.0)
    one.wake("ben", EAGER - 1)
    assert one.tick(EAGER - 1) == []
    one.note("ben", EAGER)
    assert one.tick(EAGER) == [], "what is known already is no news"
    one.wake("ben", EAGER)
    assert one.tick(EAGER) == [Connect("ben")]


def test_an_end_with_nothing_to_bring_is_the_end() -> None:
    one = post()
    one.wake("ben", 0.0)
    one.tick(0.0)
    one.connected("ben")
    one.settled("ben", 1.0)
    one.lost("ben", 2.0)
    assert (one.state("ben"), one.deadline()) == ("asleep", None)


def test_a_network_of_many() -> None:
    """Each is connected to; never more at a time than may be; those that are done give way."""
    one, now = post(), 0.0
    reached: set[str] = set()
    for number in range(500):
        one.wake(f"{number:03}", now)
    connected: set[str] = set()
    while len(reached) < 500:
        effects = one.tick(now)
        assert effects, "nobody is left waiting"
        for effect in effects:
            match effect:
                case Disconnect(key):
                    connected.remove(key)
                case Connect(key):
                    reached.add(key)
        assert len(connected) + sum(isinstance(effect, Connect) for effect in effects) <= MAX_OPEN
        for effect in effects:
            if isinstance(effect, Connect):
                one.connected(effect.key)
                one.settled(effect.key, now)
                connected.add(effect.key)
        now += 0.1


def test_it_waits_without_asking_all_the_time() -> None:
    one = post()
    for number in range(MAX_CONNECTING + 1):
        one.wake(f"{number:03}", 0.0)
    assert len(one.tick(0.0)) == MAX_CONNECTING
    assert one.tick(0.0) == []
    assert one.deadline() is None
    one.lost("000", 0.0)
    assert one.tick(0.0) == [Connect(f"{MAX_CONNECTING:03}")]


class Machine(RuleBasedStateMachine):
    """Whatever happens in whatever order: the caps hold, and who waits is due, connecting or open."""

    def __init__(self) -> None:
        super().__init__()
        self.post = Post(random.Random(1).random)
        self.now = 0.0
        self.connecting: list[str] = []
        self.open: dict[str, bool] = {}
        self.waiting: set[str] = set()

    @rule(key=st.integers(0, 300))
    def wake(self, key: int) -> None:
        name = str(key)
        self.post.wake(name, self.now)
        self.waiting.add(name)
        if name in self.open:
            self.post.busy(name)
            self.open[name] = True

    @rule(count=st.integers(1, 200))
    def wake_many(self, count: int) -> None:
        for key in range(count):
            self.wake(key)

    @rule()
    def tick(self) -> None:
        for effect in self.post.tick(self.now):
            match effect:
                case Connect(key):
                    assert key in self.waiting
                    self.connecting.append(key)
                case Disconnect(key):
                    assert not self.open.pop(key), "it had something to do"

    @rule(count=st.integers(1, 16), good=st.booleans())
    def end_attempts(self, count: int, good: bool) -> None:
        for key in self.connecting[:count]:
            if good:
                self.post.connected(key)
                self.open[key] = True
            else:
                self.post.lost(key, self.now)
        del self.connecting[:count]

    @rule(count=st.integers(1, 50), loses=st.booleans())
    def end_work(self, count: int, loses: bool) -> None:
        for key in list(self.open)[:count]:
            if loses:
                del self.open[key]
                self.post.lost(key, self.now)
                if self.post.state(key) == "asleep":
                    self.waiting.discard(key)
            else:
                self.post.settled(key, self.now)
                self.open[key] = False
                self.waiting.discard(key)

    @rule(seconds=st.floats(0, 400))
    def time(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=st.integers(0, 300))
    def reached(self, key: int) -> None:
        self.post.reached(str(key), self.now)

    @invariant()
    def caps(self) -> None:
        assert len(self.connecting) <= MAX_CONNECTING
        assert len(self.connecting) + len(self.open) <= MAX_OPEN

    @invariant()
    def nobody_is_forgotten(self) -> None:
        assert all(self.post.state(key) != "asleep" for key in self.waiting)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=30, stateful_step_count=40)


def test_absences_need_their_time() -> None:
    absences, gone = Absences(), {"ben"}
    waiting = [("ben", "peer:ben"), ("eve", "network:home")]

    def absent(recipient: str, conversation: str) -> bool:
        return recipient in gone

    assert absences.look(waiting, absent, 0.0) == []
    assert absences.deadline() == GRACE
    assert absences.look(waiting, absent, GRACE / 2) == []
    gone.clear()
    assert absences.look(waiting, absent, GRACE) == []
    assert absences.deadline() is None
    gone.add("ben")
    absences.look(waiting, absent, 2 * GRACE)
    assert absences.look(waiting, absent, 3 * GRACE) == [("ben", "peer:ben")], "counted anew"
    assert absences.deadline() is None
