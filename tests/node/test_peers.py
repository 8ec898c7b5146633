"""One pair's states, as ``status`` shows them, driven by hand."""

from __future__ import annotations

from userlan.node.liveness import SILENCE
from userlan.node.peers import (
    DOUBT,
    UNAIDED,
    UPGRADE_INTERVAL,
    EchoDue,
    InitiateDue,
    MeetDue,
    PeerEffect,
    PeerLink,
    PeerState,
    ProbeDue,
    path_of,
)
from userlan.wire.endpoint import Endpoint

HERE = Endpoint("udp", "203.0.113.9", 41414)
STREAM = Endpoint("tcp", "203.0.113.9", 41414)


def run(link: PeerLink, now: float, until: float, session: bool = True, answer: bool = True) -> list[tuple[float, PeerEffect]]:
    """Ticks at each deadline; answers echoes 10 ms later where asked to."""
    effects: list[tuple[float, PeerEffect]] = []
    while (deadline := link.deadline()) is not None and deadline <= until:
        now = max(now, deadline)
        due = link.tick(session, now)
        while due:
            effect = due.pop(0)
            effects.append((now, effect))
            if isinstance(effect, ProbeDue) and answer and effect.size <= 1420:
                due += link.probe_answered(effect.sequence, now + 0.01)
            if isinstance(effect, EchoDue) and answer:
                link.heard(HERE, now + 0.01)
                link.echo_reply(effect.sequence, now + 0.01)
    return effects


def state(link: PeerLink) -> PeerState:
    """Its state; a call, since a type checker takes an attribute for unchanged."""
    return link.state


def direct(now: float = 0.0) -> PeerLink:
    """A link that just became direct."""
    link = PeerLink(bytes(32), now, mtu=1420)
    link.presence(True, now)
    link.introduce([HERE], 0.0, now)
    assert state(link) is PeerState.CONNECTING
    assert [type(effect) for effect in link.tick(False, now)] == [InitiateDue]
    link.session_established(now)
    assert any(isinstance(effect, EchoDue) for effect in link.tick(True, now))
    assert link.heard(HERE, now)
    assert state(link) is PeerState.DIRECT
    return link


def test_an_idle_direct_link_is_proved_every_five_seconds() -> None:
    link = direct()
    effects = run(link, 0.0, 60.0)
    echoes = [at for at, effect in effects if isinstance(effect, EchoDue)]
    assert 10 <= len(echoes) <= 16
    assert link.path_mtu.mtu == 1420
    assert link.rtt is not None
    assert abs(link.rtt - 0.01) < 1e-6
    assert state(link) is PeerState.DIRECT


def test_a_silent_peer_is_asked_every_second_then_gone() -> None:
    link = direct()
    run(link, 0.0, 20.0)
    link.online = True
    effects = run(link, 20.0, 20.0 + SILENCE + 3, answer=False)
    assert sum(isinstance(effect, EchoDue) for _, effect in effects) >= 8
    assert state(link) is PeerState.CONNECTING
    assert any(isinstance(effect, MeetDue) for _, effect in effects)
    assert link.rtt is None


def test_a_peer_that_the_mediator_calls_offline_has_four_seconds_to_answer() -> None:
    link = direct()
    run(link, 0.0, 20.0)
    link.presence(False, 20.0)
    run(link, 20.0, 20.0 + DOUBT + 1, answer=False)
    assert state(link) is PeerState.OFFLINE


def test_a_mediators_word_alone_ends_nothing() -> None:
    link = direct()
    link.presence(False, 20.0)
    run(link, 20.0, 60.0)
    assert state(link) is PeerState.DIRECT


def test_attempts_back_off_while_the_peer_stays_away() -> None:
    link = PeerLink(bytes(32), 0.0)
    link.cached = [HERE]
    link.try_cached(0.0)
    assert state(link) is PeerState.CONNECTING
    effects = run(link, 0.0, 600.0, session=False, answer=False)
    assert state(link) is PeerState.OFFLINE
    assert sum(isinstance(effect, InitiateDue) for _, effect in effects) < 130


def test_a_wish_during_an_attempt_does_not_spin() -> None:
    link = PeerLink(bytes(32), 0.0)
    link.presence(True, 0.0)
    link.introduce([HERE], 0.0, 0.0)
    link.network_changed(0.0)
    for now in (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.5):
        link.tick(False, now)
        deadline = link.deadline()
        assert deadline is not None
        assert deadline > now


def test_a_tcp_path_is_left_for_udp_when_it_can_be() -> None:
    link = direct()
    link.reached(STREAM, 0.0)
    effects = run(link, 0.0, 130.0)
    upgrades = [effect for _, effect in effects if isinstance(effect, InitiateDue)]
    assert upgrades
    assert all(endpoint.transport == "udp" for effect in upgrades for endpoint in effect.endpoints)
    assert link.cached[0] == STREAM


def test_an_upgrade_leaves_the_first_packet_to_the_introduction_that_it_asks_for() -> None:
    """A packet that comes unasked would close a NAT that moves its port; without anybody who introduces, it is all there is."""
    for introduced in (True, False):
        link = direct()
        link.reached(Endpoint("relay", "203.0.113.1", 1), 0.0)
        effects = run(link, 0.0, UPGRADE_INTERVAL + UNAIDED / 2)
        assert [type(effect) for _, effect in effects if isinstance(effect, InitiateDue | MeetDue)][-1:] == [MeetDue]
        if introduced:
            link.introduce([HERE], 0.0, UPGRADE_INTERVAL + UNAIDED / 2, punched=True)
        later = run(link, UPGRADE_INTERVAL + UNAIDED / 2, UPGRADE_INTERVAL + 3 * UNAIDED)
        tried = [effect for _, effect in later if isinstance(effect, InitiateDue)]
        assert bool(tried) is not introduced


def test_words_for_paths() -> None:
    assert path_of(HERE, PeerState.DIRECT) == "udp"
    assert path_of(STREAM, PeerState.DIRECT) == "tcp"
    assert path_of(Endpoint("udp", "192.168.1.5", 1), PeerState.DIRECT) == "lan"
    assert path_of(HERE, PeerState.OFFLINE) == path_of(None, PeerState.DIRECT) == "none"
