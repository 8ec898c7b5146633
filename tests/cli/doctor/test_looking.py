"""What is looked at: tables of sockets, rules of firewalls, state folders, settings of avahi."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from userlan.cli.doctor import computer, firewall, rehearsal
from userlan.driver.state import StateFolder

NFT = """\
table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tiifname "lo" accept
\t\tct state established,related accept
\t\tjump extra
\t\tiifname "eth9" jump closed
\t\tjump some
\t}

\tchain extra {
\t\tudp dport { 1900, 5353 } drop
\t\tjump input
\t}

\tchain closed {
\t\tcounter packets 0 bytes 0 drop
\t}

\tchain some {
\t\tfib daddr type multicast return
\t\tdrop
\t}

\tchain output {
\t\ttype filter hook output priority filter; policy accept;
\t\toif "lo" drop
\t\tcounter packets 3 bytes 1 reject with icmp port-unreachable
\t}

\tchain forward {
\t\ttype filter hook forward priority filter; policy drop;
\t}
}
"""

IPTABLES = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [5:300]
:ours - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -j ours
-A OUTPUT -o lo -j DROP
-A ours -p udp -m udp --dport 5353 -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def test_what_nftables_drops() -> None:
    rules = firewall.from_nft(NFT)
    assert [(one.hook, one.text, one.everything) for one in rules] == [
        ("input", "udp dport { 1900, 5353 } drop", False),
        ("input", 'iifname "eth9" jump closed: counter packets 0 bytes 0 drop', False),
        ("input", "jump some: drop", False),
        ("input", "chain input: policy drop", True),
        ("output", 'oif "lo" drop', False),
        ("output", "counter packets 3 bytes 1 reject with icmp port-unreachable", True),
    ]
    assert rules[3].accepts == ('iifname "lo" accept', "ct state established,related accept")


def test_what_iptables_drops() -> None:
    rules = firewall.from_iptables(IPTABLES)
    assert [(one.hook, one.text, one.everything) for one in rules] == [
        ("input", "-p udp -m udp --dport 5353 reject --reject-with icmp-port-unreachable", False),
        ("input", "chain INPUT: policy DROP", True),
        ("output", "-o lo drop", False),
    ]
    assert rules[1].accepts == ("-i lo accept",)


def test_nothing_drops_where_there_are_no_rules() -> None:
    assert firewall.from_nft("") == firewall.from_iptables("") == ()


def test_a_state_folder_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state"
    missing = computer.folder(path)
    assert (missing.exists, missing.writable, missing.own) == (False, True, True)
    held = StateFolder(path, lambda text: None)
    (path / "memory.json.corrupt").touch()
    (path / "node.log").write_text("first\nuserlan: the port \x1b[1mis taken\n")
    found = computer.folder(path)
    assert found.damaged == ("memory.json.corrupt",)
    assert found.log_end == "userlan: the port [1mis taken"
    assert not found.open_to_others
    if sys.platform == "linux":
        assert found.holder == os.getpid()
    held.close()
    assert computer.folder(path).holder == 0
    path.chmod(0o755)
    assert computer.folder(path).open_to_others


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert not computer.folder(tmp_path / "state").writable


def test_avahis_settings(tmp_path: Path) -> None:
    path = tmp_path / "avahi-daemon.conf"
    assert computer.server_settings(path) == {}
    path.write_text("[server]\n#check-response-ttl=no\ncheck-response-ttl=yes\n[publish]\nx=%y\n")
    assert computer.server_settings(path) == {"check-response-ttl": "yes"}
    path.write_text("no section")
    assert computer.server_settings(path) == {}


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
def test_the_try_for_namespaces_leaves_nothing_behind() -> None:
    before = os.readlink("/proc/self/ns/net"), sorted(os.listdir("/sys/class/net"))
    assert "failed" not in rehearsal.rehearse()
    assert (os.readlink("/proc/self/ns/net"), sorted(os.listdir("/sys/class/net"))) == before


def test_the_words_of_the_command(tmp_path: Path) -> None:
    state = tmp_path / "state"
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "userlan", "--state", str(state), "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, env=environment)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == f"✗ no node runs: this computer is not in the LAN — nothing answers for the state folder {state} → userlan up"
    assert not state.exists()
    assert lines[-1].startswith("✓ ")
    assert lines[-1].endswith(" other things were looked at")
