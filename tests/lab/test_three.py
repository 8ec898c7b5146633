"""Three computers in one network, each in the LAN in another way, and each behind a router of its own.

::

    anna   no interface: bridges               ┐
    ben    programs behind ``userlan run``     ├ network home         anna, ben and dora: network work
    carl   attached by ``userlan tap``         ┘

What is said to everybody is heard by everybody, once. The nodes are an ordinary user's, and have their bridges, as they come.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest

from tests.lab import ends_of_groups
from tests.lab.avahi import Avahi, Found
from tests.lab.avahi import unavailable as avahi_unavailable
from tests.lab.network import Lab, Namespace, end, tun_unavailable, unavailable, until
from tests.lab.programs import bonjour, broadcast
from tests.lab.programs.bonjour_daemon import ALONE
from tests.lab.programs.place import PATIENCE, Place
from tests.lab.programs.ways import MEDIATOR, computer, place, plug_apart
from tests.lab.test_capture import Capture, rows
from tests.lab.userlan_process import Mediator, Member, wait_for_line

pytestmark = [pytest.mark.lab, pytest.mark.interop]

PORT = broadcast.PORT
EVERYBODY = Path(broadcast.ENDS).with_name("everybody.py")
GROUP, GROUP_PORT = "239.3.3.3", "7003"
ENDS = (sys.executable, str(ends_of_groups.__file__))
CONFIG = f"discovery: {{{{custom: [{{{{port: {PORT}, name: broadcaster, search: {{}}}}}}]}}}}\n"
SEARCH = {"anna": "yes", "ben": "no", "carl": "no", "dora": "yes"}
"""Whose programs are picked up by the bridge: those of ben's and carl's do not need it."""


@attrs.define
class Three:
    """Them, and dora, who comes later."""

    lab: Lab
    folder: Path
    mediator: Mediator
    spaces: dict[str, Namespace]
    members: dict[str, Member]

    def place(self, name: str, what: str) -> Place:
        """Where a computer's programs run, with files of their own (``what`` for)."""
        member = self.members[name]
        prefix = member._command("run", "--") if name == "ben" else ()
        return place(member.namespace, self.spaces[name], self.folder / what, name, prefix)

    def address(self, name: str) -> str:
        """On the LAN."""
        return str(self.members[name].call("status")["self"]["ipv4"])

    def seen_from(self, name: str, who: str) -> str:
        """Under which address one's programs see another one's."""
        address = self.address(who)
        return f"127.{address.partition('.')[2]}" if name in ("anna", "dora") else address

    def direct(self, *names: str) -> None:
        """Each has a direct path to each other one."""
        for name in names:
            for other in names:
                if other != name:
                    self.members[name].wait_state(other, "direct", PATIENCE)


def wait_ready(*members: Member) -> None:
    for member in members:
        assert member.process is not None
        wait_for_line(member.log, "ready", member.process, patience=PATIENCE)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    """Anna, ben and carl, who know each other."""
    reason = unavailable() or tun_unavailable()
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("three")
    with Lab(folder) as lab:
        middle = lab.namespace("mediator")
        spaces = {name: computer(lab, name) for name in SEARCH}
        plug_apart(lab, middle, list(spaces.values()))
        mediator = Mediator(middle, folder / "mediator", f"{MEDIATOR}:41414")
        members = {
            name: Member(space.ordinary(), folder / name, name, CONFIG.format(SEARCH[name])) for name, space in spaces.items()
        }
        for member in members.values():
            member.up("--mediator", mediator.url, wait=False)
        wait_ready(*members.values())
        made = Three(lab, folder, mediator, spaces, members)
        invite = members["anna"].call("create", network="home", password=None)["invite"]
        for name in ("ben", "carl"):
            members[name].call("join", invite=invite)
        made.direct("anna", "ben", "carl")
        carl = members["carl"]
        log = carl.folder / "tap.log"
        with log.open("wb") as file:
            process = spaces["carl"].start(*carl._command("tap", "--broadcasts"), stdout=file, stderr=file)
        wait_for_line(log, "attached", process, patience=PATIENCE)
        yield made
        for member in members.values():
            told = member.log.read_text()
            assert "Traceback" not in told, told
            assert "Unhandled" not in told, told


class Answering:
    """The same server at each of some computers, and a client of it."""

    def __init__(self, three: Three, what: str, *names: str) -> None:
        self.three = three
        self.places = {name: three.place(name, what) for name in names}
        self.servers = {
            name: place.start("server", "python3", "-u", str(EVERYBODY), "answer", str(PORT), name) for name, place in self.places.items()
        }
        for server in self.servers.values():
            server.line("ready")

    def ask(self, name: str, token: str, *expected: str) -> list[tuple[str, str]]:
        """One question to everybody: who answered, and from where, in order."""
        told = self.places[name].run("python3", "-u", str(EVERYBODY), "ask", str(PORT), token, *expected).stdout
        print(f"{name} asks:", told.strip())
        answers = json.loads(told)
        assert {answered for answered, _, _ in answers} <= {token}
        return sorted((who, where) for _, who, where in answers)

    def ask_once(self, prefix: str, questions: Mapping[str, Collection[str]]) -> None:
        """All at the same time, one from each of these places: it is answered by its own computer and by these others, and heard by
        these, once each and by nobody else."""
        with ThreadPoolExecutor(len(questions)) as threads:
            asked = {name: threads.submit(self.ask, name, prefix + name, name, *others) for name, others in questions.items()}
        for name, others in questions.items():
            assert asked[name].result() == once(self.three, name, *others)
            sources = {other: [self.three.seen_from(other, name)] for other in others} | {name: [own(self.three, name)]}
            assert {where: heard for where, heard in self.heard(prefix + name).items() if heard} == sources

    def heard(self, token: str) -> dict[str, list[str]]:
        """Where each server heard a question from."""
        lines = {name: [line.split() for line in server.said()] for name, server in self.servers.items()}
        return {name: [line[2] for line in heard if line[:2] == ["heard", token]] for name, heard in lines.items()}

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *failure: object) -> None:
        for server in self.servers.values():
            server.stop()


def once(three: Three, asking: str, *others: str) -> list[tuple[str, str]]:
    """What is right: each of the others has answered once, and one's own computer by itself, as on any LAN."""
    return sorted([(asking, own(three, asking)), *((name, three.seen_from(asking, name)) for name in others)])


def own(three: Three, name: str) -> str:
    """From where a computer's own programs hear each other."""
    return {"anna": "10.97.1.2", "dora": "10.97.4.2"}.get(name) or three.address(name)


def test_a_question_of_each_is_answered_by_each_once(three: Three) -> None:
    """Neither twice nor back to who asked."""
    names = ("anna", "ben", "carl")
    with Answering(three, "once", *names) as answering:
        answering.ask_once("from-", {name: [other for other in names if other != name] for name in names})


def listens(three: Three, name: str, who: str) -> bool:
    """Whether a member knows that another one listens to the group."""
    status = three.members[name].call("status")
    key = next(peer["key"] for peer in status["peers"] if peer["name"] == who)
    return GROUP in status["groups"]["peers"].get(key, [])


def test_a_group_goes_to_whose_programs_have_joined_it(three: Three, tmp_path: Path) -> None:
    """Ben and carl have; anna's tunnel carries nothing of it; when carl has left, nobody's does."""
    ben, carl = three.place("ben", "group"), three.place("carl", "group")
    (tmp_path / "anna").mkdir()
    (tmp_path / "ben").mkdir()
    captures = {name: Capture(three.members[name], tmp_path / name, "-w", str(tmp_path / name / "lan.pcapng")) for name in ("anna", "ben")}
    hearing = [place.start("hear", *ENDS, "hear", GROUP, GROUP_PORT) for place in (ben, carl)]
    for ear in hearing:
        ear.line("ready")
    until(lambda: listens(three, "ben", "carl") and listens(three, "carl", "ben"), PATIENCE, "ben and carl know it of each other")
    until(lambda: listens(three, "anna", "ben") and listens(three, "anna", "carl"), PATIENCE, "anna knows it of both")
    assert not listens(three, "ben", "anna")
    answered = ben.run(*ENDS, "say", GROUP, GROUP_PORT, "one", "5").stdout.split()
    assert answered == ["answered:", *sorted(map(three.address, ("ben", "carl")))]
    for ear in hearing:
        assert sorted(line for line in ear.said() if line.startswith("one-")) == [f"one-{n} {three.address('ben')}" for n in range(5)]
    hearing[1].stop()
    until(lambda: not listens(three, "ben", "carl"), PATIENCE, "ben knows that carl has left")
    ben.run(*ENDS, "say", GROUP, GROUP_PORT, "two", "5")
    hearing[0].stop()
    carl.run(*ENDS, "say", "255.255.255.255", GROUP_PORT, "end", "1")
    told = {}
    for name, capture in captures.items():
        file = tmp_path / name / "lan.pcapng"
        last = f"udp.dstport == {GROUP_PORT} and ip.dst == 255.255.255.255"
        until(lambda file=file, last=last: rows(file, last, "ip.dst"), PATIENCE, "the end", 0.5)
        capture.end()
        told[name] = rows(file, f"ip.dst == {GROUP} and udp", "frame.interface_name", "frame.comment")
    assert told["anna"] == []
    assert told["ben"] == [("carl", "")] * 5 + [("ben", "dropped: nobody-hears")] * 5


class Meeting:
    """A python-zeroconf at each of some computers, which offers a service and connects to all others."""

    def __init__(self, three: Three, what: str, *names: str) -> None:
        command = (sys.executable, "-W", "ignore", "-u", str(bonjour.ENDS), "meet")
        self.running = {
            name: three.place(name, what).start("meet", *command, f"{what} {name}", bonjour.TYPE) for name in names
        }
        self.what = what

    def told(self, name: str) -> list[str]:
        """What one was told of these, without what updates said."""
        words = tuple(f"{word} {self.what} " for word in ("added", "removed", "connected", "unreachable"))
        return [line for line in self.running[name].said() if line.startswith(words)]

    def expected(self, name: str) -> list[str]:
        """Of a service: that it is there, and what it says."""
        full = f"{self.what} {name}.{bonjour.TYPE}"
        return [f"added {full}", f"connected {full}: this is {self.what} {name}"]

    def gone(self, name: str) -> str:
        """Of a service: that it is not."""
        return f"removed {self.what} {name}.{bonjour.TYPE}"

    def present(self, name: str) -> set[str]:
        """Whose services one has been told of, and not that they were gone."""
        there: set[str] = set()
        for line in self.told(name):
            what, _, full = line.partition(" ")
            whose = full.removeprefix(f"{self.what} ").partition(".")[0]
            if what == "added":
                there.add(whose)
            elif what == "removed":
                there.discard(whose)
        return there

    def settled(self, name: str) -> bool:
        """Whether each connection that one has begun has come to its end."""
        words = [line.partition(" ")[0] for line in self.told(name)]
        return words.count("added") == words.count("connected") + words.count("unreachable")

    def complete(self, name: str, *of: str) -> bool:
        """Whether one has been told of all of these."""
        return set(self.told(name)) >= {line for other in of for line in self.expected(other)}

    def __enter__(self) -> Meeting:
        return self

    def __exit__(self, *failure: object) -> None:
        for running in self.running.values():
            running.stop()


def test_services_of_each_are_seen_by_each_once(three: Three) -> None:
    """Each browser is told of each service once, connects to it, and hears the goodbye; what ``userlan services`` lists is the same."""
    names = ("anna", "ben", "carl")
    with Meeting(three, "tea of", *names) as meeting:
        for name in names:
            until(lambda name=name: meeting.complete(name, *names), 2 * PATIENCE, f"{name} is told of all", 0.3)
        rows = three.members["anna"].call("services")
        assert sorted((row["peer"], row["name"]) for row in rows if row["name"].startswith("tea of")) == [
            ("ben", "tea of ben"), ("carl", "tea of carl"),
        ]
        for name in names:
            meeting.running[name].stop()
            others = names[names.index(name) + 1 :]
            for other in others:
                until(lambda name=name, other=other: meeting.gone(name) in meeting.told(other), PATIENCE, f"{other} hears {name}'s goodbye")
        for number, name in enumerate(names):
            told = sorted(line for other in names for line in meeting.expected(other))
            assert sorted(line for line in meeting.told(name) if not line.startswith("removed")) == told
            removed = [line for line in meeting.told(name) if line.startswith("removed") and line != meeting.gone(name)]
            assert removed == [meeting.gone(other) for other in names[:number]]


WEB = "_http._tcp"


def heard_by_ipv4(daemon: Avahi) -> list[Found]:
    """Avahi has a row for each protocol by which it has heard of a service."""
    return sorted((one for one in daemon.browse(WEB, 10) if one.protocol == "IPv4"), key=lambda one: one.name)


def test_avahi_at_each_shows_each_once(three: Three) -> None:
    """An unchanged daemon in each place: names, addresses that can be clicked at, goodbyes."""
    reason = avahi_unavailable()
    if reason:
        pytest.skip(reason)
    names = ("anna", "ben", "carl")
    daemons: dict[str, Avahi] = {}

    def publish(name: str) -> subprocess.Popen[bytes]:
        at, port = three.place(name, "avahi"), 8091 + names.index(name)
        home = at.home("page")
        (home / "index.html").write_text(f"page of {name}")
        at.start("page", "python3", "-u", "-m", "http.server", str(port), "--directory", str(home)).line("Serving HTTP")
        link = "eth0" if name == "anna" else "lan0"
        daemons[name] = Avahi(at.inside.through(*ALONE), at.home("avahi"), f"{name}-pc", [link])
        return daemons[name].publish(f"Web of {name}", WEB, port)

    def look(name: str) -> None:
        wait_shown(daemons[name], [f"Web of {one}" for one in names])
        at = three.place(name, "curl")
        for found in heard_by_ipv4(daemons[name]):
            host = f"[{found.address}]" if ":" in found.address else found.address
            assert at.run("curl", "-gsS", "-m", "20", f"http://{host}:{found.port}/").stdout == found.name.replace("Web", "page")

    with ThreadPoolExecutor(len(names)) as threads:
        published = dict(zip(names, threads.map(publish, names), strict=True))
        list(threads.map(look, names))
        end(published["ben"])
        list(threads.map(lambda name: wait_shown(daemons[name], ["Web of anna", "Web of carl"]), ("anna", "carl")))
    for name in names:
        end(published[name])
        daemons[name].stop()


def wait_shown(daemon: Avahi, names: list[str]) -> None:
    """Until these are what there is, each once."""
    until(lambda: [one.name for one in heard_by_ipv4(daemon)] == names, PATIENCE, f"{daemon.folder} shows {names}", 0.3)


@pytest.fixture(scope="module")
def work(three: Three) -> Three:
    """A second network, of anna, ben and dora: anna and ben share both, dora and carl none."""
    invite = three.members["anna"].call("create", network="work", password=None)["invite"]
    for name in ("ben", "dora"):
        three.members[name].call("join", invite=invite)
    three.direct("anna", "ben", "dora")
    three.direct("anna", "ben", "carl")
    return three


def test_what_is_said_reaches_whom_a_network_is_shared_with(work: Three) -> None:
    """And once, however many those are."""
    reached = {"anna": ("ben", "carl", "dora"), "ben": ("anna", "carl", "dora"), "carl": ("anna", "ben"), "dora": ("anna", "ben")}
    with Answering(work, "networks", *reached) as answering:
        answering.ask_once("from-", reached)


def test_services_are_seen_by_whom_a_network_is_shared_with(work: Three) -> None:
    seen = {"anna": {"anna", "ben", "carl", "dora"}, "carl": {"anna", "ben", "carl"}, "dora": {"anna", "ben", "dora"}}
    with Meeting(work, "coffee of", "anna", "ben", "carl", "dora") as meeting:
        for name, of in seen.items():
            until(lambda name=name, of=of: meeting.complete(name, *of), 2 * PATIENCE, f"{name} is told of all: {meeting.told(name)}", 0.3)
        for name, of in seen.items():
            assert sorted(meeting.told(name)) == sorted(line for other in of for line in meeting.expected(other))


def test_what_is_not_shared_with_one_still_is_with_the_others(work: Three) -> None:
    """``unshare --peer``, ``unshare --network``, ``share --network``: neither asked nor answered."""
    anna = work.members["anna"]
    asks = {"ben": ("anna", "carl", "dora"), "carl": ("anna", "ben"), "dora": ("anna", "ben")}
    steps: list[tuple[tuple[str, ...], set[str]]] = [
        (("unshare", "broadcaster", "--peer", "carl"), {"ben", "dora"}),
        (("share", "broadcaster"), {"ben", "carl", "dora"}),
        (("unshare", "broadcaster", "--network", "work"), {"carl"}),
        (("share", "broadcaster", "--network", "home"), {"ben", "carl"}),
    ]
    with Answering(work, "unshared", "anna", *asks) as answering:
        for number, (command, shared) in enumerate(steps):
            print(*command, "→", anna.run(*command).stdout.strip())
            others = {asking: [name for name in reached if name != "anna" or asking in shared] for asking, reached in asks.items()}
            answering.ask_once(f"{number}-", {"anna": shared, **others})
    anna.run("share", "broadcaster")


def test_services_of_who_goes_away_and_comes_back(three: Three) -> None:
    """Who stops says goodbye for what it showed; who comes back, be it after it was killed, is there once; who leaves is gone."""
    names = ("anna", "ben", "carl")
    anna, ben, carl = (three.members[name] for name in names)

    def all_there(meeting: Meeting) -> bool:
        return all(meeting.present(name) == set(names) and meeting.settled(name) for name in names)

    with Meeting(three, "cake of", *names) as meeting:
        until(lambda: all_there(meeting), 2 * PATIENCE, "all see all", 0.3)
        anna.stop()
        until(lambda: meeting.present("ben") == meeting.present("carl") == {"ben", "carl"}, PATIENCE, "anna's goodbye", 0.3)
        until(lambda: meeting.present("anna") == {"anna"}, PATIENCE, "what anna's node has shown is gone with it", 0.3)
        anna.up()
        until(lambda: all_there(meeting), 2 * PATIENCE, "all see all again", 0.3)
        for member in (ben, anna):
            member.kill()
            member.up()
        three.direct(*names)
        until(lambda: all_there(meeting), 2 * PATIENCE, "all see all once more", 0.3)
        assert not [line for name in names for line in meeting.told(name) if line.startswith("unreachable")]
        with Meeting(three, "pie of", *names) as later:
            for name in names:
                until(lambda name=name: later.complete(name, *names), 2 * PATIENCE, f"{name} connects to all again", 0.3)
                assert sorted(later.told(name)) == sorted(line for other in names for line in later.expected(other))
            carl.run("leave", "home")
            until(lambda: later.present("anna") == meeting.present("anna") == {"anna", "ben"}, PATIENCE, "carl's are gone", 0.3)
            assert {row["peer"] for row in anna.call("services")} == {"ben"}
