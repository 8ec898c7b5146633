"""The systems that are compared, one file a family. Each joins namespace A (server) and B (client) over what lies between them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.systems.base import BareVeth, System, TunSystem
from tests.bench.systems.fastd import Fastd
from tests.bench.systems.nebula import Nebula
from tests.bench.systems.openvpn import Openvpn
from tests.bench.systems.tinc import Tinc
from tests.bench.systems.userlan import Userlan, UserlanTap, UserlanUdp, variant
from tests.bench.systems.wireguard import Wireguard2022, Wireguard2023
from tests.bench.systems.yggdrasil import Yggdrasil

SYSTEMS: Sequence[type[System]] = (
    BareVeth, Wireguard2022, Wireguard2023, Yggdrasil, Tinc, Fastd, Nebula, Openvpn, Userlan, UserlanUdp, UserlanTap
)
ON_LINKS: Sequence[type[System]] = (BareVeth, Wireguard2023, Userlan, UserlanUdp, UserlanTap)
"""Those that are sent over slow links."""

__all__ = ["ON_LINKS", "SYSTEMS", "BareVeth", "System", "TunSystem", "Userlan", "UserlanTap", "UserlanUdp", "variant"]
