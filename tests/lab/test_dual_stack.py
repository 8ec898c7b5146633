"""Members with both families behind hard NATs and stateful IPv6 firewalls, from real processes: they meet by IPv6."""

from __future__ import annotations

import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.lab.nats import IPV6
from tests.lab.network import Lab, until
from tests.lab.party import MEDIATOR, Party
from userlan.lan.invite import Invite

SESSIONS = {"anna": MEDIATOR[0], "ben": MEDIATOR[0], "carla": MEDIATOR[2], "dora": MEDIATOR[2]}
"""Members, and where they reach the mediator."""

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("nft") is None, reason="the program nft is missing"),
]


def test_they_meet_by_ipv6_whatever_family_their_sessions_have(lab: Lab, tmp_path: Path) -> None:
    """Each knows of one address of the mediator's only, so that its session is of that family."""
    party = Party(lab, tmp_path)
    sites = party.world.sites([IPV6] * len(SESSIONS))
    key = Invite.parse(party.mediator.url).mediator_key
    for (name, host), site in zip(SESSIONS.items(), sites, strict=True):
        party.mediator.url = str(Invite(((host, 41414),), key))
        party.member(name, site.host)
    party.ready()
    members = list(party.members.values())
    party.network("home", members)
    for one, other in combinations(members, 2):
        assert party.met(one, other)["endpoint"].startswith("[2a00:")
    for member in members:
        told = until(lambda member=member: both(member.call("netcheck")), 60, f"{member.name} is seen by both families")
        assert told["seen"]["ipv4"].startswith("44.0.")
        assert told["seen"]["ipv6"].startswith("2a00:")
        assert (":" in told["observed"]) == (":" in SESSIONS[member.name])


def both(told: dict[str, Any]) -> dict[str, Any] | None:
    return None if None in told["seen"].values() else told
