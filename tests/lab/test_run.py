"""``userlan run``: programs inside the LAN, as a user without privileges has them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.lab.network import Lab, Namespace, end, tun_unavailable, unavailable, until
from tests.lab.userlan_process import Mediator, Member, together, wait_for_line

pytestmark = pytest.mark.lab

MEDIATOR, ANNA, BEN = "10.97.0.1", "10.97.0.2", "10.97.0.3"

PLAIN = ("setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all")
"""Root without what makes it root; the one capability left is what the kernel asks of an uid 0 that maps itself."""


@attrs.define
class Inside:
    """Two computers in one network, neither of them attached."""

    lab: Lab
    folder: Path
    anna: Member
    ben: Member

    def run(
        self, *program: str, member: Member | None = None, options: tuple[str, ...] = (), check: bool = True, given: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``userlan run`` to its end, without privileges."""
        command = self.command(*program, member=member, options=options)
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, input=given or "")
        assert not check or result.returncode == 0, (result.stdout, result.stderr)
        return result

    def command(self, *program: str, member: Member | None = None, options: tuple[str, ...] = ()) -> list[str]:
        """Its command line."""
        chosen = member or self.ben
        return chosen.namespace.command(*PLAIN, *chosen._command("run", *options, "--", *program))

    def start(
        self, name: str, *program: str, member: Member | None = None, options: tuple[str, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """In the background; waits until it has said ``ready``."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            command = self.command(*program, member=member, options=options)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
        self.lab.processes.append(process)
        wait_for_line(log, "ready", process)
        return process

    def address(self, member: Member, version: int = 4) -> str:
        return str(member.status()["self"][f"ipv{version}"])

    def gone(self, member: Member | None = None) -> bool:
        """Whether nothing of the place is left."""
        chosen = member or self.ben
        return not (chosen.folder / "namespace.keeper").exists() and chosen.status()["bridges"]["namespace"] is None


def inside(lab: Lab, folder: Path) -> Inside:
    spaces: dict[str, Namespace] = {name: lab.namespace(name) for name in ("mediator", "anna", "ben")}
    wires = zip(spaces.values(), (MEDIATOR, ANNA, BEN), strict=True)
    lab.switch("switch", [(space, f"{address}/24") for space, address in wires])
    mediator = Mediator(spaces["mediator"], folder / "mediator", f"{MEDIATOR}:41414")
    anna, ben = (Member(spaces[name], folder / name, name) for name in ("anna", "ben"))
    together((anna, ben), "--mediator", mediator.url)
    return Inside(lab, folder, anna, ben)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("run")
    with Lab(folder) as lab:
        made = inside(lab, folder)
        made.lab.processes.append(serve(anna_space(made), folder))
        made.anna.run("expose", "9000")
        yield made


def anna_space(made: Inside) -> Namespace:
    return made.anna.namespace


def serve(space: Namespace, folder: Path) -> subprocess.Popen[bytes]:
    """A web server on loopback, port 9000."""
    (folder / "site").mkdir()
    (folder / "site" / "page").write_text("exposed")
    command = ("python3", "-m", "http.server", "9000", "--bind", "127.0.0.1", "--directory", str(folder / "site"))
    process = space.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: ":9000" in space.run("ss", "-ltn").stdout, 60, "http.server listens")
    return process


@pytest.fixture(autouse=True)
def nothing_remains(two: Inside) -> Iterator[None]:
    """After each test the place is gone: processes, interface, mounts."""
    mounts = mounted()
    yield
    until(lambda: two.gone(two.ben) and two.gone(two.anna), 60, "the place is gone with the last program")
    assert mounted() == mounts


def mounted() -> list[str]:
    """Without the named network namespaces (ip-netns(8)) that others on this computer make meanwhile."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " /run/netns/" not in line]


LOOK = """
import json, os, socket
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "cwd": os.getcwd(), "capabilities": status["CapEff"].strip(),
    "permitted": status["CapPrm"].strip(), "ambient": status["CapAmb"].strip(),
    "interfaces": [name for _, name in socket.if_nameindex()], "resolver": open("/etc/resolv.conf").read(),
    "word": os.environ.get("WORD"), "children": open("/proc/self/task/%d/children" % os.getpid()).read(),
    "shown": sorted(os.listdir("/sys/class/net")), "hardware": open("/sys/class/net/lan0/address").read(),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
}))
"""


def test_what_a_program_finds(two: Inside) -> None:
    command = two.command(sys.executable, "-c", LOOK)
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=os.getcwd(), env={**os.environ, "WORD": "kept"})
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found = json.loads(result.stdout)
    uid, gid = (int(two.ben.namespace.run("id", word).stdout) for word in ("-u", "-g"))
    assert (found["uid"], found["gid"], found["cwd"], found["word"]) == (uid, gid, os.getcwd(), "kept")
    assert {int(found[kind], 16) for kind in ("capabilities", "permitted", "ambient")} == {0}
    assert found["interfaces"] == ["lo", "lan0"]
    assert "nameserver fd75:6c61:6e00::53\nsearch internal\n" in found["resolver"]
    assert found["shown"] == ["lan0", "lo"]
    assert found["hardware"].startswith("02:6c:")
    assert found["children"] == ""
    assert found["descriptors"] == [0, 1, 2]


def test_its_address_is_the_nodes(two: Inside) -> None:
    for version in (4, 6):
        lines = two.run("ip", f"-{version}", "-o", "addr", "show", "lan0", "scope", "global").stdout
        assert [line.split()[3].split("/")[0] for line in lines.splitlines()] == [two.address(two.ben, version)]
        assert "default dev lan0" in two.run("ip", f"-{version}", "route").stdout


def test_a_working_directory_that_is_gone(two: Inside, tmp_path: Path) -> None:
    """Or lies under another mount: the program is in it all the same."""
    command = two.command("sh", "-c", "echo there > /proc/self/cwd/word 2>/dev/null; stat -c %i .")
    (tmp_path / "kept").mkdir()
    inode = (tmp_path / "kept").stat().st_ino
    script = f"cd {tmp_path}/kept && rmdir {tmp_path}/kept && exec \"$@\""
    result = subprocess.run(["sh", "-c", script, "sh", *command], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, f"{inode}\n"), result.stderr


def test_root_stays_root(two: Inside) -> None:
    """Who has its powers keeps them inside, and everything else is as for all others."""
    command = two.ben._command("run", "--", sys.executable, "-c", LOOK)
    found = json.loads(two.ben.namespace.run(*command).stdout)
    status = two.ben.namespace.run("cat", "/proc/self/status").stdout
    assert f"CapEff:\t{found['capabilities']}" in status
    assert int(found["capabilities"], 16) != 0
    assert found["interfaces"] == ["lo", "lan0"]
    assert "nameserver fd75:6c61:6e00::53\n" in found["resolver"]


@pytest.mark.parametrize("version", [4, 6])
def test_curl_to_what_a_node_exposes(two: Inside, version: int) -> None:
    host = two.address(two.anna, version)
    url = f"http://{f'[{host}]' if version == 6 else host}:9000/page"
    assert two.run("curl", "-sS", "-g", "-m", "20", url).stdout == "exposed"


def test_services_have_the_addresses_of_who_asks(two: Inside) -> None:
    """Those of the LAN for a program inside it, for all others the node's forwards."""

    def listed(*command: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            rows = json.loads((two.run(*command) if command else two.ben.run("services", "--json")).stdout)
            return next((row for row in rows if row["name"] == "anna:9000"), None)

        found: dict[str, Any] = until(look, 60, "the service is known", 0.5)
        return found

    outside = listed()
    assert outside["where"].startswith("127.")
    inside_it = listed(*two.ben._command("services", "--json"))
    assert inside_it["where"] == inside_it["lan"] == outside["lan"] == f"{two.address(two.anna, 4)}:9000"


@pytest.mark.parametrize("version", [4, 6])
def test_curl_to_a_program_inside_another_node(two: Inside, version: int) -> None:
    """Which serves port 80, as nobody in particular may here."""
    script = (
        "import http.server, sys; handler = http.server.SimpleHTTPRequestHandler; http.server.HTTPServer.address_family = 10;"
        "server = http.server.HTTPServer(('::', 80), handler); print('ready', flush=True); server.serve_forever()"
    )
    server = two.start("server", "env", "-C", str(two.folder / "site"), sys.executable, "-c", script, member=two.anna)
    host = two.address(two.anna, version)
    assert two.run("curl", "-sS", "-g", "-m", "20", f"http://{f'[{host}]' if version == 6 else host}/page").stdout == "exposed"
    end(server)


@pytest.mark.parametrize("version", [4, 6])
def test_ping(two: Inside, version: int) -> None:
    """By a socket for everybody (icmp(7)): the kernel's list of groups that may is open."""
    script = (
        "import socket, sys\n"
        "v6 = ':' in sys.argv[1]\n"
        "s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM, 58 if v6 else 1)\n"
        "s.settimeout(10); s.sendto(bytes((128 if v6 else 8, 0, 0, 0, 0, 0, 0, 1)) + b'lan', (sys.argv[1], 0))\n"
        "print(s.recv(100)[8:].decode())\n"
    )
    assert two.run(sys.executable, "-c", script, two.address(two.anna, version)).stdout == "lan\n"


def test_exit_status_and_streams(two: Inside) -> None:
    assert two.run("cat", given="through\n").stdout == "through\n"
    result = two.run("sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    assert (result.returncode, result.stdout, result.stderr) == (7, "out\n", "err\n")
    assert two.run("sh", "-c", "kill -TERM $$", check=False).returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert two.run("sh", "-c", "kill -PIPE $$; exit 3", check=False).returncode in (-signal.SIGPIPE, 128 + signal.SIGPIPE)


def test_a_program_that_cannot_be_executed(two: Inside) -> None:
    missing = two.run("no-such-program", check=False)
    assert (missing.returncode, missing.stderr) == (127, "userlan: there is no program no-such-program\n")
    broken = two.folder / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    assert two.run(str(broken), check=False).returncode == 126
    broken.chmod(0o755)
    assert two.run(str(broken), check=False).returncode == 127
    assert two.run(str(two.folder), check=False).returncode == 126


def test_programs_share_the_place(two: Inside) -> None:
    """Also one that the program leaves behind, and by loopback; and the second one's end changes nothing for the first."""
    script = (
        "import socket, os\n"
        "server = socket.create_server(('127.0.0.1', 80))\n"
        "if os.fork():\n"
        "    print('ready', flush=True)\n"
        "    os._exit(0)\n"
        "for _ in range(2): server.accept()[0].sendall(os.readlink('/proc/self/ns/net').encode())\n"
    )
    first = two.start("left", sys.executable, "-c", script)
    assert first.wait(60) == 0
    ask = "import socket, os; print(socket.create_connection(('127.0.0.1', 80), 5).recv(99).decode() == os.readlink('/proc/self/ns/net'))"
    try:
        for _ in range(2):
            assert two.run(sys.executable, "-c", ask).stdout == "True\n"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)


def test_many_at_once(two: Inside) -> None:
    """One place, whoever comes first; begun and ended over and over."""
    for _ in range(3):
        processes = [subprocess.Popen(two.command("readlink", "/proc/self/ns/net"), stdout=subprocess.PIPE, text=True) for _ in range(4)]
        told = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4
        assert all(line.startswith("net:[") for line in told)


def test_a_program_runs_another(two: Inside) -> None:
    nested = two.ben._command("run", "--", "readlink", "/proc/self/ns/net")
    lines = two.run("sh", "-c", f"readlink /proc/self/ns/net; {' '.join(nested)}").stdout.splitlines()
    assert len(lines) == 2
    assert len(set(lines)) == 1


DESCRIBE = "import os; print('ready', os.readlink('/proc/self/ns/net'), flush=True); "


def test_a_node_that_is_started_anew(two: Inside) -> None:
    """The place stays, with its interface, and a connection goes on."""
    script = (
        "import socket, sys, time\n"
        "print('ready', flush=True)\n"
        "index = socket.if_nametoindex('lan0')\n"
        "for line in sys.stdin:\n"
        "    with socket.create_connection((line.strip(), 9000), 30) as web:\n"
        "        web.sendall(b'GET /page HTTP/1.0\\r\\n\\r\\n')\n"
        "        print(web.makefile('rb').read().split()[-1].decode(), index == socket.if_nametoindex('lan0'), flush=True)\n"
    )
    command = two.command(sys.executable, "-c", script)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    target = two.address(two.anna)
    for stop in (two.ben.kill, two.ben.stop):
        process.stdin.write(f"{target}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "exposed True\n"
        stop()
        two.ben.up()
        until(lambda: two.ben.status()["bridges"]["namespace"] is not None, 60, "the keeper has found the node")
        two.ben.wait_state("anna", "direct")
    process.stdin.write(f"{target}\n")
    process.stdin.close()
    assert process.stdout.readline() == "exposed True\n"
    process.stdout.close()
    assert process.wait(60) == 0


def test_a_member_of_its_own(two: Inside) -> None:
    """With an address that is its own, and the same the next time; in the networks of the node."""
    script = "ip -4 -o addr show lan0 scope global; curl -sS -m 20 http://$1:9000/page"
    options = ("--as", "guest")
    told = [two.run("sh", "-c", script, "sh", two.address(two.anna), options=options).stdout for _ in range(2)]
    addresses = [line.split()[3].split("/")[0] for line in told]
    assert [line.splitlines()[-1] for line in told] == ["exposed"] * 2
    assert addresses[0] == addresses[1]
    assert addresses[0] not in (two.address(two.ben), two.address(two.anna))
    peer = two.anna.peer("guest")
    assert peer is not None
    assert peer["ipv4"] == addresses[0]
    folder = two.ben.folder / "members" / "guest"
    until(lambda: not (folder / "control.sock").exists() and not (folder / "namespace.keeper").exists(), 60, "its node has ended")


def test_the_node_of_a_member_is_not_left_behind(two: Inside) -> None:
    """Not by a keeper that was killed, and not by a program that cannot be executed."""
    folder = two.ben.folder / "members" / "guest"
    broken = two.folder / "interpreter"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    assert two.run(str(broken), options=("--as", "guest"), check=False).returncode == 127
    until(lambda: not (folder / "control.sock").exists(), 60, "its node has ended")
    process = two.start("killed-keeper", "sh", "-c", "echo ready; exec sleep 60", options=("--as", "guest"))
    os.kill(int((folder / "namespace.keeper").read_text().split()[0]), signal.SIGKILL)
    until(lambda: not (folder / "control.sock").exists(), 60, "its node has ended")
    end(process)


def test_a_member_beside_the_node(two: Inside) -> None:
    """Both at once: they see each other on the LAN."""
    script = (
        "import socket; server = socket.create_server(('', 80)); print('ready', flush=True);"
        "connection, far = server.accept(); connection.sendall(far[0].encode())"
    )
    server = two.start("beside", sys.executable, "-c", script)
    ask = "import socket, sys; s = socket.create_connection((sys.argv[1], 80), 20); print(s.recv(99).decode(), s.getsockname()[0])"
    seen, own = two.run(sys.executable, "-c", ask, two.address(two.ben), options=("--as", "guest")).stdout.split()
    assert seen == own != two.address(two.ben)
    assert server.wait(60) == 0
    wrong = two.run("true", options=("--as", "no name"), check=False)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("userlan: --as: ")


def test_one_link_a_node(two: Inside) -> None:
    """The whole computer, or programs: each says that the other one is there."""
    tap = two.ben.namespace.start(*two.ben._command("tap"), stdout=subprocess.DEVNULL)
    until(lambda: two.ben.status()["bridges"]["tap"], 60, "the computer is attached")
    refused = two.run("true", check=False)
    assert (refused.returncode, refused.stderr) == (
        1,
        "userlan: this computer is attached already: `userlan tap --detach` ends that\n",
    )
    end(tap)
    until(lambda: two.ben.status()["bridges"]["tap"] is None, 60, "the computer is detached")
    process = two.start("holder", "sh", "-c", "echo ready; exec sleep 60")
    refused = two.ben.run("tap", check=False)
    assert refused.returncode == 1
    assert "programs of `userlan run` hold this node's link" in refused.stderr
    assert "lan0" in two.ben.run("status").stdout
    end(process)


def test_what_the_first_one_asked_for_goes_for_all(two: Inside) -> None:
    process = two.start("first", "sh", "-c", "echo ready; exec sleep 60")
    for option in (("--mtu", "1300"), ("--internet",)):
        refused = two.run("true", options=option, check=False)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"userlan: {option[0]}: ")
    end(process)
    until(lambda: two.gone(), 60, "the place is gone")
    assert "mtu 1300" in two.run("ip", "link", "show", "lan0", options=("--mtu", "1300")).stdout


def test_kill_9_of_the_keeper(two: Inside) -> None:
    """The programs have no LAN any more, and go on; the next one has a new place."""
    process = two.start("lost", "sh", "-c", "echo ready; exec sleep 60")
    keeper = int((two.ben.folder / "namespace.keeper").read_text().split()[0])
    os.kill(keeper, signal.SIGKILL)
    until(lambda: two.ben.status()["bridges"]["namespace"] is None, 60, "the node notices")
    assert process.poll() is None
    assert two.run("sh", "-c", "ip -o link show lan0 | wc -l").stdout == "1\n"
    end(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_called_off_at_any_moment(two: Inside, number: int) -> None:
    """Before the place is there, while it is made, and when the program has just begun."""
    for tenths in (1, 3, 5, 7):
        process = subprocess.Popen(two.command("sleep", "60"), stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(tenths / 10)
        os.killpg(process.pid, number)
        assert process.wait(60) != 0
        until(lambda: two.gone(), 60, "the place is gone")


def test_a_program_that_is_killed(two: Inside) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP):
        process = two.start("killed", "sh", "-c", "echo ready; exec sleep 60")
        os.kill(process.pid, number)
        assert process.wait(60) == -number
        until(lambda: two.gone(), 60, "the place is gone")


def test_a_system_that_refuses(two: Inside) -> None:
    """One line each, with the remedy."""
    command = " ".join(two.ben._command("run", "true"))
    plain = "setpriv --bounding-set=-sys_admin --inh-caps=-all"
    limits = f"unshare -Ur sh -c 'echo 0 > /proc/sys/user/max_{{kind}}_namespaces; exec {plain} {{command}}'"
    device = "unshare -Urm sh -c 'mount -t tmpfs none /dev/net; exec {command}'"
    for wrapped, remedy in (
        (limits.format(kind="user", command=command), "`sudo sysctl user.max_user_namespaces=16384`"),
        (limits.format(kind="net", command=command), "`sudo sysctl user.max_net_namespaces=16384`"),
        (device.format(command=command), "`modprobe tun` (in a container: start it with --device /dev/net/tun)"),
    ):
        result = two.ben.namespace.run("sh", "-c", wrapped, check=False)
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert remedy in line
        until(lambda: two.gone(), 60, "nothing is left")
