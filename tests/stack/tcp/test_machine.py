"""Hypothesis plays two applications and the network between them; :mod:`tests.stack.tcp.machine` says what must hold.

``--fuzz-seconds 600`` goes on for ten minutes.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.stack.tcp.machine import FORGED_FLAGS, MTU, Machine
from userlan.stack.tcp import Config
from userlan.wire.tcp import Flags

ENDS = st.integers(0, 1)
PLACES = st.integers(0, 30)
SIZES = st.one_of(st.sampled_from([1, 999, 1000, 1001, 10_000, 45_000]), st.integers(1, 100_000))
OFFSETS = st.one_of(st.integers(1, 3), st.integers(-3, -1), st.integers(-100_000, -1), st.integers(1, 100_000))


class Tcp(RuleBasedStateMachine):
    """Rules are what may happen at any time."""

    machine: Machine

    @initialize(
        sack=st.booleans(),
        timestamps=st.booleans(),
        scale=st.booleans(),
        ecn=st.booleans(),
        congestion=st.sampled_from(["newreno", "cubic"]),
        window=st.sampled_from([2_000, 20_000, 256 * 1024]),
        keepalive=st.sampled_from([None, 30.0]),
        established=st.sampled_from([True, True, True, False]),
        first=st.tuples(st.sampled_from([0, 500, 60_000]), st.sampled_from([0, 500, 60_000])),
    )
    def open(
        self,
        sack: bool,
        timestamps: bool,
        scale: bool,
        ecn: bool,
        congestion: str,
        window: int,
        keepalive: float | None,
        established: bool,
        first: tuple[int, int],
    ) -> None:
        self.machine = Machine(
            Config(
                sack=sack,
                timestamps=timestamps,
                window_scale=scale,
                ecn=ecn,
                congestion=congestion,
                receive_window=window,
                receive_window_max=4 * window,
                send_buffer=50_000,
                send_buffer_max=200_000,
                reassembly_ranges=16,
                keepalive_idle=keepalive,
            )
        )
        if established:
            self.machine.establish()
            for index, size in enumerate(first):
                if size:
                    self.machine.send(index, size)

    @rule(place=PLACES)
    def a_packet_arrives(self, place: int) -> None:
        self.machine.deliver(place)

    @rule()
    def packets_arrive_in_order(self) -> None:
        for _ in range(min(20, len(self.machine.network))):
            self.machine.deliver(0)

    @rule(place=PLACES)
    def a_packet_arrives_and_will_again(self, place: int) -> None:
        self.machine.deliver(place, keep=True)

    @rule(place=PLACES, piece=PLACES)
    def a_piece_arrives(self, place: int, piece: int) -> None:
        self.machine.deliver_piece(place, piece)

    @rule(place=PLACES)
    def a_packet_is_lost(self, place: int) -> None:
        self.machine.drop(place)

    @rule(seconds=st.sampled_from([0.001, 0.010, 0.1]))
    def time_passes(self, seconds: float) -> None:
        self.machine.now += seconds
        self.machine.tick()

    @rule()
    def a_timer_runs_out(self) -> None:
        self.machine.to_deadline()

    @rule(index=ENDS, size=SIZES)
    def send(self, index: int, size: int) -> None:
        self.machine.send(index, size)

    @rule(index=ENDS, limit=st.sampled_from([1, 1000, 1 << 20]))
    def read(self, index: int, limit: int) -> None:
        self.machine.read(index, limit)

    @rule(index=ENDS, how=st.sampled_from(["shutdown", "shutdown", "shutdown", "close", "abort"]))
    def close(self, index: int, how: str) -> None:
        self.machine.close(index, how)

    @rule(index=ENDS, mtu=st.sampled_from([576, 700, MTU]))
    def the_path_changes(self, index: int, mtu: int) -> None:
        self.machine.path(index, mtu)

    @rule(index=ENDS, flags=st.sampled_from(FORGED_FLAGS), seq=OFFSETS, ack=OFFSETS)
    def a_stranger_guesses(self, index: int, flags: int, seq: int, ack: int) -> None:
        """Nothing with text in it: a stranger who hits the window with a plausible ACK does write into the stream."""
        if not flags & (Flags.RST | Flags.SYN):
            ack = abs(ack) + 10_000_000
        self.machine.forge(index, flags, seq, ack, 0)

    @invariant()
    def what_must_hold(self) -> None:
        if hasattr(self, "machine"):
            self.machine.check()

    def teardown(self) -> None:
        if hasattr(self, "machine"):
            self.machine.finish()


@pytest.mark.fuzz
def test_tcp_between_two_applications_and_a_bad_network() -> None:
    run_state_machine_as_test(
        Tcp,
        settings=settings(max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)),
    )
