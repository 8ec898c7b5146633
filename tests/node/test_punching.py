"""What a node lets itself be used for by a mediator that is hostile, and by peers that are."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from userlan.control.meeting import Introduce, Measure, ServerEndpoint
from userlan.control.messages import Candidate
from userlan.node.measuring import MAX_MEASUREMENTS, MEASURED_FOR
from userlan.node.punching import (
    FEW_CONNECTIONS,
    FEW_PORTS,
    MAX_A_PEER,
    PEER_BURST,
    TARGET_BURST,
    TARGET_RATE,
    TOTAL_BURST,
    TOTAL_RATE,
    PunchEnded,
    Punching,
    PunchingEvent,
)
from userlan.node.sockets import MAX_OPEN, Sockets
from userlan.traversal.observation import Reply, Seal, tag_of
from userlan.traversal.probe import ProbeKey
from userlan.traversal.punch import PathHeard
from userlan.traversal.step import Plan, Step
from userlan.wire.burst import Burst
from userlan.wire.endpoint import Endpoint

OWN, PEER, MEDIATOR = b"o" * 32, b"p" * 32, b"m" * 32
SEEN = Endpoint("udp", "203.0.113.9", 41414)
OBSERVED = Candidate(SEEN.host, SEEN.port, "udp", "observed")
SERVER = Endpoint("udp", "192.0.2.1", 41414)
VANTAGE = ServerEndpoint(SERVER.host, SERVER.port)


class Stage:
    """A node's punching, and all that it does, each deadline in turn."""

    def __init__(self) -> None:
        self.sockets = Sockets()
        self.punching = Punching(OWN, Random(1).randbytes, self.sockets)
        self.now = 100.0
        self.sent: list[tuple[float, Burst]] = []
        self.events: list[PunchingEvent] = []

    def introduce(self, plan: Plan | None = None, token: bytes = bytes(16), peer: bytes = PEER, **more: object) -> bool:
        candidates = more.get("candidates", (OBSERVED,))
        assert isinstance(candidates, tuple)
        usable = [Endpoint(one.transport, one.host, one.port) for one in candidates]
        return self.punching.introduce(Introduce(peer, candidates, 0.0, token, plan or Plan()), usable, self.now)

    def run(self, seconds: float) -> list[Burst]:
        end, begun = self.now + seconds, len(self.sent)
        for _ in range(100_000):
            deadline = self.punching.deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.punching.tick(self.now)
            self.sent += [(self.now, burst) for burst in self.punching.datagrams(self.now)]
            self.events += self.punching.events()
        else:
            raise AssertionError("a deadline that never leaves the past")
        self.now = end
        return [burst for _, burst in self.sent[begun:]]


def search(host: str = SEEN.host, **more: object) -> Plan:
    step = Step(host, 1024, count=2048, last=65535, scattered=True, **more)  # type: ignore[arg-type]
    return Plan("birthday", (step,))


HOSTS = st.sampled_from([SEEN.host, "198.51.100.1", "192.168.1.7", "8.8.8.8", "2001:db8::5"])
STEPS = st.builds(
    Step,
    host=HOSTS, first=st.integers(1, 65535), count=st.integers(1, 2048), stride=st.integers(-4096, 4096), last=st.integers(0, 65535),
    scattered=st.booleans(), transport=st.sampled_from(["udp", "tcp"]), sockets=st.sampled_from([0, 1, 8, 256]), fresh=st.booleans(),
    spread=st.booleans(), start=st.floats(0, 30), spacing=st.sampled_from([0.0, 1e-9, 0.001]), rounds=st.integers(1, 40),
    interval=st.floats(0, 30), ttl=st.integers(0, 255),
)  # fmt: skip
PLANS = st.builds(
    Plan, technique=st.just("x"), steps=st.lists(STEPS, max_size=12).map(tuple), give_up=st.floats(0, 5), hold=st.floats(0, 30)
)
CANDIDATES = st.builds(
    Candidate, host=HOSTS, port=st.integers(1, 65535), transport=st.sampled_from(["udp", "tcp"]),
    kind=st.sampled_from(["observed", "local", "mapped"]),
)  # fmt: skip
INTRODUCTIONS = st.lists(
    st.tuples(PLANS, st.lists(CANDIDATES, max_size=6), st.integers(0, 5), st.integers(0, 40), st.floats(0, 1e9)), min_size=1, max_size=6
)


@settings(max_examples=60)
@given(INTRODUCTIONS, st.lists(st.tuples(st.integers(0, 40), st.integers(1, 64)), max_size=6))
def test_whatever_a_mediator_says_the_caps_hold(
    introductions: list[tuple[Plan, list[Candidate], int, int, float]], measures: list[tuple[int, int]]
) -> None:
    stage = Stage()
    for token, count in measures:
        stage.punching.measure(Measure(bytes((token,)) * 16, count, (VANTAGE,)), MEDIATOR, (SERVER,), stage.now)
    named: set[str] = set()
    few: Counter[str] = Counter()
    for plan, candidates, peer, token, delay in introductions:
        hosts = {candidate.host for candidate in candidates}
        message = Introduce(bytes((peer,)) * 32, tuple(candidates), delay, bytes((token,)) * 16, plan)
        usable = [Endpoint(one.transport, one.host, one.port) for one in candidates]
        if stage.punching.introduce(message, usable, stage.now):
            named |= hosts
            observed = {one.host for one in candidates if one.kind != "local"}
            few.update(dict.fromkeys(hosts - observed, 12 * FEW_PORTS + 6))
            for host in observed:
                few[host] += 100_000
        stage.run(0.05)
        assert len(stage.sockets) <= MAX_OPEN
    stage.run(45.0)
    targets = Counter(burst.endpoint.host for _, burst in stage.sent if burst.endpoint.host != SERVER.host)
    assert set(targets) <= named
    for host, packets in targets.items():
        assert packets <= TARGET_BURST + 46 * TARGET_RATE
        assert len({burst.endpoint.port for _, burst in stage.sent if burst.endpoint.host == host}) <= few[host]
    times = [at for at, burst in stage.sent if burst.endpoint.host != SERVER.host]
    for at in times[:: max(1, len(times) // 20)]:
        assert sum(at <= other <= at + 0.1 for other in times) <= TOTAL_BURST + 0.1 * TOTAL_RATE + 1
    assert len(stage.sockets) == 0
    assert stage.punching.deadline() is None


def test_a_step_goes_to_no_host_that_the_candidates_do_not_name() -> None:
    stage = Stage()
    assert stage.introduce(search("8.8.8.8"))
    assert {burst.endpoint for burst in stage.run(6)} == {SEEN}
    assert stage.punching.counters["step-elsewhere"] == 1


def test_many_ports_are_tried_of_an_observed_host_alone() -> None:
    stage = Stage()
    local = Candidate("192.168.1.7", 41414)
    assert stage.introduce(search(local.host), candidates=(OBSERVED, local))
    assert {burst.endpoint.port for burst in stage.run(6)} == {41414}
    assert stage.punching.counters["step-not-observed"] == 1


def test_one_host_is_searched_by_one_punch_at_a_time() -> None:
    stage = Stage()
    assert stage.introduce(search(), token=b"1" * 16)
    assert stage.introduce(search(), token=b"2" * 16, peer=b"q" * 32)
    assert stage.punching.counters["step-target-busy"] == 1
    stage.run(6)
    assert stage.introduce(search(), token=b"3" * 16, peer=b"q" * 32)
    assert stage.punching.counters["step-target-busy"] == 1


def test_a_host_has_a_budget_over_all_punches() -> None:
    stage = Stage()
    for number in range(8):
        stage.introduce(search(), token=bytes((number,)) * 16, peer=bytes((number,)) * 32)
        stage.run(5.0)
    assert len(stage.sent) <= TARGET_BURST + 40 * TARGET_RATE
    assert stage.punching.counters["probe-budget"] > 1000


def test_a_token_is_used_once_and_a_peer_only_so_often() -> None:
    stage = Stage()
    assert stage.introduce()
    assert not stage.introduce()
    taken = sum(stage.introduce(token=bytes((number,)) * 16) for number in range(1, 20))
    assert taken == PEER_BURST - 1
    ended = [event for event in stage.punching.events() if isinstance(event, PunchEnded)]
    assert len(ended) == PEER_BURST - MAX_A_PEER


def test_sockets_are_dismissed_when_the_punch_is_over_but_for_paths() -> None:
    stage = Stage()
    plan = Plan("birthday", (Step(SEEN.host, 41414, sockets=256, spacing=0.0005),))
    assert stage.introduce(plan)
    stage.run(0.5)
    assert len(stage.sockets) == 256
    way = Endpoint("udp", SEEN.host, 7777, 19)
    stage.punching.receive(ProbeKey(bytes(16), int(PEER > OWN)).probe(way, 0, 0), way, stage.now)
    assert stage.punching.events() == [PathHeard(PEER, way)]
    stage.punching.keep(way)
    stage.punching.stop(PEER, stage.now)
    assert len(stage.sockets.dismissed()) == 255
    stage.run(10)
    assert 19 in stage.sockets
    stage.punching.release(way)
    assert stage.sockets.dismissed() == [19]
    (ended,) = stage.events or stage.punching.events()
    assert isinstance(ended, PunchEnded)
    assert (ended.technique, ended.met, ended.token) == ("birthday", True, bytes(16))
    assert 256 <= ended.packets <= 256 + 20


def test_a_measurement_asks_the_mediators_own_hosts_once_a_socket_in_order() -> None:
    stage = Stage()
    stage.punching.measure(Measure(bytes(16), 4, (ServerEndpoint("8.8.8.8", 53), VANTAGE)), MEDIATOR, (SERVER,), stage.now)
    bursts = stage.run(0.01)
    requests = [Seal(MEDIATOR).read_request(burst.data) for burst in bursts]
    assert [(one.index, one.tag) for one in requests if one is not None] == [(number, tag_of(bytes(16))) for number in range(4)]
    assert {burst.endpoint._replace(via=0) for burst in bursts} == {SERVER}
    assert len({burst.endpoint.via for burst in bursts}) == 4
    answered = requests[1]
    assert answered is not None
    reply = Seal(MEDIATOR).reply(Reply(answered.transaction, "203.0.113.1", 5, bytes(8)))
    assert stage.punching.owns(reply)
    stage.punching.receive(reply, SERVER, stage.now)
    assert len(stage.run(0.1)) == 3                     # the others are asked again
    vias = [burst.endpoint.via for burst in bursts]
    assert stage.introduce(Plan("prediction", (Step(SEEN.host, 41414, sockets=4, fresh=True),)))
    assert [burst.endpoint.via for burst in stage.run(0.02) if burst.endpoint.via] == vias


def test_of_a_measurement_with_a_pause_half_the_connections_are_opened_after_it() -> None:
    stage = Stage()
    server, vantage = SERVER._replace(transport="tcp"), ServerEndpoint(SERVER.host, SERVER.port, "tcp")
    stage.punching.measure(Measure(bytes(16), 7, (vantage,), "tcp", 0.25), MEDIATOR, (server,), stage.now)
    stage.run(1.0)
    opened = [(round(at - 100, 3), burst.endpoint.via) for at, burst in stage.sent]
    vias = [via for _, via in opened]
    assert [at for at, _ in opened] == [0.0] * 3 + [0.25] * 4
    assert vias == sorted(set(vias)), "each once, in order"
    stage.punching.way_opened(server._replace(via=vias[-1]), stage.now)
    (asked,) = stage.run(0.1)
    request = Seal(MEDIATOR).read_request(asked.data)
    assert request is not None
    assert request.index == 6


def test_measurements_elsewhere_repeated_or_too_many_are_refused_and_unused_ones_end() -> None:
    stage = Stage()
    stage.punching.measure(Measure(bytes(16), 4, (ServerEndpoint("8.8.8.8", 53),)), MEDIATOR, (SERVER,), stage.now)
    assert stage.run(0.1) == []
    for number in range(MAX_MEASUREMENTS + 3):
        message = Measure(bytes((number // 2,)) * 16 if number < 4 else bytes((number,)) * 16, 64, (VANTAGE,))
        stage.punching.measure(message, MEDIATOR, (SERVER,), stage.now)
    assert len(stage.sockets) == 64 * MAX_MEASUREMENTS
    stage.run(MEASURED_FOR + 1)
    assert len(stage.sockets) == 0
    assert stage.punching.counters["measure-refused"] == 4


@given(st.binary(max_size=80))
def test_rubbish_is_met_by_silence_and_counted(data: bytes) -> None:
    stage = Stage()
    stage.introduce()
    stage.run(0.01)
    attempt = ProbeKey(bytes(16), 0).attempt
    for datagram in (data, (b"\x22\0\0\0" + attempt + data).ljust(64, b"\0")[:64]):
        before = sum(stage.punching.counters.values())
        stage.punching.receive(datagram, SEEN, stage.now)
        assert sum(stage.punching.counters.values()) == before + 1
    assert stage.punching.datagrams(stage.now) == []
    assert stage.punching.events() == []


def test_the_connections_of_a_plan_are_counted_over_all_its_steps() -> None:
    """Each is a kernel's socket, and of all punches together there are 256."""
    stage = Stage()
    candidate = Candidate(SEEN.host, 443, "tcp", "observed")
    steps = tuple(Step(SEEN.host, 1 + 16 * number, 16, transport="tcp", sockets=1) for number in range(12))
    assert stage.introduce(Plan(steps=steps), candidates=(candidate,))
    stage.run(10)
    connecting = {burst.endpoint for _, burst in stage.sent if burst.endpoint.transport == "tcp" and burst.endpoint.via}
    assert len(connecting) == FEW_CONNECTIONS
    assert stage.punching.counters["step-connections"] == 8


def test_a_peer_that_forges_its_address_has_little_sent_to_a_victim() -> None:
    """64 octets for 64, and within the same budget as all else that goes there."""
    stage = Stage()
    assert stage.introduce()
    other, victim = ProbeKey(bytes(16), int(PEER > OWN)), Endpoint("udp", "198.51.100.80", 53)
    sent = 0
    for number in range(6000):
        stage.punching.receive(other.probe(SEEN, number, 0), victim._replace(port=1 + number), stage.now)
        if not number % 100:
            sent += sum(burst.endpoint.host == victim.host for burst in stage.punching.datagrams(stage.now))
    sent += sum(burst.endpoint.host == victim.host for burst in stage.run(10))
    assert sent <= TARGET_BURST + TARGET_RATE * 12
    print(f"{sent} packets for 6000")
