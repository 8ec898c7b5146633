"""Numbers of extra sockets: used once, bounded, closed when they are given back."""

from __future__ import annotations

from userlan.node.sockets import MAIN, Sockets


def test_a_number_is_used_once_only() -> None:
    sockets = Sockets()
    first = sockets.take(3)
    sockets.give_back(*first)
    assert set(first).isdisjoint(sockets.take(3))
    assert MAIN not in first


def test_all_or_none_are_handed_out_and_refusals_counted() -> None:
    sockets = Sockets(limit=4)
    taken = sockets.take(3)
    assert sockets.take(2) == ()
    assert sockets.counters["sockets-refused"] == 1
    assert len(sockets.take(1)) == 1
    assert sockets.room == 0
    sockets.give_back(taken[0])
    assert sockets.room == 1


def test_what_is_given_back_is_dismissed_once() -> None:
    sockets = Sockets()
    (via,) = sockets.take()
    sockets.give_back(via, via, MAIN, 999)
    assert sockets.dismissed() == [via]
    assert sockets.dismissed() == []
    assert via not in sockets
    assert MAIN in sockets


def test_the_drivers_word_of_a_port_is_kept_for_each_transport() -> None:
    sockets = Sockets()
    (via,) = sockets.take()
    assert sockets.port(via) == 0
    sockets.opened(via, "udp", 40_000)
    sockets.opened(via, "tcp", 40_001)
    assert (sockets.port(via), sockets.port(via, "tcp")) == (40_000, 40_001)


def test_a_socket_that_opened_too_late_is_closed_again() -> None:
    sockets = Sockets()
    (via,) = sockets.take()
    sockets.give_back(via)
    assert sockets.dismissed() == [via]
    sockets.opened(via, "udp", 40_000)
    assert sockets.dismissed() == [via]
    assert sockets.port(via) == 0
