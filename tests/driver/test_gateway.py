"""The default gateway in each system's own words."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userlan.driver import gateway

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
little = pytest.mark.skipif(sys.byteorder != "little", reason="the tables are in this processor's order")


@little
def test_linux_ipv4_takes_the_least_metric() -> None:
    table = HEAD + (
        "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eth0\t00000000\tFE01A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
        "eth0\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
        "vpn0\t00000000\t01000A0A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n"
        "nonsense\n"
    )
    assert gateway.from_proc(table) == "192.168.1.254"
    assert gateway.from_proc(HEAD) is None
    assert gateway.from_proc("") is None


def test_linux_ipv6_keeps_the_zone_of_a_link_local_router() -> None:
    zero = "0" * 32
    table = (
        f"fd000000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n"
        f"{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000003 00000000 00450003    wlan0\n"
        f"{zero} 00 {zero} 00 fd000000000000000000000000000001 00000800 00000003 00000000 00000003     eth0\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
    )
    assert gateway.from_proc_ipv6(table) == "fe80::1%wlan0"
    assert gateway.from_proc_ipv6("") is None


def test_netstat_of_bsd_macos_and_windows() -> None:
    mac = """Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
127                127.0.0.1          UCS                   lo0

Internet6:
Destination                             Gateway                                 Flags               Netif Expire
default                                 fe80::1%en0                             UGcg                  en0
"""
    windows = """===========================================================================
IPv4 Route Table
===========================================================================
Active Routes:
Network Destination        Netmask          Gateway       Interface  Metric
          0.0.0.0          0.0.0.0      192.168.0.1    192.168.0.105     35
        127.0.0.0        255.0.0.0         On-link         127.0.0.1    331
"""
    assert gateway.from_netstat(mac, 4) == "192.168.1.1"
    assert gateway.from_netstat(mac, 6) == "fe80::1%en0"
    assert gateway.from_netstat(windows, 4) == "192.168.0.1"
    assert gateway.from_netstat(windows, 6) is None
    assert gateway.from_netstat("default link#5 UCS", 4) is None


@given(st.text(max_size=300))
def test_any_table_is_read(text: str) -> None:
    for read in (gateway.from_proc, gateway.from_proc_ipv6):
        read(HEAD + text)
    gateway.from_netstat(text, 4)


def test_the_own_address_towards_a_gateway() -> None:
    assert gateway.own_address("127.0.0.1") == "127.0.0.1"
    assert gateway.own_address("255.255.255.255") is None
