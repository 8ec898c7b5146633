"""How long handshakes take at present, and that they are repeated no sooner (RFC 6298, RFC 9040 2)."""

from __future__ import annotations

import pytest

from tests.node.test_peers import HERE
from userlan.node.pace import FORGET_AFTER, LEAST_SAMPLES, LONGEST, MARGIN, SAMPLES, Pace
from userlan.node.peers import InitiateDue, PeerLink


def filled(*seconds: float) -> Pace:
    pace = Pace()
    for one in seconds:
        pace.took(one, 100.0)
    return pace


def test_nothing_is_concluded_from_a_few() -> None:
    assert Pace().patience(100.0) == 0.0
    assert filled(*[2.0] * (LEAST_SAMPLES - 1)).patience(100.0) == 0.0
    assert filled(*[2.0] * LEAST_SAMPLES).patience(100.0) == MARGIN * 2.0


def test_slow_peers_say_nothing_of_the_others() -> None:
    assert filled(0.02, 0.02, *[3.0] * 4).patience(100.0) == pytest.approx(MARGIN * 0.02)


def test_it_is_bounded_and_forgotten() -> None:
    pace = filled(*[60.0] * SAMPLES)
    assert pace.patience(100.0) == LONGEST
    assert pace.patience(100.0 + FORGET_AFTER + 1) == 0.0
    pace.took(0.01, 200.0)
    assert pace.patience(200.0) == 0.0, "what was before says nothing any more"


def initiations(patience: float, answered: bool) -> list[float]:
    """When initiations leave within three seconds."""
    link, sent = PeerLink(bytes(32), 0.0), []
    link.cached = [HERE]
    link.try_cached(0.0)
    for step in range(300):
        now = step / 100
        link.wait_for_answers(patience, answered and now < 0.3)
        sent += [now for effect in link.tick(False, now) if isinstance(effect, InitiateDue)]
    return sent


def test_an_attempt_waits_for_its_answers() -> None:
    assert initiations(0.0, False) == pytest.approx([0.0, 0.1, 0.25, 0.5, 1.0, 2.0])
    assert initiations(1.2, False) == pytest.approx([0.0, 1.2, 2.4])


def test_who_has_answered_the_peer_leaves_it_the_turn() -> None:
    assert initiations(0.0, True) == pytest.approx([0.5, 1.0, 2.0])


def test_the_second_of_a_pair_leaves_the_beginning_to_the_first() -> None:
    link = PeerLink(bytes(32), 0.0, second=True)
    link.cached = [HERE]
    link.try_cached(0.0)
    assert not any(isinstance(effect, InitiateDue) for effect in link.tick(False, 0.05))
    assert any(isinstance(effect, InitiateDue) for effect in link.tick(False, 0.1))
