"""The scoreboard of runs: RFC 2018, RFC 8985, RFC 6582."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.stack.tcp.scoreboard import MAX_RUNS, Run, Scoreboard

SEGMENT = 100


def flight(*edges: int) -> Scoreboard:
    board = Scoreboard()
    for index, (start, end) in enumerate(pairwise(edges)):
        board.sent(Run(start, end, float(index)))
    return board


def lost(board: Scoreboard) -> list[tuple[int, int]]:
    return [(run.start, run.end) for run in board.runs() if run.lost]


def test_an_ack_takes_runs_and_parts_of_runs() -> None:
    board = flight(0, 1000, 2000, 3000)
    assert board.acknowledge(1500) == 1500
    assert board.newest is not None
    assert board.newest.sent_at == 1.0
    assert board.in_flight == 1500


def test_octets_are_delivered_once() -> None:
    board = flight(0, 1000, 2000, 3000)
    assert board.sack(1000, 2000) == 1000
    assert board.sack(900, 2100) == 200
    assert board.in_flight == 1800
    assert board.acknowledge(3000) == 1800
    assert board.in_flight == 0
    assert not board


def test_many_segments_are_dupthresh_by_octets_or_by_runs() -> None:
    """RFC 8985 6.2: segments are not counted one by one here."""
    board = flight(0, 1000, 2000)
    board.sack(1000, 1000 + 2 * SEGMENT)
    assert not board.many_sacked(SEGMENT)
    board.sack(1000, 1001 + 2 * SEGMENT)
    assert board.many_sacked(SEGMENT)
    board = flight(0, 1000)
    for start in (100, 300, 500):
        assert not board.many_sacked(SEGMENT)
        board.sack(start, start + 10)
    assert board.many_sacked(SEGMENT)


def test_what_was_sent_before_the_newest_is_lost_when_its_time_has_passed() -> None:
    """RFC 8985 6.2, step 5; what was sent with it, but stands behind it, was sent after it."""
    board = flight(0, 1000, 2000, 3000)
    board.sack(1400, 1500)
    assert board.mark_sent_before(1.0, 1500, 0.5) == (1000, 1.0)
    assert lost(board) == [(0, 1000)]
    assert board.mark_sent_before(1.0, 1500, 1.0) == (400, 0.0)
    assert lost(board) == [(0, 1000), (1000, 1400)]


def test_a_retransmission_is_compared_by_its_own_time() -> None:
    """RFC 8985 6.2: Segment.xmit_ts is that of the last transmission."""
    board = flight(0, 1000, 2000)
    board.sack(1000, 2000)
    board.mark_sent_before(1.0, 2000, 1.0)
    again = board.next_lost(5000)
    assert again is not None
    again.sent_at = 5.0
    assert board.mark_sent_before(1.0, 2000, 4.0) == (0, 0.0)
    assert board.mark_sent_before(6.0, 3000, 5.0) == (1000, 0.0)


def test_a_delivery_below_what_was_delivered_is_reordering_unless_it_was_sent_again() -> None:
    """RFC 8985 6.2, step 3."""
    board = flight(0, 1000, 2000, 3000)
    board.begin(0.0)
    board.sack(2000, 3000)
    assert not board.reordered
    board.begin(0.0)
    board.sack(1000, 2000)
    assert board.reordered
    board.mark_all_lost()
    again = board.next_lost(1000)
    assert again is not None
    board.begin(0.0)
    board.acknowledge(3000)
    assert not board.reordered


def test_a_retransmission_that_cannot_have_been_answered_tells_no_time() -> None:
    """RFC 8985 6.2, step 2."""
    board = flight(0, 1000, 2000)
    board.mark_all_lost()
    again = board.next_lost(1000)
    assert again is not None
    again.sent_at = 9.0
    board.begin(8.0)
    board.acknowledge(1000)
    assert board.newest is None
    assert board.first_original > 1000
    board.begin(8.0)
    board.acknowledge(2000)
    assert board.newest is not None
    assert board.first_original == 1000


def test_a_sacked_run_that_grows_keeps_what_the_ack_told() -> None:
    board = flight(0, 1000, 2000, 3000)
    board.sack(2000, 3000)
    board.begin(0.0)
    board.sack(1000, 2000)
    assert board.newest is not None
    assert (board.newest.sent_at, board.newest.end) == (1.0, 2000)
    assert [(run.start, run.end) for run in board.runs()] == [(0, 1000), (1000, 3000)]


def test_a_timeout_spares_what_was_sent_lately() -> None:
    """RFC 8985 6.3: but never the first."""
    board = flight(0, 1000, 2000, 3000)
    board.sack(1000, 2000)
    assert board.mark_older(1.5) == 1000
    assert lost(board) == [(0, 1000)]
    board = flight(0, 1000, 2000, 3000)
    assert board.mark_older(-1.0) == 1000
    assert board.mark_older(1.0) == 1000


def test_the_last_segment_can_be_sent_again_as_a_probe() -> None:
    """RFC 8985 7.3: the highest that is not SACKed."""
    board = flight(0, 1000, 2000, 3000)
    board.sack(2500, 3000)
    probe = board.last_segment(SEGMENT)
    assert probe is not None
    assert (probe.start, probe.end, probe.retransmitted) == (2400, 2500, True)
    assert board.in_flight == 2500
    board.acknowledge(3000)
    assert board.last_segment(SEGMENT) is None


def test_lost_neighbours_are_sent_again_as_one_run() -> None:
    board = flight(0, 1000, 2000, 3000, 4000)
    board.mark_all_lost()
    first = board.next_lost(2500)
    assert first is not None
    assert (first.start, first.end) == (0, 2500)
    second = board.next_lost(2500)
    assert second is not None
    assert (second.start, second.end) == (2500, 4000)
    assert board.next_lost(2500) is None
    assert board.in_flight == 4000


def test_a_timeout_keeps_what_was_sacked_unless_it_was_taken_back() -> None:
    """RFC 2018 8: a SACKed octet at SND.UNA means that the receiver has reneged."""
    board = flight(0, 1000, 2000)
    board.sack(1000, 2000)
    assert board.mark_all_lost() == 1000
    board = flight(0, 1000, 2000, 3000)
    board.sack(1000, 2000)
    board.acknowledge(1000)
    assert board.mark_all_lost() == 2000
    assert board.sacked == 0


def test_a_peer_cannot_make_runs_without_bound() -> None:
    board = flight(0, 1_000_000)
    for position in range(1, 100_000, 2):
        board.sack(position, position + 1)
    assert len(board) <= MAX_RUNS + 2


class Model:
    """Octet by octet: u in flight, s sacked, l lost."""

    def __init__(self) -> None:
        self.start = 0
        self.octets: list[str] = []

    def count(self, kind: str) -> int:
        return self.octets.count(kind)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_the_books_agree_with_a_model_octet_by_octet(data: st.DataObject) -> None:
    board = Scoreboard()
    model = Model()
    clock = 0.0
    for _ in range(data.draw(st.integers(1, 40))):
        clock += 1
        end = model.start + len(model.octets)
        action = data.draw(st.sampled_from(["send", "send", "sack", "sack", "ack", "lose", "find", "older", "again", "first", "probe"]))
        if action == "send":
            size = data.draw(st.integers(1, 300))
            board.sent(Run(end, end + size, clock))
            model.octets += "u" * size
        elif action == "sack":
            left = data.draw(st.integers(model.start - 50, end + 50))
            right = left + data.draw(st.integers(1, 200))
            delivered = board.sack(left, right)
            low, high = max(left, model.start) - model.start, min(right, end) - model.start
            assert delivered == sum(octet != "s" for octet in model.octets[low:high] if low < high)
            for index in range(low, high):
                model.octets[index] = "s"
        elif action == "ack" and model.octets:
            count = data.draw(st.integers(1, len(model.octets)))
            assert board.acknowledge(model.start + count) == sum(o != "s" for o in model.octets[:count])
            del model.octets[:count]
            model.start += count
        elif action == "lose":
            reneged = bool(model.octets) and model.octets[0] == "s"
            board.mark_all_lost()
            model.octets = ["l" if reneged or octet != "s" else "s" for octet in model.octets]
        elif action == "first" and model.octets and model.octets[0] != "s":
            board.mark_first_lost(SEGMENT)
        elif action == "find":
            before = board.lost
            newest, latest = data.draw(st.floats(0, 40)), data.draw(st.floats(0, 40))
            assert board.mark_sent_before(newest, end, latest)[0] == board.lost - before
        elif action == "older":
            reneged = bool(model.octets) and model.octets[0] == "s"
            before = board.lost
            assert board.mark_older(data.draw(st.floats(0, 40))) == board.lost - before
            if reneged:
                model.octets = ["l"] * len(model.octets)
        elif action == "probe":
            run = board.last_segment(SEGMENT)
            if run is not None:
                run.sent_at = clock
                for position in range(run.start, run.end):
                    model.octets[position - model.start] = "u"
        elif action == "again":
            limit = data.draw(st.integers(1, 400))
            run = board.next_lost(limit)
            if run is not None:
                assert 0 < run.end - run.start <= limit
                run.sent_at = clock
                for position in range(run.start, run.end):
                    model.octets[position - model.start] = "u"
        runs = list(board.runs())
        flags = "".join(("s" if r.sacked else "l" if r.lost else "u") * (r.end - r.start) for r in runs)
        if action in ("find", "older", "first"):
            assert all(new == old or (old, new) == ("u", "l") for old, new in zip(model.octets, flags, strict=True))
            model.octets = list(flags)
        assert flags == "".join(model.octets)
        assert all(before.end == after.start for before, after in pairwise(runs))
        assert (board.sacked, board.lost) == (model.count("s"), model.count("l"))
        assert board.in_flight == model.count("u")
