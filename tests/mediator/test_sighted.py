"""Endpoints beside a session: proved by what was sent there (return routability), named by the same rules, forgotten in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mediator.harness import MEDIATOR_ADDRESS, Client, Lab
from tests.mediator.street import Street, incremental, tight
from tests.mediator.test_vantage_points import Pool, Socket
from tests.sim.attachment import Attachment
from userlan.control.meeting import Introduce, Proof, Sighted, Vantages
from userlan.control.meeting import ServerEndpoint as Where
from userlan.control.messages import MAX_CANDIDATES, Candidate, Refused
from userlan.lan.secrets import NetworkSecret
from userlan.mediator.matchmaker import PROVEN_FOR
from userlan.mediator.member import Member
from userlan.mediator.reach import Sight, accepted, named, scope, target_host
from userlan.mediator.vantage_points import VantagePoints
from userlan.traversal.plans import Experience, Side, Verdict
from userlan.traversal.step import Plan
from userlan.wire.endpoint import TCP, UDP, Endpoint

HOME4, HOME6 = "198.51.101.7", "2606:4700:1:2::5"
AWAY4, AWAY6 = "203.0.114.9", "2606:4700:9:9::6"
MEDIATOR6 = "2606:4700::1"
LOCAL = Candidate("192.168.1.5", 41414)


def udp(host: str, port: int = 5000) -> Endpoint:
    return Endpoint(UDP, host, port)


def observed(host: str, port: int = 5000) -> Candidate:
    return Candidate(host, port, "udp", "observed")


def sight(host: str, *beside: Endpoint, offered: tuple[Candidate, ...] = (), transport: str = UDP) -> Sight:
    return Sight(Endpoint(transport, host, 5000), offered, False, beside)


# --- what is named -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "reader", "expected"),
    [
        # both families, whatever the reader's
        (sight(HOME4, udp(HOME6)), sight(AWAY4, udp(AWAY6)), [observed(HOME4), observed(HOME6)]),
        (sight(HOME4, udp(HOME6)), sight(AWAY6), [observed(HOME4), observed(HOME6)]),
        (sight(HOME6, udp(HOME4)), sight(AWAY4), [observed(HOME6), observed(HOME4)]),
        # its other sockets at the host that was seen
        (
            sight(HOME4, udp(HOME6), offered=(Candidate(HOME6, 41414, "tcp"), LOCAL)),
            sight(AWAY4),
            [observed(HOME4), observed(HOME6), Candidate(HOME6, 41414, "tcp")],
        ),
        # an IPv6 address that nobody saw is a third party's for all that one knows
        (sight(HOME4, offered=(Candidate(HOME6, 41414),)), sight(AWAY4), [observed(HOME4)]),
        (sight(HOME4, udp(HOME6), offered=(Candidate(AWAY6, 41414),)), sight(AWAY4), [observed(HOME4), observed(HOME6)]),
        # the session's own word is newer than a proof of its family
        (sight(HOME4, udp(AWAY4)), sight("192.0.3.1"), [observed(HOME4)]),
        # by framed TCP it has none: there the proof is all
        (sight(HOME4, udp(HOME4, 6000), transport=TCP), sight(AWAY4), [observed(HOME4, 6000)]),
        # one LAN by either family: sessions of different ones are seen at hosts that have nothing in common
        (
            sight(HOME4, udp(HOME6), offered=(LOCAL,)),
            sight("2606:4700:1:2::77"),
            [observed(HOME4), observed(HOME6), LOCAL],
        ),
        # a private address is named to those that are seen on private ones, in either family
        (sight(HOME4, udp("fd00::5")), sight(AWAY4, udp("fd00:1::6")), [observed(HOME4), observed("fd00::5")]),
        (sight(HOME4, udp("fd00::5")), sight(AWAY4, udp(AWAY6)), [observed(HOME4)]),
    ],
)
def test_what_is_named(member: Sight, reader: Sight, expected: list[Candidate]) -> None:
    assert list(named(member, reader)) == expected


@pytest.mark.parametrize(
    ("member", "reader", "host"),
    [
        (sight(HOME6, udp(HOME4)), sight(AWAY4), HOME4),
        (sight(HOME4, udp(HOME6)), sight(AWAY6), HOME6),
        (sight(HOME6, udp(HOME4)), sight(AWAY6, udp(AWAY4)), HOME4),
        (sight(HOME6), sight(AWAY4), HOME6),
    ],
)
def test_plans_go_to_the_family_that_both_have_ipv4_first(member: Sight, reader: Sight, host: str) -> None:
    assert target_host(member, reader) == host


def test_a_nat_is_known_by_the_ipv4_endpoint_whatever_the_session() -> None:
    one, other = (Member(key, sight(HOME6, udp(host, 6000)), {1}, 0.0) for key, host in ((b"a", HOME4), (b"b", AWAY4)))
    assert one.site == bytes((198, 51, 101, 7))
    side = one.side(other, (), 0.05, 0.0)
    assert (side.host, side.port, side.ipv6) == (HOME4, 6000, True)


hosts = st.one_of(st.ip_addresses().map(str), st.sampled_from(["192.168.1.1", "127.0.0.1", "fd00::1", HOME4, HOME6]))
endpoints = st.builds(Endpoint, st.just(UDP), hosts, st.integers(1, 65535))
offers = st.lists(st.builds(Candidate, hosts, st.integers(1, 65535), st.sampled_from(["udp", "tcp"])), max_size=16)
sights = st.builds(
    lambda own, beside, offered: Sight(own, accepted(offered), scope(own.host) == "loopback", tuple(beside)),
    endpoints, st.lists(endpoints, max_size=2), offers,
)  # fmt: skip


@given(sights, sights)
@settings(deadline=None, max_examples=150)
def test_nobody_is_ever_sent_to_a_third_party(member: Sight, reader: Sight) -> None:
    chosen = named(member, reader)
    assert len(chosen) <= MAX_CANDIDATES
    own = {one.host for one in member.seen}
    assert all(one.kind == "colocated" or one.host in own or scope(one.host) in ("private", "loopback") for one in chosen)
    assert target_host(member, reader) in own | {""}


# --- how it is proved --------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A mediator with both families."""
    made = Lab(tmp_path, own_hosts=(MEDIATOR_ADDRESS, MEDIATOR6, "fd00::1"))
    made.attachment.plug(made.internet, MEDIATOR_ADDRESS, MEDIATOR6)
    for host in ("0.0.0.0", "::"):
        made.mediator.listening(0, host, 41414)
    return made


class Two:
    """A member with a session over IPv4 and a socket of its own over IPv6, and another who is to meet it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.ann, self.bob = lab.login("ann"), lab.login("bob")
        secret = NetworkSecret.generate(lab.world.entropy())
        self.ann.create("home", secret)
        self.bob.join("home", secret)
        self.socket, self.attachment = self.at(HOME6)

    def at(self, host: str, port: int = 41414) -> tuple[Socket, Attachment]:
        socket = Socket(self.lab.mediator.public_key)
        return socket, self.lab.internet.attach(socket, host, port=port)

    def cookie(self, socket: Socket) -> bytes:
        """What the mediator's vantage sends to a socket."""
        before = len(socket.replies)
        socket.ask(Endpoint(UDP, MEDIATOR6, 41414))
        self.lab.world.run_until(lambda: len(socket.replies) > before)
        return socket.replies[-1][1].cookie

    def say(self, *proofs: Proof, who: Client | None = None) -> None:
        (who or self.ann).send(Sighted(proofs))
        self.lab.run(3)

    def named(self) -> list[str]:
        """The hosts at which bob was told last that ann is seen."""
        return [one.host for one in self.bob.all(Introduce)[-1].candidates if one.kind == "observed"]


def proof(host: str, cookie: bytes, port: int = 41414) -> Proof:
    return Proof(Where(host, port), cookie)


def test_a_wildcard_is_told_with_the_own_public_addresses(lab: Lab) -> None:
    told = lab.login("ann").expect(Vantages)
    assert told.proofs
    assert {one.host for one in told.own} == {"0.0.0.0", "::", MEDIATOR_ADDRESS, MEDIATOR6}


def test_of_several_ipv4_addresses_none_is_told_beside_the_wildcard() -> None:
    points = VantagePoints(b"m" * 32, Pool(), bytes, ("8.8.8.8", "9.9.9.9"))
    points.listening(0, "0.0.0.0", 41414)
    assert {one.host for one in points.endpoints} == {"0.0.0.0"}


def test_what_was_proved_is_named(lab: Lab) -> None:
    two = Two(lab)
    lab.run(3)
    assert HOME6 not in two.named()
    two.say(proof(HOME6, two.cookie(two.socket)))
    assert two.named() == [two.ann.attachment.addresses[0], HOME6]


def test_without_what_was_sent_there_nothing_is_named(lab: Lab) -> None:
    """A member that points at a victim: with no cookie, with its own one, with one of another port, or of another mediator's."""
    two = Two(lab)
    own = two.cookie(two.socket)
    lab.run(3)
    other = VantagePoints(lab.mediator.public_key, Pool(), lab.world.entropy())
    foreign = other._vantage._cookie(udp(AWAY6, 41414), 0)
    for wrong in (proof(AWAY6, bytes(8)), proof(AWAY6, own), proof(HOME6, own, 41415), proof(AWAY6, foreign)):
        two.say(wrong)
        assert AWAY6 not in two.named()
        assert HOME6 not in two.named()
    assert lab.mediator.status()["counters"]["proofs-refused"] == 4  # type: ignore[index]


def test_what_came_by_tcp_proves_nothing_of_udp(lab: Lab) -> None:
    """The same port of another transport may be somebody else's behind one NAT."""
    vantage = lab.mediator._points._vantage
    cookie = vantage._cookie(Endpoint(TCP, HOME6, 41414), 0)
    two = Two(lab)
    two.say(proof(HOME6, cookie), Proof(Where(HOME6, 41414, "tcp"), cookie))
    lab.run(3)
    assert HOME6 not in two.named()


def test_a_cookie_grows_old(lab: Lab) -> None:
    two = Two(lab)
    cookie = two.cookie(two.socket)
    lab.run(PROVEN_FOR)
    two.say(proof(HOME6, cookie))
    assert lab.mediator.status()["counters"]["proofs-refused"] == 1  # type: ignore[index]


def test_a_proof_replaces_the_one_before_and_none_takes_it_back(lab: Lab) -> None:
    two = Two(lab)
    two.say(proof(HOME6, two.cookie(two.socket)))
    moved, _ = two.at("2606:4700:1:2::99")
    two.say(proof("2606:4700:1:2::99", two.cookie(moved)))
    assert two.named()[1:] == ["2606:4700:1:2::99"]
    two.say()
    assert two.named()[1:] == []


def test_one_endpoint_of_a_family_is_kept_and_too_many_proofs_are_rubbish(lab: Lab) -> None:
    two = Two(lab)
    second, _ = two.at("2606:4700:1:2::99")
    proofs = (proof(HOME6, two.cookie(two.socket)), proof("2606:4700:1:2::99", two.cookie(second)))
    two.say(*proofs)
    assert two.named()[1:] == [HOME6]
    two.say(*proofs, *proofs)
    assert two.ann.expect(Refused).code == "malformed-message"


def test_a_session_that_moves_has_to_prove_it_anew(lab: Lab) -> None:
    two = Two(lab)
    two.say(proof(HOME6, two.cookie(two.socket)))
    two.ann.attachment.plug(lab.internet, "198.51.103.1")
    two.ann.device.initiate(lab.mediator.public_key, [two.ann.server], lab.world.now)
    lab.run(3)
    assert two.named() == ["198.51.103.1"]


def test_a_new_session_knows_nothing_of_the_old_ones_proof(lab: Lab) -> None:
    two = Two(lab)
    two.say(proof(HOME6, two.cookie(two.socket)))
    two.ann.login()
    lab.run(3)
    assert HOME6 not in two.named()


def test_a_member_on_the_mediators_own_computer_is_named_as_such_alone(lab: Lab) -> None:
    two = Two(lab)
    cookie = lab.mediator._points._vantage._cookie(udp(MEDIATOR6, 41414), 0)
    two.say(proof(MEDIATOR6, cookie))
    lab.run(3)
    assert MEDIATOR6 not in two.named()


# --- what is planned with it -------------------------------------------------------------------------------------------


def ipv6_first(a: Side, b: Side, *, start: float = 0.0, experience: Experience | None = None) -> Verdict:
    """As ``make_plans``: IPv6 where both have it, unless it is known to fail."""
    if a.ipv6 and b.ipv6 and (experience or {}).get("ipv6", 0.0) > -1.0:
        return Verdict((Plan("ipv6"), Plan("ipv6")), technique="ipv6")
    return tight(a, b, start=start, experience=experience)


def test_a_pair_that_does_not_meet_by_ipv6_tries_its_nats_next() -> None:
    """A provider's IPv6 that goes nowhere must not cost what would have been possible by IPv4."""
    street = Street(ipv6_first)
    ann, bob = street.move_in(1, incremental(1)), street.move_in(2, incremental(2))
    for resident, host in ((ann, HOME6), (bob, AWAY6)):
        street.core.sighted(resident.key, (udp(host),), street.now)
    street.ready(ann, bob)
    street.run(10)
    assert [message.plan.technique for _, message in ann.told] == ["ipv6", "prediction"]
    assert bob.key in ann.met
    assert ann.key in bob.met
