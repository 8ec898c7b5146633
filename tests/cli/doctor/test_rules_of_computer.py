"""Rules about this computer: each is asked with a computer that has just this fault."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.cli.doctor.scenes import alone, found, mdns, member, node, profile, row, scene
from userlan.cli.doctor.computer_rules import collide
from userlan.cli.doctor.finding import Computer, FirewallRule, Folder, Wanted
from userlan.cli.doctor.verdict import judge
from userlan.driver.sockets import Socket

FINE = Computer()
BUSY = Socket("tcp", "0.0.0.0", 1055, 0, 77, "squid")
AVAHI = Socket("udp", "0.0.0.0", 5353, 114, 0, "")
PROXY = Wanted("proxy.listen", "127.0.0.1", 1055, "tcp", True)


def test_where_all_is_well_nothing_is_found_and_it_is_told_what_was_checked() -> None:
    verdict = judge(scene())
    assert verdict.findings == ()
    assert not verdict.wrong
    assert {"the mediator", "the firewall", "networks", "all peers", "multicast DNS"} <= set(verdict.fine)


def test_only_what_could_be_looked_at_was_checked() -> None:
    """Nothing is said of the way to a peer that is not reached, nor of a profile's announcements."""
    gone = node(peer=member(online=False), status={"peers": [row(state="offline")]})
    assert "the way to the peer" in judge(scene(node(peer=member()), peer="ben")).checked
    assert "the way to the peer" not in judge(scene(gone, peer="ben")).checked
    assert "discovery" in judge(scene(service="ssdp")).checked
    assert not {"what is announced", "the port"} & set(judge(scene(service="ssdp")).checked)
    assert not {"discovery", "the port"} & set(judge(scene(service="_ipp._tcp")).checked)
    assert not {"discovery", "what is announced"} & set(judge(scene(service="80")).checked)
    assert "the mediator" not in judge(alone(FINE)).checked


@pytest.mark.parametrize(
    ("computer", "code", "level", "part"),
    [
        (FINE, "node-not-running", "wrong", "userlan up"),
        (evolve(FINE, folder=Folder("/s", log_end="userlan: the port is taken")), "node-not-running", "wrong", "the port is taken"),
        (evolve(FINE, folder=Folder("/s", own=False)), "state-foreign", "wrong", "--state"),
        (evolve(FINE, folder=Folder("/s", writable=False)), "state-not-writable", "wrong", "chmod u+rwx '/s'"),
        (evolve(FINE, folder=Folder("/s", open_to_others=True)), "state-open", "note", "chmod 700"),
        (evolve(FINE, folder=Folder("/s", free=4096)), "disk-full", "wrong", "4.0 KiB"),
        (evolve(FINE, folder=Folder("/s", holder=9)), "state-held", "wrong", "kill 9"),
        (evolve(FINE, folder=Folder("/s", damaged=("memory.json.corrupt",))), "state-damaged", "note", "memory.json.corrupt"),
        (evolve(FINE, mistakes=("c:1: what", "c:2: is")), "config-wrong", "wrong", "c:1: what (and 1 more)"),
        (evolve(FINE, wanted=(PROXY,), sockets=(BUSY,)), "port-taken", "wrong", "squid (process 77)"),
        (evolve(FINE, wanted=(evolve(PROXY, must=False),), sockets=(BUSY,)), "port-taken", "note", "another one"),
        (evolve(FINE, wanted=(PROXY,), sockets=(evolve(BUSY, pid=0, uid=3),)), "port-taken", "wrong", "sudo ss -tulpn"),
        (evolve(FINE, addresses=()), "no-address", "note", "ip address"),
        (evolve(FINE, loopback_up=False), "loopback-down", "wrong", "sudo ip link set lo up"),
        (evolve(FINE, aliases=False), "no-aliases", "note", "127.0.0.1"),
        (evolve(FINE, aliases=False, linux=False), "no-aliases", "note", "sudo ifconfig lo0 alias"),
        (evolve(FINE, namespaces="forbidden: `sudo sysctl x=0` allows it"), "run-impossible", "note", "| sudo sysctl x=0"),
        (evolve(FINE, tun="/dev/net/tun: no such file"), "no-tun", "note", "modprobe tun"),
        (evolve(FINE, avahi={"check-response-ttl": "yes"}, sockets=(AVAHI,)), "avahi-ttl", "wrong", "check-response-ttl"),
        (evolve(FINE, avahi={"disallow-other-stacks": "yes"}, sockets=(AVAHI,)), "avahi-alone", "wrong", "disallow-other-stacks"),
        (evolve(FINE, firewall_hidden="nft: not permitted"), "firewall-hidden", "unseen", "cannot look"),
    ],
)
def test_one_fault_one_finding(computer: Computer, code: str, level: str, part: str) -> None:
    findings = found(alone(computer))
    assert set(findings) == {"node-not-running", code}
    assert findings[code][0] == level
    assert part in findings[code][1]


def test_an_avahi_that_does_not_run_does_no_harm() -> None:
    assert found(scene(computer=evolve(FINE, avahi={"check-response-ttl": "yes"}))) == {}


def test_a_port_is_named_once_for_all_its_addresses_and_protocols() -> None:
    both = (evolve(PROXY, must=False), evolve(PROXY, must=False, host="::"))
    findings = judge(alone(evolve(FINE, wanted=both, sockets=(BUSY, evolve(BUSY, host="::"))))).findings
    assert [one.code for one in findings] == ["node-not-running", "port-taken"]


def test_ports_are_the_running_nodes_own_matter() -> None:
    assert found(scene(computer=evolve(FINE, wanted=(PROXY,), sockets=(BUSY,)))) == {}


@pytest.mark.parametrize(
    ("host", "held", "hinders"),
    [
        ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "127.0.0.2", False), ("0.0.0.0", "127.0.0.2", True),
        ("127.0.0.1", "0.0.0.0", True), ("127.0.0.1", "::", True), ("::", "10.0.0.1", True), ("::1", "10.0.0.1", False),
    ],
)  # fmt: skip
def test_which_socket_hinders_which(host: str, held: str, hinders: bool) -> None:
    assert collide(host, Socket("tcp", held, 1)) is hinders


POLICY = FirewallRule("input", "chain input: policy drop", True, ("tcp dport 22 accept",))
LO_LET_IN = evolve(POLICY, accepts=('iifname "lo" accept', "tcp dport 22 accept"))


@pytest.mark.parametrize(
    ("rule", "code", "level"),
    [
        (POLICY, "firewall-loopback", "wrong"),
        (FirewallRule("output", 'oif "lo" drop'), "firewall-loopback", "wrong"),
        (FirewallRule("input", "-i lo drop"), "firewall-loopback", "wrong"),
        (FirewallRule("input", 'iifname "lo" udp dport 9 drop'), "firewall-loopback", "note"),
        (FirewallRule("output", "ip daddr 224.0.0.0/4 counter packets 0 bytes 0 drop"), "firewall-groups", "note"),
        (FirewallRule("input", "meta pkttype broadcast reject"), "firewall-groups", "note"),
        (FirewallRule("input", "udp dport { 1900, 5353 } drop"), "firewall-port", "note"),
        (FirewallRule("input", "udp dport 41414 drop"), "firewall-port", "note"),
        (LO_LET_IN, "", ""),
        (evolve(POLICY, accepts=("accept",)), "", ""),
        (evolve(POLICY, accepts=('iifname { "eth0", "lo" } accept',)), "", ""),
        (evolve(POLICY, accepts=('iifname != "lo" accept', "! -i lo accept")), "firewall-loopback", "wrong"),
        (FirewallRule("input", 'iifname != "lo" ip saddr 127.0.0.0/8 drop'), "", ""),
        (FirewallRule("input", "tcp dport 414140 drop"), "", ""),
        (FirewallRule("input", "ct state invalid drop"), "", ""),
    ],
)
def test_rules_of_the_firewall_that_matter(rule: FirewallRule, code: str, level: str) -> None:
    findings = found(scene(computer=evolve(FINE, firewall=(rule,))))
    assert {one: what[0] for one, what in findings.items()} == ({code: level} if code else {})


def test_a_ports_rule_matters_for_the_service_that_is_asked_for() -> None:
    rule = FirewallRule("input", "udp dport 3979 drop")
    told = node(bridges={"discovery": {"profiles": [profile("openttd", ports=[3979], groups=[])], "attached": False}})
    assert found(scene(told, computer=evolve(FINE, firewall=(rule,)))) == {}
    assert set(found(scene(told, service="openttd", computer=evolve(FINE, firewall=(rule,))))) == {"firewall-port"}


def test_members_are_let_in_at_an_interface_that_is_attached() -> None:
    told = node(status={"bridges": {"tap": {"name": "lan0", "text": "attached lan0"}}}, bridges={"mdns": mdns()})
    findings = found(scene(told, computer=evolve(FINE, firewall=(LO_LET_IN,), broadcasts_from="25.0.0.1")))
    assert set(findings) == {"firewall-tap"}
    assert "iifname lan0 accept" in findings["firewall-tap"][1]
