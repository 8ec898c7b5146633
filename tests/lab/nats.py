"""The kinds of NAT of the lab, each with what it does in RFC 4787's words: what its self-test and ``netcheck`` must find.

By nftables where that can do it (the rules were measured: ``masquerade`` keeps the port and filters by address and port; ``fully-random``
takes a new port for each destination; and so on), otherwise by the box of ``tests.lab.nat_box``.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from userlan.traversal.nat import NatBehaviour, Policy

EIM, ADM, APDM = "endpoint-independent", "address-dependent", "address-and-port-dependent"
PUBLIC = "{public}"
"""In rules: the router's public address."""


@attrs.frozen
class Kind:
    """One kind of access. ``rules`` are the router's nftables rules; ``character``: the box stands behind a router without NAT (fields of
    ``tests.lab.nat_box.Character``), with ``pool`` public addresses. ``udp_timeout``: seconds, of conntrack, 0: the kernel's. ``outer``:
    the kind of the next NAT on the way. ``ipv6``: whether the site has it. ``open``: the host has the public address itself."""

    name: str
    nat: NatBehaviour
    rules: str = ""
    character: dict[str, Any] | None = None
    pool: int = 1
    udp_timeout: int = 0
    outer: Kind | None = None
    ipv6: bool = False
    open: bool = False


def behaviour(
    mapping: Any = EIM, filtering: Any = APDM, allocation: Any = "preserving", step: int = 0, *, udp: bool = True, **others: Any
) -> NatBehaviour:
    """The same for both transports."""
    policy = Policy(mapping=mapping, filtering=filtering, allocation=allocation, step=step)
    others = {"translated": True, "pooling": "single", "hairpin": False, "nested": False, "ipv6": "none", **others}
    return NatBehaviour(udp=policy if udp else Policy(passes=False), tcp=policy, **others)


def table(
    post: str, *, pre: str = "", state: str = "", forward: str = "", unsolicited: Literal["drop", "moves", "rst"] = "drop"
) -> str:
    """A router's rules: ``post`` and ``pre`` are of the nat hooks, ``state`` declares maps and sets, ``forward`` comes before the refusal
    of what nobody inside asked for. ``unsolicited`` packets to the router's own address: dropped; left to the kernel, which keeps a state
    of them that makes the mapping move; or SYNs answered with RST."""
    reject = 'iifname "wan" meta l4proto tcp ct state new reject with tcp reset\n' if unsolicited == "rst" else ""
    refuse = "" if unsolicited == "moves" else f'{reject}iifname "wan" ct state new drop'
    return f"""
table ip nat {{
{state}
 chain post {{
  type nat hook postrouting priority srcnat
{post}
 }}
 chain pre {{
  type nat hook prerouting priority dstnat
{pre}
 }}
 chain forward {{
  type filter hook forward priority 0
{forward}
  iifname "wan" ct state new drop
 }}
}}
table inet firewall {{
 chain input {{
  type filter hook input priority 0
  {refuse}
 }}
 chain forward {{
  type filter hook forward priority 0
  meta nfproto ipv6 iifname "wan" ct state new drop
 }}
}}
"""


MASQUERADE = ' oifname "wan" masquerade\n'
CONES = "".join(
    f" map {transport}_cone {{\n type inet_service : ipv4_addr . inet_service\n flags dynamic,timeout\n timeout 10m\n size 65535\n }}\n"
    for transport in ("udp", "tcp")
)
"""Outside port (which is the inside one) → inside endpoint."""
REMEMBER = "".join(
    f' oifname "wan" {transport} sport 1024-65535 update @{transport}_cone {{ {transport} sport : ip saddr . {transport} sport }}\n'
    for transport in ("udp", "tcp")
)
LET_IN = "".join(f' iifname "wan" dnat ip to {transport} dport map @{transport}_cone\n' for transport in ("udp", "tcp"))
SEEN = "".join(
    f" set {transport}_seen {{\n type ipv4_addr . inet_service\n flags dynamic,timeout\n timeout 10m\n size 65535\n }}\n"
    for transport in ("udp", "tcp")
)
"""Hosts to which an inside port has sent."""
ONLY_SEEN = "".join(
    f' oifname "wan" update @{transport}_seen {{ ip daddr . {transport} sport }}\n'
    f' iifname "wan" ct state new ip saddr . {transport} dport @{transport}_seen accept\n'
    for transport in ("udp", "tcp")
)
ANYBODY = ' iifname "wan" ct status dnat accept\n'
HAIRPIN = (
    "".join(f' iifname "lan" ip daddr {PUBLIC} dnat ip to {transport} dport map @{transport}_cone\n' for transport in ("udp", "tcp")),
    f' oifname "lan" ct status dnat snat to {PUBLIC}\n',
)


def stepping(first: int, step: int, count: int) -> str:
    """Exact incremental allocation: ``numgen`` through a map, for its own offset counts in the wrong octet order."""
    ports = ", ".join(f"{index} : {first + index * step}" for index in range(count))
    return f' oifname "wan" meta l4proto {{ tcp, udp }} snat to {PUBLIC} : numgen inc mod {count} map {{ {ports} }}\n{MASQUERADE}'


OPEN = Kind("open", behaviour(EIM, EIM, translated=False), open=True)
FULL_CONE = Kind("full-cone", behaviour(EIM, EIM), table(REMEMBER + MASQUERADE, pre=LET_IN, state=CONES, forward=ANYBODY))
RESTRICTED_CONE = Kind(
    "restricted-cone", behaviour(EIM, ADM), table(REMEMBER + MASQUERADE, pre=LET_IN, state=CONES + SEEN, forward=ONLY_SEEN)
)
PORT_RESTRICTED = Kind("port-restricted", behaviour(), table(MASQUERADE))
SHIFTED = Kind(
    "port-restricted-shifted",
    behaviour(allocation="random"),
    table(' oifname "wan" meta l4proto { tcp, udp } masquerade to :20000-30000\n' + MASQUERADE),
)
SYMMETRIC_RANDOM = Kind(
    "symmetric-random", behaviour(APDM, APDM, "random"), table(' oifname "wan" masquerade fully-random\n')
)
SYMMETRIC_STEPPING = Kind("symmetric-incremental", behaviour(APDM, APDM, "incremental", 2), table(stepping(31000, 2, 2000)))
MOVING = Kind("early-packets-move", behaviour(early="moves"), table(MASQUERADE, unsolicited="moves"))
RESETTING = Kind("rst-answering", behaviour(), table(MASQUERADE, unsolicited="rst"))
DOUBLE = Kind("double", behaviour(nested=True), table(MASQUERADE), outer=PORT_RESTRICTED)
HAIRPINNING = Kind(
    "hairpin",
    behaviour(EIM, EIM, hairpin=True),
    table(REMEMBER + HAIRPIN[1] + MASQUERADE, pre=LET_IN + HAIRPIN[0], state=CONES, forward=ANYBODY),
)
SHORT_LIVED = Kind("short-lived", behaviour(), table(MASQUERADE), udp_timeout=30)
UDP_BLOCKED = Kind("udp-blocked", behaviour(udp=False), table(MASQUERADE, forward=" meta l4proto udp drop\n"))
ONLY_443 = Kind(
    "only-tcp-443",
    behaviour(udp=False),
    table(MASQUERADE, forward=' oifname "wan" tcp dport != 443 drop\n oifname "wan" meta l4proto != tcp drop\n'),
)
IPV6 = Kind(
    "ipv6-firewall",
    behaviour(APDM, APDM, "random", ipv6="firewall"),
    table(' oifname "wan" masquerade fully-random\n'),
    ipv6=True,
)

ADDRESS_DEPENDENT = Kind(
    "address-dependent",
    behaviour(ADM, ADM, "random"),
    character={"mapping": "address", "filtering": "address", "allocation": "random"},
)
ADDRESS_DEPENDENT_PRESERVING = Kind(
    "address-dependent-preserving", behaviour(ADM, ADM), character={"mapping": "address", "filtering": "address"}
)
"""To the first host that a socket sends to it keeps the port; to the others it draws one."""
ADDRESS_DEPENDENT_RANDOM = Kind(
    "address-dependent-random",
    behaviour(ADM, APDM, "random"),
    character={"mapping": "address", "filtering": "address-and-port", "allocation": "random"},
)
CHUNKED = Kind(
    "cgn-chunked",
    behaviour(EIM, APDM, "chunked"),
    character={"allocation": "chunked", "low": 20480, "block": 256},
)
POOLED = Kind(
    "pooled",
    behaviour(APDM, APDM, "random", pooling="arbitrary"),
    character={"mapping": "address-and-port", "allocation": "random", "pooling": "arbitrary"},
    pool=4,
)
NOISY = Kind(
    "incremental-busy",
    behaviour(APDM, APDM, "incremental", 1),
    character={"mapping": "address-and-port", "allocation": "incremental", "noise": 20.0, "low": 1024},
)
EXACT_HAIRPIN = Kind(
    "exact-hairpin",
    behaviour(EIM, ADM, "random", hairpin=True),
    character={"filtering": "address", "allocation": "random", "hairpin": True},
)
PROHIBITING = Kind("icmp-answering", behaviour(), character={"unsolicited": "icmp"})

KINDS = (
    OPEN, FULL_CONE, RESTRICTED_CONE, PORT_RESTRICTED, SHIFTED, SYMMETRIC_RANDOM, SYMMETRIC_STEPPING, MOVING, RESETTING, DOUBLE,
    HAIRPINNING, SHORT_LIVED, UDP_BLOCKED, ONLY_443, IPV6, ADDRESS_DEPENDENT, ADDRESS_DEPENDENT_PRESERVING,
    ADDRESS_DEPENDENT_RANDOM, CHUNKED, POOLED, NOISY, EXACT_HAIRPIN, PROHIBITING,
)  # fmt: skip
