"""Proportional rate reduction (RFC 6937) by itself; the segments are in ``scripts/prr.txt``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.stack.tcp.prr import Prr

SEGMENT = 1000


def test_while_more_than_the_threshold_is_in_flight_the_share_of_the_threshold_leaves() -> None:
    """RFC 6937 3: CEIL(prr_delivered x ssthresh / RecoverFS) - prr_out."""
    prr = Prr()
    prr.begin(100_000)
    assert prr.allowance(10_000, 90_000, 70_000, SEGMENT, False) == 7000
    prr.sent(5000)
    assert prr.allowance(1000, 90_000, 70_000, SEGMENT, False) == 2700
    assert prr.allowance(1, 90_000, 70_000, SEGMENT, False) == 2701


def test_below_it_no_more_than_was_delivered_leaves_while_losses_go_on() -> None:
    """RFC 6937 3: PRR-CRB, packet conservation."""
    prr = Prr()
    prr.begin(100_000)
    assert prr.allowance(4000, 20_000, 70_000, SEGMENT, False) == 4000
    prr.sent(4000)
    assert prr.allowance(3000, 20_000, 70_000, SEGMENT, False) == 3000


def test_good_news_add_a_segment() -> None:
    """RFC 6937 3: PRR-SSRB, at most one segment more for each ACK."""
    prr = Prr()
    prr.begin(100_000)
    assert prr.allowance(4000, 20_000, 70_000, SEGMENT, True) == 5000
    prr.sent(5000)
    assert prr.allowance(3000, 20_000, 70_000, SEGMENT, True) == 4000


def test_the_threshold_is_not_passed() -> None:
    prr = Prr()
    prr.begin(100_000)
    assert prr.allowance(30_000, 69_000, 70_000, SEGMENT, True) == 1000


@given(st.integers(2, 200), st.data())
def test_without_further_losses_the_threshold_is_in_flight_at_the_end(segments: int, data: st.DataObject) -> None:
    """RFC 6937 4: one segment was lost, and the ACKs of the others come one by one or together."""
    flight = segments * SEGMENT
    threshold = max(flight * 7 // 10, 2 * SEGMENT)
    prr = Prr()
    prr.begin(flight)
    pipe = flight - SEGMENT
    pending = flight - SEGMENT
    prr.sent(SEGMENT)
    pipe += SEGMENT
    while pending:
        delivered = SEGMENT * data.draw(st.integers(1, pending // SEGMENT))
        pending -= delivered
        pipe -= delivered
        allowed = prr.allowance(delivered, pipe, threshold, SEGMENT, False) // SEGMENT * SEGMENT
        prr.sent(allowed)
        pipe += allowed
        assert pipe <= max(flight, threshold)
    assert pipe == pytest.approx(min(threshold, flight), abs=2 * SEGMENT)
