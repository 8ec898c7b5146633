"""What is done in the namespaces of ``userlan run``, each part by itself: the resolver's file, who is there, how one enters."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.network import unavailable, until

pytestmark = pytest.mark.lab

START = """
import os, sys
from pathlib import Path
from userlan.driver.namespace import making, residents, resolver
making.make()
"""
KEEP = """
found = resolver.Resolver(Path(sys.argv[1]), sys.argv[2])
resolver.FOLDERS = tuple(sys.argv[3:])
while True:
    print(repr(found.keep() or Path(sys.argv[2]).read_text()), flush=True)
    if not sys.stdin.readline():
        break
"""
OURS = repr("# The programs of `userlan run` ask the LAN.\nnameserver fd75:6c61:6e00::53\nsearch internal\n") + "\n"

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Runs a script in new namespaces, as root without its powers, or as whoever runs the tests."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    started: list[subprocess.Popen[str]] = []
    plain = ("setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all") if os.geteuid() == 0 else ()

    def run(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [*plain, sys.executable, "-c", START + script, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.communicate(timeout=60)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def again(process: subprocess.Popen[str], asked: str = "") -> str:
    """What it says after a line of input."""
    assert process.stdin is not None
    process.stdin.write(f"{asked}\n")
    process.stdin.flush()
    return line(process)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    for name in ("etc", "state", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc" / "hosts").write_text("there")
    return tmp_path / "etc" / "resolv.conf"


def test_a_file(start: Start, etc: Path) -> None:
    etc.write_text("outside\n")
    assert line(start(KEEP, etc.parents[1] / "state", etc)) == OURS
    assert etc.read_text() == "outside\n"
    assert list((etc.parents[1] / "state").iterdir()) == []


def test_a_file_that_is_replaced_outside(start: Start, etc: Path) -> None:
    """The kernel takes away what is mounted over a file that goes (mount(2), since Linux 3.18): ours is put back."""
    etc.write_text("outside\n")
    process = start(KEEP, etc.parents[1] / "state", etc)
    assert line(process) == OURS
    for number in range(3):
        other = etc.with_name("new")
        other.write_text(f"another {number}\n")
        other.rename(etc)
        assert again(process) == OURS
        assert etc.read_text() == f"another {number}\n"


def test_a_link_to_a_file(start: Start, etc: Path) -> None:
    target = etc.parents[1] / "run" / "resolv.conf"
    target.write_text("outside\n")
    etc.symlink_to("../run/resolv.conf")
    assert line(start(KEEP, etc.parents[1] / "state", etc)) == OURS
    assert target.read_text() == "outside\n"


@pytest.mark.parametrize("link", [None, "../run/nowhere/resolv.conf"])
def test_none_or_a_link_that_leads_nowhere(start: Start, etc: Path, link: str | None) -> None:
    """There is one in a layer above the folder; all else in it is as it was."""
    if link:
        etc.symlink_to(link)
    show = "print(Path(sys.argv[2]).with_name('hosts').read_text())\n"
    process = start(KEEP + show, etc.parents[1] / "state", etc)
    assert line(process) == OURS
    assert again(process) == OURS
    assert process.communicate(timeout=60)[0].splitlines()[-1] == "there"
    assert not etc.exists()
    assert etc.is_symlink() is (link is not None)
    assert list((etc.parents[1] / "state").iterdir()) == []


def test_a_link_to_a_resolver_of_the_system(start: Start, etc: Path) -> None:
    """All of its folder is hidden, so that its sockets are too; what it writes there later changes nothing."""
    folder = etc.parents[1] / "run"
    (folder / "stub-resolv.conf").write_text("outside\n")
    (folder / "io.systemd.Resolve").write_text("")
    etc.symlink_to("../run/stub-resolv.conf")
    show = "print(sorted(os.listdir(sys.argv[3])))\n"
    process = start(KEEP + show, etc.parents[1] / "state", etc, folder)
    assert line(process) == OURS
    (folder / "new").write_text("another\n")
    (folder / "new").rename(folder / "stub-resolv.conf")
    assert again(process) == OURS
    assert process.communicate(timeout=60)[0].splitlines()[-1] == "['resolv.conf', 'stub-resolv.conf']"
    assert etc.read_text() == "another\n"


LIVE = """
import select
here = residents.Residents()
print(os.getpid(), here.look(), flush=True)
while asked := sys.stdin.readline():
    if asked == "wait\\n":
        print(len(select.select(here.descriptors(), [], [], 20)[0]) > 0, flush=True)
    else:
        print(here.look(), len(here.descriptors()), flush=True)
"""
ENTER = """
import os, sys
from userlan.driver.namespace import making, calls
before = os.getcwd()
if making.enter(int(sys.argv[1])):
    calls.give_up_capabilities()
assert os.getcwd() == before
if not os.fork():
    os.execlp("sh", "sh", "-c", "read line")
print(os.readlink("/proc/self/ns/net"), flush=True)
if len(sys.argv) == 2:
    os.execlp("cat", "cat")
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(30,)).start()
time.sleep(0.2)
ctypes.CDLL(None).pthread_exit(None)
"""


@contextlib.contextmanager
def entered(pid: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is where the process ``pid`` is, and a child of it."""
    command = [sys.executable, "-c", ENTER, pid, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as program:
        try:
            assert line(program).strip() == os.readlink(f"/proc/{pid}/ns/net")
            yield program
        finally:
            program.kill()


def test_who_is_there(start: Start) -> None:
    """A process is seen as long as it lives; so is one that it has left behind."""
    keeper = start(LIVE)
    pid, nobody = line(keeper).split()
    assert nobody == "0"
    with entered(pid) as program:
        assert program.stdin is not None
        assert again(keeper) == "2 2\n"
        program.kill()
        assert again(keeper, "wait") == "True\n"
        until(lambda: again(keeper) == "1 1\n", 60, "the child is left")
        program.stdin.close()
        assert again(keeper, "wait") == "True\n"
        until(lambda: again(keeper) == "0 0\n", 60, "nobody is there any more")


def test_a_process_whose_first_thread_has_ended(start: Start) -> None:
    keeper = start(LIVE)
    with entered(line(keeper).split()[0], "threads") as program:
        status = Path(f"/proc/{program.pid}/stat")
        until(lambda: status.read_text().split()[2] == "Z", 60, "its first thread has ended")
        assert again(keeper) == "2 2\n"
