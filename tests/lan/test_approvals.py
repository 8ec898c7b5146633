"""Approvals: who is on a roster where the owner has said so by a signed document, and what becomes of the others."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from tests.lan.keys import entropy, private, public
from tests.lan.test_roster import ANNA, BEN, CARL, OWN, OWNER, filled, member, roster, state
from userlan.lan import approvals
from userlan.lan.approvals import MAX_WITHHELD
from userlan.lan.eviction import MAX_APPROVED, MAX_DOCUMENT, MAX_EVICTED, NOBODY, Eviction, EvictionError
from userlan.lan.members import Member
from userlan.lan.roster import Roster
from userlan.lan.secrets import NetworkSecret, OwnerSigning

SIGNING = OwnerSigning(private("owner"))
SECRET = NetworkSecret.generate(entropy("secret"))
Octets = Annotated[bytes, Meta(min_length=32, max_length=32)]


class FirstBody(msgspec.Struct, frozen=True):
    """What the first version read in a document."""

    network: str
    owner: Octets
    serial: int
    evicted: Annotated[tuple[Octets, ...], Meta(min_length=1, max_length=4096)]
    admission: Octets
    attestation: Octets
    sealed: dict[Octets, bytes]


def made(approved: list[bytes] | None, evicted: tuple[bytes, ...] = (NOBODY,), sealed: tuple[bytes, ...] = ()) -> Eviction:
    document = Eviction.make("home", 1, evicted, SECRET, sealed, public("owner"), SIGNING, entropy("boxes"), approved)
    return Eviction.from_bytes(document.to_bytes())


def body(document: Eviction) -> bytes:
    written: list[bytes] = msgspec.msgpack.decode(document.to_bytes())
    return written[0]


# --- the document ----------------------------------------------------------------------------------------------------


def test_a_document_names_all_that_are_approved_the_owner_and_those_it_is_sealed_to_included() -> None:
    document = made([ANNA, BEN, CARL], evicted=(CARL,), sealed=(ANNA, CARL, public("xena")))
    assert document.verify(SIGNING.public)
    assert document.approved == frozenset((ANNA, BEN, public("owner")))
    assert set(document.sealed) == {ANNA}
    assert made([]).approved == frozenset((public("owner"),))


def test_without_approvals_it_has_the_fields_of_the_first_version_alone() -> None:
    document = made(None, sealed=(ANNA,))
    assert document.approved is None
    assert set(msgspec.msgpack.decode(body(document))) == set(FirstBody.__struct_fields__)


def test_the_first_version_reads_what_it_knows_of_it() -> None:
    document = made([ANNA])
    read = msgspec.msgpack.decode(body(document), type=FirstBody)
    assert (read.network, read.serial, read.evicted, read.sealed) == ("home", 1, (NOBODY,), {})
    assert read.admission == SECRET.admission_public


def test_the_signature_covers_them() -> None:
    fields = msgspec.msgpack.decode(body(made([ANNA])))
    fields["approved"] = [*fields["approved"], BEN]
    signature = msgspec.msgpack.decode(made([ANNA]).to_bytes())[1]
    forged = Eviction.from_bytes(msgspec.msgpack.encode([msgspec.msgpack.encode(fields), signature]))
    assert forged.approved is not None
    assert BEN in forged.approved
    assert not forged.verify(SIGNING.public)


def test_the_largest_fits_and_one_more_is_refused() -> None:
    keys = [number.to_bytes(32, "big") for number in range(2, MAX_APPROVED + 1)]
    out = tuple(number.to_bytes(32, "little") for number in range(1, MAX_EVICTED + 1))
    document = made(keys, evicted=out)
    assert len(document.to_bytes()) < MAX_DOCUMENT
    assert document.approved == frozenset((*keys, public("owner")))
    with pytest.raises(EvictionError, match="1024"):
        made([*keys, ANNA])
    fields = msgspec.msgpack.decode(body(document)) | {"approved": [*keys, ANNA, BEN]}
    with pytest.raises(EvictionError, match="no eviction"):
        Eviction.from_bytes(msgspec.msgpack.encode([msgspec.msgpack.encode(fields), bytes(64)]))


# --- the roster ------------------------------------------------------------------------------------------------------


def test_whoever_is_not_approved_is_no_peer_and_has_no_name_and_no_address() -> None:
    one = filled()
    changes = one.approve("home", [ANNA])
    assert changes.changed == {BEN}         # whom another network has, too
    assert set(one.networks["home"].members) == {OWN, ANNA}
    assert one.networks["home"].approval
    assert one.peers[BEN].networks == ("work",)
    assert set(one.approvals.withheld("home")) == {BEN}
    assert one.approve("work", []).removed == {BEN, CARL}
    assert one.key_at(member(CARL).ipv4) is None
    assert one.key_at(member(CARL).ipv6) is None
    assert not one.keys_named("work", "carl")
    assert one.counters["member-unapproved"] == 3


def test_a_mediator_cannot_list_it_by_any_message_nor_take_the_need_of_approval_back() -> None:
    one = roster()
    one.approve("home", [ANNA])
    one.apply_network(state([member(OWN), member(ANNA), member(BEN)], approval=False))
    one.apply_member("home", member(CARL))
    one.remove_network("home")
    one.apply_network(state([member(OWN), member(ANNA), member(BEN)], approval=False))
    assert set(one.peers) == {ANNA}
    assert one.networks["home"].approval
    assert set(one.approvals.withheld("home")) == {BEN}


def test_it_is_let_in_by_the_next_document_and_put_out_by_one_that_lacks_it() -> None:
    one = roster()
    one.approve("home", [ANNA])
    one.apply_network(state([member(OWN), member(ANNA), member(BEN)]))
    assert one.approve("home", [ANNA, BEN]).added == {BEN}
    assert not one.approvals.withheld("home")
    assert one.approve("home", [BEN]).removed == {ANNA}
    assert set(one.peers) == {BEN}


def test_the_owner_and_the_node_itself_need_no_approval() -> None:
    one = roster()
    one.apply_network(state([member(OWN), Member(OWNER, "owner")]))
    one.approve("home", [])
    assert set(one.networks["home"].members) == {OWN, OWNER}
    assert not one.approvals.confirms("home", OWN)
    assert one.approvals.confirms("work", OWN)


def test_who_is_listed_no_more_is_not_let_in_later() -> None:
    one = roster()
    one.approve("home", [ANNA])
    one.apply_network(state([member(ANNA), member(BEN), member(CARL)]))
    one.remove_member("home", BEN)
    one.evict("home", [CARL], 2)
    assert one.approve("home", [ANNA, BEN, CARL]).added == frozenset()
    one.forget("home")
    assert not one.approvals.needed("home")


def test_what_is_withheld_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    one = roster("home", "work")
    for network in ("home", "work"):
        one.apply_network(state([], network))
        one.approve(network, [])
    monkeypatch.setattr(approvals, "MAX_WITHHELD_IN_ALL", MAX_WITHHELD + 5)
    for network in ("home", "work"):
        for number in range(1, MAX_WITHHELD + 20):
            one.apply_member(network, Member(number.to_bytes(32, "big"), f"x{number}"))
    assert [len(one.approvals.withheld(network)) for network in ("home", "work")] == [MAX_WITHHELD, 5]
    assert not one.peers


def test_a_roster_from_disk_is_judged_as_a_mediator_s_claims_are() -> None:
    stored = filled().snapshot()
    one = Roster(OWN, ["home", "work"])
    one.approve("home", [ANNA])
    one.restore(stored)
    assert set(one.networks["home"].members) == {OWN, ANNA}
    assert one.peers[BEN].networks == ("work",)
