"""What goes wrong on real machines, with real processes: each gets one clear line and the right exit status, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.conftest import MEDIATOR, Site
from tests.lab.network import Lab, tun_unavailable
from tests.lab.test_acceptance import fetch, serve
from tests.lab.userlan_process import Mediator, Member, wait_for_line

pytestmark = pytest.mark.lab


def one_line(text: str) -> str:
    """The message, which must be one line of the program's."""
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("userlan: "), text
    return lines[0]


def test_wrong_invites_and_passwords(site: Site) -> None:
    site.anna.up("--mediator", site.mediator.url)
    password = site.folder / "password"
    password.write_text("correct horse\n")
    invite = site.anna.run("create", "home", "--password-file", str(password)).stdout.split()[0]
    link, secret = invite.split("#")

    mistyped = site.ben.run("join", f"{link}#{'A' if secret[0] != 'A' else 'B'}{secret[1:]}", check=False)
    assert (mistyped.returncode, "mistyped" in one_line(mistyped.stderr)) == (1, True)
    short = site.ben.run("join", invite[:-3], check=False)
    assert (short.returncode, "cut short" in one_line(short.stderr)) == (1, True)

    wrong = site.folder / "wrong"
    wrong.write_text("battery staple\n")
    refused = site.ben.run("join", link, "--password-file", str(wrong), check=False)
    assert refused.returncode == 1
    assert "home" in one_line(refused.stderr)
    assert site.ben.run("status", check=False).returncode == 1, "the node that was started for the join is stopped again"

    site.ben.run("join", link, "--password-file", str(password))
    assert [network["name"] for network in site.ben.status()["networks"]] == ["home"]
    site.ben.run("down")


def test_a_wrong_mediator_key(site: Site) -> None:
    before, key = site.mediator.url.rsplit("/", 1)
    other = ("B" if key[0] != "B" else "C") + key[1:]
    result = site.ben.run("up", "--mediator", f"{before}/{other}", check=False, timeout=120)
    assert result.returncode == 1
    assert MEDIATOR in one_line(result.stderr.splitlines()[-1])
    assert "key" in result.stderr.splitlines()[-1]


def test_a_port_in_use(site: Site) -> None:
    site.anna.up("--mediator", site.mediator.url, "--listen", "0.0.0.0:5000")
    second = Member(site.anna_space, site.folder / "second", "second", "proxy:\n  listen: 127.0.0.1:0\n")
    result = second.run("up", "--mediator", site.mediator.url, "--listen", "0.0.0.0:5000", check=False)
    assert result.returncode == 1
    assert "5000" in one_line(result.stderr)
    third = Member(site.anna_space, site.folder / "third", "third")
    third.up("--mediator", site.mediator.url)
    taken: str = third.status()["bridges"]["proxy"]
    assert taken == "127.0.0.1:1056", "the default port is another node's: the next one"
    third.stop()
    fourth = Member(site.anna_space, site.folder / "fourth", "fourth", "proxy:\n  listen: localhost:1055\n")
    result = fourth.run("up", "--mediator", site.mediator.url, check=False)
    assert result.returncode == 1
    assert "1055" in one_line(result.stderr), "but what was asked for by hand is had or refused"


def test_a_state_folder_in_use(site: Site) -> None:
    site.anna.up("--mediator", site.mediator.url)
    result = site.anna.run("up", check=False)
    assert result.returncode == 1
    assert "held by another userlan" in one_line(result.stderr)


def test_wrong_configurations(site: Site) -> None:
    site.anna.config.write_text("name: anna\nproxi:\n  listen: 127.0.0.1:1055\n")
    result = site.anna.run("up", check=False)
    assert result.returncode == 1
    assert "config.yaml:2" in result.stderr
    assert "proxy" in result.stderr
    checked = site.anna.run("config", "check", str(site.anna.config), check=False)
    assert checked.returncode == 1
    assert "config.yaml:2" in checked.stderr
    missing = site.anna.namespace.run(
        sys.executable, "-m", "userlan", "--state", str(site.folder / "x"), "--config", "/nowhere/config.yaml", "up", check=False
    )
    assert missing.returncode == 1
    assert "/nowhere/config.yaml" in one_line(missing.stderr)


def test_wrong_usage_is_status_two(site: Site) -> None:
    for arguments in (("stat",), ("ping",), ("expose", "x", "--as", "0"), ("join", "home")):
        result = site.anna.run(*arguments, check=False)
        assert result.returncode == 2, arguments
        assert len(result.stderr.strip().splitlines()) == 1


def test_without_a_node_commands_say_what_to_do(site: Site) -> None:
    result = site.anna.run("status", check=False)
    assert result.returncode == 1
    assert "userlan up" in one_line(result.stderr)


def test_rubbish_and_stalling_clients_leave_the_proxy_working(site: Site) -> None:
    site.join()
    digest = serve(site, 200_000)
    script = site.folder / "rubbish.py"
    script.write_text(
        "import socket, os\n"
        "held = []\n"
        "starts = (b'', b'\\x05', b'\\x05\\x01', b'GET', b'CONNECT x', b'\\x04\\x01', os.urandom(64), b'\\x16\\x03\\x01')\n"
        "for start in (*starts, b'\\x05\\x01\\x00\\x05\\x09'):\n"
        "    for _ in range(20):\n"
        "        one = socket.create_connection(('127.0.0.1', 1055)); one.sendall(start); held.append(one)\n"
        "print('ready', flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    with (site.folder / "rubbish.log").open("wb") as log:
        process = site.ben_space.start(sys.executable, str(script), stdout=log)
    wait_for_line(site.folder / "rubbish.log", "ready", process)
    assert fetch(site, "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file") == digest


def test_a_thousand_streams_at_once(site: Site) -> None:
    site.join()
    server = site.folder / "echo.py"
    server.write_text(
        "import asyncio\n"
        "async def serve(reader, writer):\n"
        "    data = await reader.readexactly(1000); writer.write(data); await writer.drain(); writer.close()\n"
        "async def main():\n"
        "    async with await asyncio.start_server(serve, '127.0.0.1', 7000, backlog=2048) as s:\n"
        "        print('ready', flush=True); await s.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    with (site.folder / "echo.log").open("wb") as log:
        process = site.anna_space.start(sys.executable, str(server), stdout=log)
    wait_for_line(site.folder / "echo.log", "ready", process)
    site.anna.run("expose", "7000")
    site.ben.run("forward", "7000:anna:7000")
    client = site.folder / "client.py"
    client.write_text(
        "import asyncio, os\n"
        "async def one(gate):\n"
        "    reader, writer = await asyncio.open_connection('127.0.0.1', 7000)\n"
        "    await gate.wait()\n"
        "    data = os.urandom(1000); writer.write(data)\n"
        "    assert await reader.readexactly(1000) == data; writer.close()\n"
        "async def main():\n"
        "    gate = asyncio.Event()\n"
        "    tasks = [asyncio.create_task(one(gate)) for _ in range(1000)]\n"
        "    await asyncio.sleep(3); gate.set()\n"
        "    await asyncio.gather(*tasks); print('all', flush=True)\n"
        "asyncio.run(main())\n"
    )
    result = site.ben_space.run("sh", "-c", f"ulimit -n 4096; exec {sys.executable} {client}", timeout=120)
    assert result.stdout == "all\n"


def test_five_per_cent_loss_with_fifty_milliseconds(lab: Lab, tmp_path: Path) -> None:
    reason = tun_unavailable()
    if reason:
        pytest.skip(reason)
    one, two = lab.namespace("anna"), lab.namespace("ben")
    with (tmp_path / "link.log").open("wb") as log:
        link = one.start(
            sys.executable, "-m", "tests.lab.slow_link", str(two.pid), "--addresses", "10.98.0.1/24", "10.98.0.2/24",
            "--delay", "0.05", "--loss", "0.05", stdout=log, cwd=str(Path(__file__).parents[2]),
        )
    wait_for_line(tmp_path / "link.log", "ready", link)
    mediator = Mediator(one, tmp_path / "mediator", "10.98.0.1:41414")
    anna, ben = Member(one, tmp_path / "anna", "anna"), Member(two, tmp_path / "ben", "ben")
    site = Site(lab, tmp_path, one, one, two, mediator, anna, ben)
    site.join()
    digest = serve(site, 3 << 20)
    assert fetch(site, "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file") == digest


def test_hostile_datagrams_do_no_harm(site: Site) -> None:
    site.join()
    digest = serve(site, 500_000)
    script = (
        "import os, random, socket\n"
        "random.seed(1)\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "for n in range(3000):\n"
        "    kind = bytes([random.choice([0, 1, 2, 3, 4, 255]), 0, 0, 0])\n"
        "    s.sendto(kind + os.urandom(random.choice([0, 1, 12, 28, 60, 88, 144, 1400, 9000])), ('10.99.0.2', 41414))\n"
        "t = socket.create_connection(('10.99.0.2', 41414)); t.sendall(os.urandom(4000)); t.close()\n"
    )
    subprocess.run(site.ben_space.command(sys.executable, "-c", script), check=True, timeout=60)
    assert fetch(site, "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file") == digest


def test_udp_blocked_everything_goes_over_tcp(site: Site) -> None:
    if shutil.which("nft") is None:
        pytest.skip("the program nft is missing")
    rules = "type filter hook output priority 0\n oif lo accept\n meta l4proto udp drop\n"
    site.ben_space.nft(f"table inet f {{\n chain o {{\n {rules} }}\n }}\n")
    site.join()
    status = site.ben.status()
    assert status["mediator"]["path"] == "tcp"
    assert [(peer["state"], peer["path"]) for peer in status["peers"]] == [("direct", "tcp")]
    digest = serve(site, 30 << 20)
    assert fetch(site, "--socks5-hostname", "127.0.0.1:1055", "http://anna:8000/file") == digest
