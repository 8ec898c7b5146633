"""Which endpoint a guest's configuration names."""

from __future__ import annotations

import pytest

from userlan.control.messages import Candidate
from userlan.node.guest_ends import End, best_end
from userlan.traversal.nat import UNKNOWN, Ipv6, NatBehaviour, Policy

OWN = Candidate("192.168.1.5", 51820)
OWN6 = Candidate("2001:db8::5", 51820)
PUBLIC = Candidate("44.0.0.2", 51820)
MAPPED = Candidate("44.0.0.9", 40000, kind="mapped")
SEEN = "44.0.0.9"


def nat(allocation: str = "preserving", filtering: str = "endpoint-independent", ipv6: Ipv6 = "unknown") -> NatBehaviour:
    return NatBehaviour(udp=Policy(allocation=allocation, filtering=filtering), ipv6=ipv6)  # type: ignore[arg-type]  # literals


@pytest.mark.parametrize(
    ("offered", "behaviour", "observed", "expected"),
    [
        ([OWN, MAPPED], UNKNOWN, SEEN, End("44.0.0.9", 40000, "mapped", True)),
        ([PUBLIC, OWN], UNKNOWN, "44.0.0.2", End("44.0.0.2", 51820, "open", True)),
        ([OWN], nat(), SEEN, End(SEEN, 51820, "observed", True)),
        ([OWN], nat(filtering="address-dependent"), SEEN, End(SEEN, 51820, "observed", False)),
        ([OWN], nat(allocation="random"), SEEN, End(SEEN, 51820, "observed", False)),
        ([OWN, OWN6], nat(allocation="random", ipv6="open"), SEEN, End("2001:db8::5", 51820, "open", True)),
        ([OWN, OWN6], nat(allocation="random", ipv6="firewall"), SEEN, End(SEEN, 51820, "observed", False)),
        ([OWN6], nat(ipv6="firewall"), None, End("2001:db8::5", 51820, "open", False)),
        ([OWN], UNKNOWN, "192.168.1.5", End("192.168.1.5", 51820, "site", True)),
        ([OWN], UNKNOWN, None, End("192.168.1.5", 51820, "site", True)),
        ([], UNKNOWN, SEEN, None),
    ],
)
def test_the_best_end(offered: list[Candidate], behaviour: NatBehaviour, observed: str | None, expected: End | None) -> None:
    """RFC 4787: a mapping is found by others where the filter does not depend on the endpoint; a router that maps a port says so."""
    assert best_end(offered, behaviour, observed) == expected
