"""Members of one network that know each other from the day before: they meet at once, without a mediator or any probe."""

from __future__ import annotations

from collections.abc import Sequence

from userlan.control.messages import MemberState, NetworkState
from userlan.lan.addresses import key_text
from userlan.lan.roster import Roster
from userlan.lan.secrets import NetworkSecret
from userlan.node.memory import Memory, SavedNetwork
from userlan.tunnel.primitives import public_key
from userlan.wire.endpoint import Endpoint

NETWORK = "home"


def memories(private_keys: Sequence[bytes], endpoints: Sequence[Endpoint], secret: NetworkSecret, star: bool = False) -> list[Memory]:
    """What each of them remembers: the roster, and where the others were last. ``star``: all but the first know of the first alone."""
    keys = [public_key(private) for private in private_keys]
    claims = [MemberState(key, f"n{number}", bytes((25, 1, 1 + number // 250, number % 250 + 1))) for number, key in enumerate(keys)]
    saved = SavedNetwork(bytes(32), [secret.value])
    made: list[Memory] = []
    for place, claim in enumerate(claims):
        known = claims if place == 0 or not star else [claims[0], claim]
        roster = Roster(claim.key, {NETWORK})
        roster.set_own(claim.name, claim.ipv4)
        roster.apply_network(NetworkState(NETWORK, keys[0], bytes(32), bytes(32), tuple(known)))
        others = {one.key for one in known} - {claim.key}
        places = {key_text(key): [endpoint[:3]] for key, endpoint in zip(keys, endpoints, strict=True) if key in others}
        made.append(Memory(name=claim.name, ipv4=claim.ipv4, networks={NETWORK: saved}, endpoints=places, roster=roster.snapshot()))
    return made
