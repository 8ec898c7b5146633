"""How much of what goes to many is let through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.lan.storm import BURST_SECONDS, GROUP_RATE, MAX_GROUP_BUCKETS, MAX_SAME, SENDER_RATE, WINDOW, Storms

ANNA, BEN = bytes([1]) * 32, bytes([2]) * 32
GROUP, OTHER = bytes((239, 1, 2, 3)), bytes((239, 1, 2, 4))
NOW = 1000.0


class Sender:
    """Sends packets that all differ."""

    def __init__(self, storms: Storms, key: bytes = ANNA) -> None:
        self.storms = storms
        self.key = key
        self.count = 0

    def send(self, group: bytes = GROUP, now: float = NOW, count: int = 1) -> str:
        self.count += 1
        return self.storms.refuses(self.key, group, count, [self.count], now)

    def passed(self, tries: int, group: bytes = GROUP, now: float = NOW) -> int:
        return sum(not self.send(group, now) for _ in range(tries))


def test_a_sender_has_so_many_packets_a_second_and_what_it_saved_up() -> None:
    storms = Storms(100, 0)
    sender = Sender(storms)
    assert sender.passed(1_000) == 100 * BURST_SECONDS
    assert sender.passed(1_000, now=NOW + 0.5) == 50
    assert sender.passed(1_000, now=NOW + 3600) == 100 * BURST_SECONDS
    assert storms.counters == {"sender-rate": 3_000 - 450}


def test_a_group_has_its_own_limit_so_that_one_program_cannot_take_all() -> None:
    storms = Storms(100, 40)
    sender = Sender(storms)
    assert sender.passed(1_000, GROUP) == 80
    assert sender.passed(1_000, OTHER) == 80
    assert sender.passed(1_000, bytes((239, 1, 2, 5))) == 40
    assert storms.counters == {"group-rate": 920 + 920, "sender-rate": 960}


def test_senders_do_not_take_from_each_other() -> None:
    storms = Storms(100, 100)
    assert Sender(storms, ANNA).passed(1_000) == 200
    assert Sender(storms, BEN).passed(1_000) == 200
    storms.forget(ANNA)
    assert Sender(storms, ANNA).passed(1_000) == 200, "whoever comes again begins anew"


def test_a_unit_counts_as_the_packets_that_are_in_it() -> None:
    storms = Storms(100, 0)
    sender = Sender(storms)
    assert [sender.send(count=64) for _ in range(4)] == ["", "", "", "sender-rate"]
    assert storms.counters == {"sender-rate": 64}


def test_a_unit_larger_than_the_bucket_passes_when_that_is_full_and_is_paid_for() -> None:
    storms = Storms(10, 0)
    sender = Sender(storms)
    assert sender.send(count=60) == ""
    assert sender.send(now=NOW + 4) == "sender-rate"
    assert sender.send(now=NOW + 4.2) == ""


def test_no_limit() -> None:
    storms = Storms(0, 0)
    assert Sender(storms).passed(10_000) == 10_000


def test_what_is_said_again_and_again_is_a_loop() -> None:
    storms = Storms(0, 0)
    passed = [storms.refuses(ANNA, GROUP, 1, [7], NOW + number / 1000) for number in range(500)]
    assert passed == [""] * MAX_SAME + ["repeated"] * (500 - MAX_SAME)
    assert storms.refuses(ANNA, GROUP, 1, [8], NOW + 0.6) == "", "another packet is not meant"
    assert storms.refuses(BEN, GROUP, 1, [7], NOW + 0.6) == "", "nor another sender"
    assert storms.refuses(ANNA, GROUP, 1, [7], NOW + WINDOW) == ""


def test_a_program_that_says_the_same_every_frame_is_no_loop() -> None:
    storms = Storms()
    assert all(not storms.refuses(ANNA, GROUP, 1, [7], NOW + frame / 60) for frame in range(600))


def test_repetitions_within_a_unit_count() -> None:
    storms = Storms(0, 0)
    assert storms.refuses(ANNA, GROUP, 64, [7] * 64, NOW) == "repeated"


def test_who_uses_ever_new_groups_shares_a_bucket_among_the_surplus() -> None:
    storms = Storms(0, 10)
    sender = Sender(storms)
    groups = [bytes((239, 5, number >> 8, number & 255)) for number in range(10_000)]
    assert sum(not sender.send(group) for group in groups) == MAX_GROUP_BUCKETS + 10 * BURST_SECONDS
    assert sender.send(groups[0]) == ""
    assert sender.send(groups[-1], NOW + BURST_SECONDS) == "", "those that are full again make room"


def test_the_defaults_let_a_chatty_lan_through() -> None:
    """One second of what a computer says at once when it comes: fifty announcements to eight groups each."""
    sender = Sender(Storms())
    assert all(not sender.send(bytes((239, 1, 1, number % 8))) for number in range(400))
    assert GROUP_RATE <= SENDER_RATE


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 80), st.integers(1, 64), st.integers(0, 3), st.floats(0, 0.3)), min_size=1, max_size=300
    )
)
def test_no_sequence_passes_more_than_the_rates_allow(steps: list[tuple[int, int, int, int, float]]) -> None:
    storms, now = Storms(50, 20), NOW
    passed: dict[int, int] = {0: 0, 1: 0}
    refused = 0
    for sender, group, count, digest, pause in steps:
        now += pause
        if storms.refuses(bytes([sender]), bytes((239, 1, 1, group)), count, [digest, len(steps)], now):
            refused += count
        else:
            passed[sender] += count
    # a unit may be larger than what is left: it is paid for afterwards
    assert all(total <= 50 * (now - NOW + BURST_SECONDS) + 64 for total in passed.values())
    assert sum(storms.counters.values()) == refused


@pytest.mark.parametrize("back", [0.0, -5.0])
def test_time_that_stands_still_or_goes_back_gives_nothing(back: float) -> None:
    storms = Storms(10, 0)
    sender = Sender(storms)
    assert sender.passed(100) == 20
    assert sender.passed(100, now=NOW + back) == 0


def test_another_limit_holds_at_once_and_cuts_what_was_saved_up() -> None:
    storms = Storms(100, 0)
    sender = Sender(storms)
    assert sender.passed(1) == 1
    storms.limit(10, 0)
    assert sender.passed(1_000, now=NOW + 0.001) == 10 * BURST_SECONDS
    storms.limit(0, 0)
    assert sender.passed(1_000, now=NOW + 2) == 1_000
    storms.limit(0, 20)
    assert sender.passed(1_000, now=NOW + 10) == 20 * BURST_SECONDS
