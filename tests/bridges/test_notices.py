"""Notices on the desktop: the rules in virtual time, and a real server of notices on a session bus of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.process import reapAllProcesses
from twisted.internet.task import Clock, LoopingCall

from bridges.desktop import Bus, DesktopError, NotifySend, Osascript, find, run, variant
from bridges.notices import (
    BURST,
    MAX_SUBJECTS,
    MAX_TEXT,
    PAUSE,
    REFILL,
    SETTLING,
    SUBJECT_GAP,
    Notices,
    NoticesBridge,
    NoticesOptions,
    shown,
)
from tests.bridges.desktop_session import PATIENCE, Session
from tests.bridges.harness import FakeLan, Loop, MemoryStore
from tests.lab.network import until
from userlan.driver.lan import Lan, PeerInfo


class Record:
    """A desktop that writes down what it is to show; ``held``: it takes its time."""

    name = "record"

    def __init__(self) -> None:
        self.shown: list[tuple[str, str, int]] = []
        self.closed: list[int] = []
        self.held: list[Deferred[int]] | None = None
        self.broken = False

    def show(self, kind: str, title: str, text: str, replaced: int) -> Deferred[int]:
        if self.broken:
            return fail(DesktopError("no server"))
        self.shown.append((title, text, replaced))
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        return succeed(replaced or len(self.shown))

    def close(self, handle: int) -> Deferred[None]:
        self.closed.append(handle)
        return succeed(None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def notices(clock: Clock, record: Record) -> Notices:
    made = Notices(clock)
    made.attach(record, NoticesOptions())
    return made


def pass_time(clock: Clock, seconds: float) -> None:
    clock.pump([0.5] * int(seconds * 2))


def test_a_second_text_of_a_subject_takes_the_place_of_the_first(notices: Notices, record: Record, clock: Clock) -> None:
    notices.tell("chat", "anna", "hello", "peer:a")
    notices.tell("chat", "anna", "are you there?", "peer:a")
    notices.tell("chat", "anna", "well?", "peer:a")
    assert record.shown == [("anna", "hello", 0)]
    pass_time(clock, SUBJECT_GAP)
    assert record.shown[1:] == [("anna", "3 messages; the last: well?", 1)]


def test_one_call_may_stand_for_several(notices: Notices, record: Record, clock: Clock) -> None:
    notices.tell("chat", "anna", "well?", "peer:a", total=3)
    assert record.shown == [("anna", "3 messages; the last: well?", 0)]
    notices.tell("chat", "anna", "hello?", "peer:a", total=4)
    pass_time(clock, SUBJECT_GAP)
    assert record.shown[1:] == [("anna", "4 messages; the last: hello?", 1)]


def test_what_was_read_is_closed_and_counted_anew(notices: Notices, record: Record, clock: Clock) -> None:
    notices.tell("chat", "anna", "hello", "peer:a")
    notices.withdraw("peer:a")
    notices.withdraw("peer:never")
    assert record.closed == [1]
    notices.tell("chat", "anna", "again", "peer:a")
    assert record.shown[1:] == [("anna", "again", 0)]


def test_what_is_read_while_it_is_being_shown_is_closed_then(notices: Notices, record: Record) -> None:
    record.held = []
    notices.tell("chat", "anna", "hello", "peer:a")
    notices.withdraw("peer:a")
    assert record.closed == []
    record.held[0].callback(7)
    assert record.closed == [7]


def test_one_at_a_time_however_long_the_desktop_takes(notices: Notices, record: Record) -> None:
    record.held = []
    notices.tell("chat", "anna", "hello")
    notices.tell("chat", "ben", "hello")
    assert len(record.shown) == 1
    record.held[0].callback(1)
    assert [title for title, *_ in record.shown] == ["anna", "ben"]


def test_a_crowd_is_told_in_one_notice(notices: Notices, record: Record, clock: Clock) -> None:
    for number in range(BURST):
        notices.tell("chat", f"one{number}", "x", f"one{number}")
    assert len(record.shown) == BURST
    for number in range(6):
        notices.tell("chat", f"late{number}", "x", f"late{number}")
    notices.tell("file", "late0", "x", "offer")
    assert len(record.shown) == BURST
    pass_time(clock, REFILL)
    assert record.shown[BURST:] == [("userlan", "6 messages, 1 file: late0, late1, late2 and 3 others", 0)]
    for number in range(6):
        notices.withdraw(f"late{number}")
    assert record.closed == []
    notices.withdraw("offer")
    assert record.closed == [BURST + 1]


def test_an_hour_of_flood_is_few_notices_and_little_memory(notices: Notices, record: Record, clock: Clock) -> None:
    for second in range(600):
        for number in range(20):
            notices.tell("chat", f"m{second}-{number}", "x" * 5000, f"{second}-{number}")
        clock.advance(1)
    assert len(record.shown) <= BURST + 600 / REFILL + 1
    assert len(notices._subjects) <= MAX_SUBJECTS
    assert max(len(text) for _, text, _ in record.shown) <= MAX_TEXT


def test_a_desktop_that_refuses_is_left_alone_for_a_while(notices: Notices, record: Record, clock: Clock) -> None:
    record.broken = True
    notices.tell("chat", "anna", "hello")
    record.broken = False
    notices.tell("chat", "anna", "hello")
    assert record.shown == []
    clock.advance(PAUSE)
    notices.tell("chat", "anna", "hello again")
    assert record.shown == [("anna", "hello again", 0)]


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        (NoticesOptions(), "chat", True),
        (NoticesOptions(), "online", False),
        (NoticesOptions(members=True), "online", True),
        (NoticesOptions(chat=False), "chat", False),
        (NoticesOptions(files=False), "file", False),
        (NoticesOptions(applicants=False), "member", False),
        (NoticesOptions(enabled=False), "chat", False),
    ],
)
def test_the_configuration_says_which(clock: Clock, record: Record, options: NoticesOptions, kind: str, told: bool) -> None:
    notices = Notices(clock)
    notices.attach(record, options)
    notices.tell(kind, "anna", "x")
    assert bool(record.shown) is told


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\r\nb\tc", "a b c"),
        ("\x1b]0;x\x07y\x00", "]0;xy"),
        ("\u202eevil\u2066", "evil"),
        ("\ud800x", "x"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("x" * 20, "x" * 9 + "…"),
    ],
)
def test_text_is_one_short_line_without_controls(text: str, line: str) -> None:
    assert shown(text, 10) == line


def test_members_who_come_online_are_told_when_asked_for(clock: Clock, record: Record) -> None:
    lan: Any = FakeLan(clock)
    bridge = NoticesBridge(lan, NoticesOptions(members=True), MemoryStore(), {})  # type: ignore[arg-type]
    bridge.start()
    Notices.of(lan).attach(record, bridge.options)
    bridge._settled = SETTLING
    anna = PeerInfo("anna", "K", "25.0.0.1", "", "")
    bridge._reached(anna)
    bridge._lost(anna)
    assert record.shown == []
    clock.advance(SETTLING)
    bridge._reached(anna)
    bridge._reached(anna)
    assert record.shown == [("anna", "is online", 0)]
    bridge._lost(anna)
    assert record.closed == [1]


def test_what_the_node_itself_has_to_say_is_shown_and_withdrawn(clock: Clock, record: Record) -> None:
    runner: Any = SimpleNamespace(reactor=clock)
    lan = Lan(runner, cast(Any, None))
    bridge = NoticesBridge(lan, NoticesOptions(), MemoryStore(), {"PATH": "/nowhere"})  # type: ignore[arg-type]
    bridge.start()
    lan.tell_news("member", "carl wants to join home", "Approve or deny it.", "applicant")
    assert record.shown == []
    ends = lan.observe_news(Notices.of(lan).tell, Notices.of(lan).withdraw)
    Notices.of(lan).attach(record, NoticesOptions())
    lan.tell_news("member", "carl wants to join home", "Approve or deny it.", "applicant")
    assert record.shown == [("carl wants to join home", "Approve or deny it.", 0)]
    lan.withdraw_news("applicant")
    assert record.closed == [1]
    ends()
    lan.tell_news("member", "carl wants to join home", "Approve or deny it.", "applicant")
    assert len(record.shown) == 1


# --- a real one ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(tmp_path_factory.mktemp("session"))
    yield session
    session.stop()


@pytest.fixture
def reaping(loop: Loop) -> Iterator[Loop]:
    """A reactor that notices when its processes end, as one in the main thread does."""
    call = LoopingCall(reapAllProcesses)
    call.clock = loop.reactor
    loop.call(lambda: call.start(0.02) and None)
    yield loop
    loop.call(call.stop)


HOSTILE = '-1 "<b>bold</b>" \\ $(touch x) `id` \'); & <a href="http://x">x</a> ☺'


def test_a_notice_is_shown_replaced_and_closed(session: Session, reaping: Loop) -> None:
    desktop = find(reaping.reactor, session.environment)
    assert isinstance(desktop, Bus)
    before = len(session.shown())
    handle = reaping.call(desktop.show, "chat", HOSTILE, HOSTILE, 0)
    assert handle > 0
    until(lambda: len(session.shown()) > before, PATIENCE, "it is shown")
    number, title, body = session.shown()[-1]
    assert (number, title) == (handle, HOSTILE)
    assert "<" not in body
    assert body.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == HOSTILE
    assert reaping.call(desktop.show, "chat", "anna", "again", handle) == handle
    reaping.call(desktop.close, handle)
    until(lambda: handle in session.closed(), PATIENCE, "it is closed")
    assert "Unable to parse markup" not in session.formatted()


def test_a_server_that_reads_no_markup_gets_none(tmp_path: Path, reaping: Loop) -> None:
    session = Session(tmp_path, markup=False)
    try:
        reaping.call(Bus(reaping.reactor, "/usr/bin/gdbus", session.environment).show, "chat", "anna", HOSTILE, 0)
        until(session.shown, PATIENCE, "it is shown")
        assert session.shown()[0][1:] == ("anna", HOSTILE)
    finally:
        session.stop()


def test_notify_send_does_the_same_but_for_closing(session: Session, reaping: Loop) -> None:
    program = shutil.which("notify-send")
    assert program is not None
    desktop = NotifySend(reaping.reactor, program, session.environment)
    before = len(session.shown())
    handle = reaping.call(desktop.show, "file", HOSTILE, HOSTILE, 0)
    assert reaping.call(desktop.show, "file", "anna", "again", handle) == handle
    until(lambda: len(session.shown()) >= before + 2, PATIENCE, "both are shown")
    assert session.shown()[before][1] == HOSTILE
    reaping.call(desktop.close, handle)


def test_the_bridge_shows_what_other_bridges_tell(session: Session, reaping: Loop) -> None:
    lan: Any = FakeLan(reaping.reactor)
    bridge = NoticesBridge(lan, NoticesOptions(), MemoryStore(), session.environment)  # type: ignore[arg-type]
    reaping.call(bridge.start)
    assert bridge.diagnosis(None) == {"enabled": True, "desktop": "D-Bus"}
    reaping.call(Notices.of(lan).tell, "chat", "anna in home", "shall we <play>?", "network:home")
    until(lambda: session.shown()[-1:] and session.shown()[-1][1] == "anna in home", PATIENCE, "it is shown")
    number, _, body = session.shown()[-1]
    assert body == "shall we &lt;play&gt;?"
    reaping.call(Notices.of(lan).withdraw, "network:home")
    until(lambda: number in session.closed(), PATIENCE, "it is closed")
    reaping.call(bridge.stop)


def test_a_program_that_hangs_or_is_not_there_is_an_error_in_time(reaping: Loop) -> None:
    with pytest.raises(DesktopError, match="sleep: did not end in time"):
        reaping.call(run, reaping.reactor, ["/bin/sleep", "60"], {}, 0.2)
    with pytest.raises(DesktopError, match="false: failed"):
        reaping.call(run, reaping.reactor, ["/bin/false"], {})
    with pytest.raises(DesktopError):
        reaping.call(run, reaping.reactor, ["/nowhere/gdbus"], {})


def test_no_session_no_notices(tmp_path: Path, loop: Loop) -> None:
    assert find(loop.reactor, {"PATH": "/usr/bin:/bin"}) is None
    assert find(loop.reactor, {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}) is None
    (tmp_path / "bus").touch()
    assert isinstance(find(loop.reactor, {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}), Bus)


def test_texts_are_arguments_of_the_script_on_macos(tmp_path: Path, reaping: Loop) -> None:
    """As the shell gives them on: a program in its place that tells its arguments."""
    program = tmp_path / "osascript"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/told\n')
    program.chmod(0o700)
    desktop = find(reaping.reactor, {"PATH": str(tmp_path)})
    assert isinstance(desktop, Osascript)
    reaping.call(desktop.show, "chat", HOSTILE, '" & (do shell script "id") & "', 0)
    told = (tmp_path / "told").read_text().splitlines()
    assert told[-3:] == ["--", HOSTILE, '" & (do shell script "id") & "']
    assert not any(HOSTILE in word for word in told[:-2])


@pytest.mark.parametrize("text", ["", 'a"b', "a\\", "\\u0041", "ä☺", "%s"])
def test_gvariant_text_is_quoted(text: str) -> None:
    quoted = variant(text)
    assert quoted[0] == quoted[-1] == '"'
    assert quoted[1:-1].replace("\\\\", "\0").replace('\\"', '"').replace("\0", "\\") == text
