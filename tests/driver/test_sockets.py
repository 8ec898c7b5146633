"""Who holds which port of this computer."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from userlan.driver import sockets
from userlan.driver.sockets import Entry, parse

LITTLE = pytest.mark.skipif(sys.byteorder != "little", reason="the example is of a little-endian machine")

UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  12: FAFFFFEF:076C 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 34567 2 0000000000000000 0
  13: 0100007F:9C40 0100007F:0035 01 00000000:00000000 00:00000000 00000000  1000        0 34568 2 0000000000000000 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 777 1
   1: B80D0120000000000000000001000000:0050 00000000000000000000000000000000:0000 06 00000000:00000000 00:00000000 00000000 0 0 778 1
"""


@LITTLE
def test_the_tables_of_proc() -> None:
    assert list(parse(UDP, "udp")) == [Entry("239.255.255.250", 1900, 1000, 34567)]
    assert list(parse(TCP6, "tcp")) == [Entry("::1", 631, 0, 777)]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_an_own_socket_is_found_with_its_process() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held, socket.create_server(("127.0.0.1", 0)) as server:
        held.bind(("127.0.0.1", 0))
        found = {(one.protocol, one.port): one for one in sockets.waiting() if one.pid == os.getpid()}
        assert found["udp", held.getsockname()[1]].host == "127.0.0.1"
        assert f"(process {os.getpid()})" in found["tcp", server.getsockname()[1]].holder


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("alone", [True, False])
def test_who_has_ipv6_alone(alone: bool) -> None:
    """RFC 3493 5.3: IPV6_V6ONLY."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as held:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, alone)
        held.bind(("::", 0))
        assert (("udp", held.getsockname()[1]) in sockets.only_ipv6(sockets.waiting())) is alone


@pytest.mark.parametrize(
    ("comm", "words", "name"),
    [
        ("nginx", ["nginx: master"], "nginx"),
        ("python3", ["/usr/bin/python3", "-u", "-m", "http.server", "8000"], "http.server"),
        ("python", ["python", "/srv/wiki/serve.py", "--port", "80"], "serve"),
        ("node", ["node", "--inspect", "/srv/app.js"], "app"),
        ("python3", ["python3", "-c", "import x"], "python3"),
        ("python3", ["python3"], "python3"),
        ("python3", ["python3", "-m"], "python3"),
    ],
)
def test_what_an_interpreter_runs(tmp_path: Path, comm: str, words: list[str], name: str) -> None:
    """proc(5): /proc/pid/comm, /proc/pid/cmdline."""
    process = tmp_path / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "3").symlink_to("socket:[34567]")
    (process / "comm").write_text(f"{comm}\n")
    (process / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "udp").write_text(UDP)
    (found,) = sockets.waiting(tmp_path)
    assert (found.pid, found.program) == (77, name)
