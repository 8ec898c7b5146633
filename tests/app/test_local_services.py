"""What programs of this computer offer: one row for each port, with what of it is exposed."""

from __future__ import annotations

import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.driver.loop import Loop
from userlan.app.local_services import DYNAMIC, MAX_TOLD, dynamic_ports, listing, local_services
from userlan.app.program import NodeProgram
from userlan.driver.sockets import Socket

OWN = 7
WEB = Socket("tcp", "127.0.0.1", 8000, 1000, 42, "python3")
SSH = Socket("tcp", "0.0.0.0", 22)


def rule(service: str = "8000", host: str = "", service_port: int = 8000, **changes: Any) -> dict[str, Any]:
    """As the bridge tells of one."""
    base = {
        "service": service, "host": host, "service_port": service_port, "port": service_port, "protocol": "tcp", "name": "", "allow": [],
        "error": "", "streams": 0, "configured": False,
    }  # fmt: skip
    return base | changes


def rows(*waiting: Socket, exposed: tuple[dict[str, Any], ...] = ()) -> list[dict[str, Any]]:
    return listing(waiting, exposed, OWN)


def test_each_port_is_one_row() -> None:
    found = rows(SSH, Socket("tcp", "::", 22), WEB, Socket("tcp", "::1", 8000))
    assert [(row["port"], row["program"], row["service"], row["everywhere"]) for row in found] == [
        (22, "", "22", True),
        (8000, "python3", "8000", False),
    ]
    assert all(row["serving"] and not row["exposed"] for row in found)


def test_what_is_at_another_address_is_exposed_by_that() -> None:
    (row,) = rows(Socket("tcp", "192.168.1.5", 80))
    assert (row["host"], row["service"], row["name"]) == ("192.168.1.5", "192.168.1.5:80", "http")
    (row,) = rows(Socket("udp", "::1", 27015))
    assert row["service"] == "[::1]:27015/udp"


@pytest.mark.parametrize(
    "one",
    [
        Socket("tcp", "127.0.0.1", 9000, pid=OWN),
        Socket("udp", "239.255.255.250", 1900),
        Socket("udp", "192.168.1.255", 137),
        Socket("udp", "0.0.0.0", 5353),
        Socket("udp", "0.0.0.0", DYNAMIC.start),
        Socket("tcp", "127.3.2.1", 80),
        Socket("udp", "127.0.0.53", 53),
        Socket("tcp", "127.0.0.1", 4142, pid=8, program="userlan"),
    ],
    ids=["own", "group", "broadcast", "mdns", "client", "alias", "stub", "node"],
)
def test_what_is_nobodys_service_is_left_out(one: Socket) -> None:
    assert rows(one) == []


def test_a_game_server_is_not_left_out() -> None:
    (row,) = rows(Socket("udp", "0.0.0.0", 27015, 1000, 9, "srcds"))
    assert (row["protocol"], row["service"], row["program"]) == ("udp", "27015/udp", "srcds")


def test_the_exposed_ones_come_first_with_how_they_are_seen() -> None:
    found = rows(SSH, WEB, exposed=(rule(port=80, name="Site", allow=["ben"], streams=2),))
    assert [row["port"] for row in found] == [8000, 22]
    site = found[0]
    assert (site["exposed"], site["exposed_as"], site["name"], site["allow"], site["streams"]) == (True, 80, "Site", ["ben"], 2)
    assert (site["program"], site["serving"]) == ("python3", True)


def test_a_service_that_nobody_serves_at_present_is_told_all_the_same() -> None:
    found = rows(exposed=(rule(), rule("nas:445", "nas", 445, configured=True)))
    assert [(row["host"], row["port"], row["serving"], row["configured"]) for row in found] == [
        ("nas", 445, False, True),
        ("127.0.0.1", 8000, False, False),
    ]


def test_one_service_at_two_ports_of_the_lan_is_two_rows() -> None:
    found = rows(WEB, exposed=(rule(), rule(port=80)))
    assert [(row["port"], row["exposed_as"], row["program"]) for row in found] == [(8000, 8000, "python3"), (8000, 80, "python3")]


def test_no_more_is_told_than_anybody_reads() -> None:
    assert len(rows(*(Socket("tcp", "0.0.0.0", port) for port in range(1, 2000)))) == MAX_TOLD


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_the_kernel_says_which_ports_are_clients() -> None:
    found = dynamic_ports()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        assert client.getsockname()[1] in found


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_server_of_another_process_is_found(loop: Loop) -> None:
    """The row has the port of a real listener; this process's own are the node's."""
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            with socket.create_server(("127.0.0.1", 0)) as own:
                found = loop.result(local_services(cast(NodeProgram, SimpleNamespace(bridges={}, reactor=loop.reactor))))
                ports = {row["port"]: row for row in found}
                assert own.getsockname()[1] not in ports
        finally:
            server.communicate("\n", timeout=20)
    assert ports[port]["program"].startswith("python")
