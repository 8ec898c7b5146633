"""Broadcast, multicast and frames that are not IP between computers that are attached by TAPs, and beside them a member without one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import ends_of_groups
from tests.lab.attached import Computers, computers, needed, tap_up
from tests.lab.avahi import Avahi, unavailable
from tests.lab.network import Lab, Namespace, end, until
from tests.lab.userlan_process import Member, wait_for_line

pytestmark = pytest.mark.lab

CARL = "10.98.0.4"
GROUPS = {4: "239.1.2.3", 6: "ff15::1234"}
PORT = "7000"
ENDS = (sys.executable, str(ends_of_groups.__file__))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Computers, Member]]:
    """Anna and ben attached, carl a node like any other."""
    needed()
    folder = tmp_path_factory.mktemp("groups")
    with Lab(folder) as lab:
        made = computers(lab, folder)
        space = lab.namespace("carl")
        lab.attach(next(one for one in lab.namespaces if one.name == "switch"), space, f"{CARL}/24")
        carl = Member(space, folder / "carl", "carl")
        carl.up()
        carl.run("join", made.anna.run("invite", "home").stdout.split()[0])
        for member in (made.anna, made.ben):
            member.wait_state("carl", "direct")
            tap_up(member, "--broadcasts")
        yield made, carl


@pytest.fixture
def pair(three: tuple[Computers, Member]) -> Computers:
    return three[0]


class Ear:
    """A program that hears a group, or frames, in a namespace."""

    def __init__(self, space: Namespace, log: Path, *command: str) -> None:
        self.log = log
        with log.open("wb") as file:
            self._process = space.start(*ENDS, *command, stdout=file, stderr=file)
        wait_for_line(log, "ready", self._process)

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()[1:]

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *failure: object) -> None:
        end(self._process)


def say(member: Member, group: str, text: str, count: int = 1) -> str:
    return member.namespace.run(*ENDS, "say", group, PORT, text, str(count)).stdout.strip()


def listens(member: Member, group: str, who: str) -> bool:
    """Whether a member knows that another one listens to a group."""
    status = member.call("status")
    key = next(peer["key"] for peer in status["peers"] if peer["name"] == who)
    return group in status["groups"]["peers"].get(key, [])


def test_ping_by_broadcast(three: tuple[Computers, Member]) -> None:
    """Everybody answers: the attached and those who are not."""
    pair, carl = three
    others = {pair.address(member) for member in (pair.anna, carl)}
    answered: set[str] = set()

    def all_answered() -> bool:
        output = pair.from_ben("ping", "-n", "-b", "-c", "2", "-i", "0.3", "-W", "2", "25.255.255.255", check=False).stdout
        answered.update(line.split()[3].rstrip(":") for line in output.splitlines() if line.startswith("64 bytes from"))
        return answered >= others

    until(all_answered, 60, "answers from everybody", 0.2)
    assert answered <= others | {pair.address(pair.ben)}
    print("ping -b 25.255.255.255:", *sorted(answered))


@pytest.mark.parametrize("destination", ["25.255.255.255", "255.255.255.255"])
def test_a_broadcast_of_a_kernel_program(pair: Computers, tmp_path: Path, destination: str) -> None:
    """The limited one goes where the kernel's routes lead: with ``--broadcasts`` that is the LAN, whatever else there is."""
    pair.ben.namespace.ip("route", "replace", "default", "dev", "eth0")
    with Ear(pair.anna.namespace, tmp_path / "ear.log", "hear", destination, PORT) as ear:
        assert say(pair.ben, destination, "to-all") == f"answered: {pair.address(pair.anna)}"
        assert ear.lines() == [f"to-all-0 {pair.address(pair.ben)}"]


@pytest.mark.parametrize("version", [4, 6])
def test_a_group_is_joined_heard_and_left_by_kernel_programs(pair: Computers, tmp_path: Path, version: int) -> None:
    group, anna, ben = GROUPS[version], pair.anna, pair.ben
    here = pair.address(ben, version)
    with Ear(anna.namespace, tmp_path / "ear.log", "hear", group, PORT) as ear:
        until(lambda: listens(ben, group, "anna"), 60, "ben knows that anna's kernel listens")
        assert say(ben, group, "one", 50) == f"answered: {pair.address(anna, version)}"
        assert len(ear.lines()) == 50
        assert set(ear.lines()) == {f"one-{number} {here}" for number in range(50)}
    until(lambda: not listens(ben, group, "anna"), 60, "ben knows that it does no more")
    before = _sent(ben, "anna")
    assert say(ben, group, "two", 50) == "answered:"
    assert _sent(ben, "anna") - before < 50_000, "nothing of it goes to anna any more"


def _sent(member: Member, to: str) -> int:
    peer = member.peer(to)
    assert peer is not None
    return int(peer["tx_bytes"])


def test_a_group_is_heard_from_a_member_without_any_interface(three: tuple[Computers, Member], tmp_path: Path) -> None:
    """By UDP ASSOCIATE of carl's proxy (RFC 1928 7), whose answer comes back the same way."""
    pair, carl = three
    group = GROUPS[4]
    script = f"""
import socket, struct
control = socket.create_connection(("127.0.0.1", 1055))
control.sendall(b"\\5\\1\\0")
assert control.recv(2) == b"\\5\\0"
control.sendall(b"\\5\\3\\0\\1" + bytes(6))
answer = control.recv(10)
relay = (socket.inet_ntoa(answer[4:8]), struct.unpack("!H", answer[8:10])[0])
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(10)
client.sendto(bytes(3) + b"\\1" + socket.inet_aton("{group}") + struct.pack("!H", {PORT}) + b"by-proxy", relay)
data = client.recv(2000)
print(socket.inet_ntoa(data[4:8]), data[10:].decode())
"""
    with Ear(pair.anna.namespace, tmp_path / "ear.log", "hear", group, PORT) as ear:
        until(lambda: listens(carl, group, "anna"), 60, "carl knows that anna's kernel listens")
        assert carl.namespace.run(sys.executable, "-c", script).stdout == f"{pair.address(pair.anna)} heard by-proxy\n"
        assert ear.lines() == [f"by-proxy {pair.address(carl)}"]


IPX = "ffff" "0022" "0011" "00000000" "ffffffffffff" "0453" "00000000" "000000000000" "0453" "00020000"
"""A request of RIP, as IPX computers begin with."""
FRAMINGS = {
    "Ethernet II": "8137" + IPX,
    "802.3 raw": "0022" + IPX,
    "802.2": "0025" "e0e003" + IPX,
    "SNAP": "002a" "aaaa03" "000000" "8137" + IPX,
    "a full frame": "88b5" + "2a" * 1420,
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_frames_that_are_not_ip(pair: Computers, tmp_path: Path, framing: str) -> None:
    """To all, and to one: as an IPX game finds and then joins its like."""
    hardware = {member.name: member.status()["bridges"]["tap"]["hardware"].replace(":", "") for member in (pair.anna, pair.ben)}
    with Ear(pair.anna.namespace, tmp_path / "frames.log", "frames") as ear:
        for destination in ("ff" * 6, hardware["anna"]):
            sent = destination + hardware["ben"] + FRAMINGS[framing]
            pair.ben.namespace.run(*ENDS, "frame", sent)
            until(lambda sent=sent: sent in ear.lines(), 60, f"{framing} to {destination}")
        tagged = "ff" * 6 + hardware["ben"] + "81000007" + FRAMINGS[framing]
        pair.ben.namespace.run(*ENDS, "frame", tagged)
        pair.ben.namespace.run(*ENDS, "frame", "ff" * 6 + hardware["ben"] + "88b6" + "00" * 46)
        until(lambda: any(line[24:28] == "88b6" for line in ear.lines()), 60, "a later frame")
        assert tagged not in ear.lines(), "VLAN tags do not travel"
    print(framing, "arrived, to all and to one")


@pytest.fixture
def avahis(pair: Computers, tmp_path: Path) -> Iterator[list[Avahi]]:
    """One on each computer, which speaks on its lan0 alone."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    made: list[Avahi] = []
    try:
        made += (Avahi(member.namespace, tmp_path / member.name, member.name, ["lan0"]) for member in (pair.anna, pair.ben))
        yield made
    finally:
        for avahi in made:
            avahi.stop()


@pytest.mark.parametrize("version", [4, 6])
def test_avahi_publishes_here_and_browses_there(pair: Computers, avahis: list[Avahi], version: int) -> None:
    """Unchanged, by its own multicast on lan0: service, name, address, good-bye."""
    here, there = avahis
    address = pair.address(pair.anna, version)
    service = here.publish("printer of anna", "_ipp._tcp", 631, "paper=A4")
    found = there.wait_for("printer of anna", "_ipp._tcp", where={"address": address})
    assert (found.interface, found.host, found.port, found.text) == ("lan0", "anna.local", 631, ("paper=A4",))
    assert there.run("avahi-resolve", f"-{version}", "-n", "anna.local").stdout.split() == ["anna.local", address]
    assert there.run("avahi-resolve", "-a", address).stdout.split() == [address, "anna.local"]
    end(service)
    until(lambda: not there.browse("_ipp._tcp"), 60, "the good-bye", 0.3)
    print("avahi-browse:", found)


def test_nothing_of_the_kernels_link_is_link_local(pair: Computers) -> None:
    """What came from such an address could be believed by nobody; so everything comes from the node's own."""
    for member in (pair.anna, pair.ben):
        assert "fe80:" not in member.namespace.run("ip", "-6", "addr", "show", "lan0").stdout
        assert "fe80:" not in member.namespace.run("ip", "-6", "route", "show", "dev", "lan0").stdout
    assert "1 received" in pair.from_ben("ping", "-n", "-c", "1", "-W", "30", "ff02::1%lan0").stdout


def test_the_kernel_goes_on_over_a_restart_of_its_node(tmp_path: Path) -> None:
    """A group that was joined before is known to the LAN again, and the command says in one line each what goes on."""
    needed()
    with Lab(tmp_path) as lab:
        pair = computers(lab, tmp_path)
        attaching = {member.name: tap_up(member, "--broadcasts") for member in (pair.anna, pair.ben)}
        anna, ben = pair.anna, pair.ben
        connection = _held_connection(pair)
        log = anna.folder / "tap.log"
        with Ear(anna.namespace, tmp_path / "ear.log", "hear", GROUPS[4], PORT) as ear:

            def heard_again() -> bool:
                before = len(ear.lines())
                say(ben, GROUPS[4], "again")
                return len(ear.lines()) > before

            for stop in (anna.kill, anna.stop):
                stop()
                until(lambda: log.read_text().splitlines()[-1].startswith("the node has stopped"), 60, "the command says so")
                anna.up()
                until(lambda: log.read_text().splitlines()[-1].startswith("attached lan0"), 60, "it is attached again")
                until(heard_again, 60, "the group that anna's kernel has joined is told and heard again")
        connection.stdin.write(b"still here\n")  # type: ignore[union-attr]  # a pipe was asked for
        connection.stdin.flush()  # type: ignore[union-attr]
        assert connection.stdout.readline() == b"still here\n"  # type: ignore[union-attr]
        end(connection)
        anna.stop()
        until(lambda: "waiting" in log.read_text().splitlines()[-1], 60, "it waits")
        time.sleep(0.3)
        attaching["anna"].terminate()
        assert attaching["anna"].wait(60) == 0
        assert log.read_text().splitlines()[-1] == "detached lan0"
        until(lambda: "lan0" not in anna.namespace.run("ip", "-o", "link").stdout, 60, "nothing is left")


def _held_connection(pair: Computers) -> subprocess.Popen[bytes]:
    """A TCP connection of the kernels' from ben to an echo server at anna's."""
    server = (
        "import socket; s = socket.create_server(('', 7007)); print('ready', flush=True); c, _ = s.accept()\n"
        "while d := c.recv(99): c.sendall(d)"
    )
    log = pair.folder / "server.log"
    with log.open("wb") as file:
        process = pair.anna.namespace.start(sys.executable, "-c", server, stdout=file, stderr=file)
    wait_for_line(log, "ready", process)
    client = (
        f"import socket, sys\nc = socket.create_connection(('{pair.address(pair.anna)}', 7007), 20); print('open', flush=True)\n"
        "for line in sys.stdin: c.sendall(line.encode()); print(c.recv(99).decode(), end='', flush=True)"
    )
    made = pair.ben.namespace.start(sys.executable, "-c", client, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert made.stdout is not None
    assert made.stdout.readline() == b"open\n"
    return made
