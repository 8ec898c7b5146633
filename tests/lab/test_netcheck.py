"""``userlan netcheck`` names each NAT of the lab rightly, from real processes; the evidence is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from tests.lab.nats import IPV6, KINDS, NOISY, ONLY_443, OPEN, SHIFTED, Kind
from tests.lab.network import Lab, unavailable
from tests.lab.party import Party
from tests.lab.userlan_process import Member

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]

AT_ONCE = 8
"""Netchecks at one time: their packets are to leave when they want."""
PATIENCE = 240.0
"""Seconds for one command, most of which is its start beside the others, on a machine that has much else to do."""


@attrs.define
class Answers:
    """What was said from behind each kind."""

    party: Party
    by_kind: dict[str, dict[str, Any]]
    members: dict[str, Member]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """One home of each kind, each asks once, without a node."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("netcheck")
    with Lab(folder) as lab:
        party = Party(lab, folder, relays=0)
        sites = party.world.sites(KINDS)
        members = {site.name: Member(site.host, folder / kind.name, kind.name) for kind, site in zip(KINDS, sites, strict=True)}

        def ask(member: Member) -> dict[str, Any]:
            told: dict[str, Any] = json.loads(member.run("netcheck", "--json", "--mediator", party.mediator.url, timeout=PATIENCE).stdout)
            return told

        with ThreadPoolExecutor(AT_ONCE) as pool:
            told = list(pool.map(ask, members.values()))
        yield Answers(party, {kind.name: one for kind, one in zip(KINDS, told, strict=True)}, {m.name: m for m in members.values()})


def found(told: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The properties that the kind says something of."""
    udp = kind.nat.udp
    names = ["translated", *(["pooling", "hairpin", "ipv6"] if udp.passes else [])]
    result = {name: told[name] for name in names}
    result |= {f"{transport}-passes": told[transport]["passes"] for transport in ("udp", "tcp")}
    if udp.passes:
        result |= {name: told["udp"][name] for name in ("mapping", "filtering", "allocation")}
    if kind is not ONLY_443:
        result["tcp-mapping"] = told["tcp"]["mapping"]
    return result


def expected(kind: Kind) -> dict[str, Any]:
    """The same from the kind's own words."""
    nat, udp = kind.nat, kind.nat.udp
    result: dict[str, Any] = {"translated": nat.translated, "udp-passes": udp.passes, "tcp-passes": nat.tcp.passes}
    if udp.passes:
        result |= {"pooling": nat.pooling, "hairpin": None if kind is OPEN else nat.hairpin, "ipv6": nat.ipv6}
        result |= {"mapping": udp.mapping, "filtering": udp.filtering, "allocation": udp.allocation}
    if kind is not ONLY_443:
        result["tcp-mapping"] = nat.tcp.mapping
    return result


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_netcheck_names_the_nat(answers: Answers, kind: Kind) -> None:
    told = answers.by_kind[kind.name]
    seen = found(told, kind)
    if kind is SHIFTED and seen["allocation"] == "chunked":
        seen["allocation"] = "random"           # out of 10,001 ports: either word is right
    assert seen == expected(kind), json.dumps(told["evidence"], indent=1)
    if kind.nat.udp.step:
        assert told["udp"]["step"] == kind.nat.udp.step
    if kind.nat.early == "moves":
        assert told["early"] == "moves"
    else:
        assert told["early"] != "moves"
    assert told["nested"] is True if kind.nat.nested else told["nested"] is not True
    if kind.nat.udp.passes:
        assert told["observed"] is not None
        assert told["evidence"]["mapping"]


def test_others_load_is_measured(answers: Answers) -> None:
    """20 new mappings a second of others, seen within half a second: between 1 and 100 by Poisson's distribution, but once in 3,000."""
    assert NOISY.character is not None
    assert 1 <= answers.by_kind[NOISY.name]["udp"]["others_a_second"] <= 100


def test_a_running_node_says_the_same(answers: Answers) -> None:
    """And ``status`` tells it in one word or two."""
    member = answers.members[IPV6.name]
    member.up("--mediator", answers.party.mediator.url)
    told = json.loads(member.run("netcheck", "--json").stdout)
    assert found(told, IPV6) == expected(IPV6)
    assert member.status()["self"]["nat"]["mapping"] == IPV6.nat.udp.mapping
    text = member.run("netcheck", "-v").stdout
    assert "address-and-port-dependent" in text
    assert "was seen as" in text
