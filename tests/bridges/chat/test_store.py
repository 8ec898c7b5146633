"""The history and the outbox on the disk."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.chat import store as store_module
from bridges.chat.records import Message
from bridges.chat.schema import APPLICATION, StoreError, open_database
from bridges.chat.store import ENVELOPE, MAX_OUTBOX_OF_RECIPIENT, MAX_SEEN_OF_AUTHOR, Store

KEEP = 1000
SIZE = 1 << 20


class Kept:
    """A store of a file, in short words; each call is a transaction of its own."""

    def __init__(self, path: Path, history: int = KEEP, size: int = SIZE) -> None:
        self.path = path
        self.reports: list[str] = []
        self.store = Store(path, history, size, self.reports.append)
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        def call(*values: Any, **named: Any) -> Any:
            with self.store.transaction():
                return getattr(self.store, name)(*values, **named)

        return call

    def hear(self, text: str, author: str = "ben", network: str = "", identifier: str | None = None, time: float = 1.0) -> Message | None:
        self.count += 1
        place = f"network:{network}" if network else f"peer:{author}"
        with self.store.transaction():
            return self.store.add_received(identifier or f"id{self.count}", place, network or author, author, author, text, time)

    def say(self, text: str, to: str = "ben", *others: str, time: float = 1.0) -> Message:
        self.count += 1
        place = "network:home" if others else f"peer:{to}"
        with self.store.transaction():
            return self.store.add_own(f"id{self.count}", place, to, "me", "me", text, time, [to, *others])

    def texts(self, conversation: str, limit: int = 10_000) -> list[str]:
        return [message.text for message in self.history(conversation, None, limit)[0]]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    one = Kept(tmp_path / "chat.sqlite")
    yield one
    one.store.close()


def test_it_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Durable before it is acknowledged: 2 is FULL, https://sqlite.org/pragma.html#pragma_synchronous."""
    monkeypatch.undo()
    database = open_database(tmp_path / "chat.sqlite", print)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA secure_delete").fetchone() == (1,)
    database.close()


def test_nobody_else_reads_it(kept: Kept) -> None:
    kept.hear("secret")
    for path in kept.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_file_that_others_could_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    path.touch(0o644)
    Kept(path).store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_order_is_the_own_count_whatever_the_clocks_say(kept: Kept) -> None:
    for number, time in enumerate((5.0, -3.0, 99.0)):
        kept.hear(str(number), time=time)
    kept.say("mine", time=0.0)
    messages, more = kept.history("peer:ben", None, 10)
    assert [message.text for message in messages] == ["0", "1", "2", "mine"]
    assert [message.seq for message in messages] == sorted(message.seq for message in messages)
    assert not more


def test_pages_of_the_history(kept: Kept) -> None:
    for number in range(10):
        kept.hear(str(number))
    page, more = kept.history("peer:ben", None, 4)
    assert ([message.text for message in page], more) == (["6", "7", "8", "9"], True)
    page, more = kept.history("peer:ben", page[0].seq, 6)
    assert ([message.text for message in page], more) == (["0", "1", "2", "3", "4", "5"], False)


def test_what_has_arrived_never_arrives_again(kept: Kept) -> None:
    assert kept.hear("once", identifier="x") is not None
    assert kept.hear("once", identifier="x") is None
    assert kept.hear("another's id", author="eve", identifier="x") is not None, "an id is its author's"
    kept.clear("peer:ben")
    assert kept.hear("once", identifier="x") is None, "nor when it was cleared meanwhile"
    assert kept.texts("peer:ben") == []


def test_ids_are_forgotten_by_author(kept: Kept) -> None:
    with kept.store.transaction():
        for number in range(MAX_SEEN_OF_AUTHOR + 5):
            kept.store.add_received(f"n{number}", "peer:eve", "eve", "eve", "eve", "x", 1.0)
    kept.hear("kept", identifier="x")
    with sqlite3.connect(kept.path) as other:
        assert other.execute("SELECT count(*) FROM seen WHERE author = 'eve'").fetchone()[0] == MAX_SEEN_OF_AUTHOR
    other.close()
    assert kept.hear("again", identifier="x") is None


def test_unread_and_read(kept: Kept) -> None:
    kept.hear("1")
    kept.say("own ones are read")
    kept.hear("2")
    kept.hear("elsewhere", author="eve")
    assert [(one.id, one.unread) for one in kept.conversations()] == [("peer:eve", 1), ("peer:ben", 2)]
    assert kept.read("peer:ben") is True
    assert kept.read("peer:ben") is False
    assert [one.unread for one in kept.conversations("peer:ben")] == [0]
    kept.hear("3")
    assert kept.conversations("peer:ben")[0].unread == 1


def test_titles_follow_and_names_stay(kept: Kept) -> None:
    with kept.store.transaction():
        kept.store.add_received("a", "peer:K", "ben", "K", "ben", "x", 1.0)
        kept.store.add_received("b", "peer:K", "benjamin", "K", "benjamin", "y", 1.0)
    assert kept.conversations()[0].title == "benjamin"
    assert [message.name for message in kept.history("peer:K", None, 9)[0]] == ["ben", "benjamin"]
    assert kept.titled("benjamin") == ["peer:K"]


def test_muted(kept: Kept) -> None:
    kept.hear("x")
    kept.mute("peer:ben", True)
    kept.hear("y")
    assert kept.conversations()[0].muted


def test_the_outbox_keeps_until_each_has_it(kept: Kept) -> None:
    message = kept.say("to all", "ben", "eve")
    assert message.state == "waiting"
    assert sorted(kept.recipients()) == [("ben", "network:home"), ("eve", "network:home")]
    assert [one.text for one in kept.waiting("ben", 0, 9)] == ["to all"]
    assert kept.delivered("mallory", message.seq) is None, "who was not to get it"
    one = kept.delivered("ben", message.seq)
    assert (one.state, one.delivered) == ("waiting", 1)
    assert kept.delivered("ben", message.seq) is None, "twice"
    assert kept.delivered("eve", message.seq).state == "delivered"
    assert kept.recipients() == []


def test_it_survives_a_restart(tmp_path: Path) -> None:
    first = Kept(tmp_path / "chat.sqlite")
    seq = first.say("for later").seq
    first.store.close()
    again = Kept(tmp_path / "chat.sqlite")
    assert [message.seq for message in again.waiting("ben", 0, 9)] == [seq]
    assert again.say("next").seq > seq
    again.store.close()


def test_waiting_is_in_order_and_in_pages(kept: Kept) -> None:
    seqs = [kept.say(str(number)).seq for number in range(5)]
    assert [message.seq for message in kept.waiting("ben", 0, 2)] == seqs[:2]
    assert [message.seq for message in kept.waiting("ben", seqs[1], 9)] == seqs[2:]


def test_failures_have_a_reason(kept: Kept) -> None:
    alone = kept.say("alone")
    both = kept.say("both", "ben", "eve")
    assert [one.seq for one in kept.failed_all("ben", "network:home", "gone")] == [both.seq]
    assert (kept.message(both.seq).state, kept.message(both.seq).reason) == ("waiting", "gone")
    assert kept.delivered("eve", both.seq).state == "delivered"
    assert kept.failed("ben", alone.seq, "not taken").state == "failed"


def test_what_waits_for_too_long_fails(kept: Kept) -> None:
    kept.say("old", "ben", "eve", time=10.0)
    kept.say("new", time=100.0)
    assert [(one.text, one.state) for one in kept.expired(50.0, "not seen")] == [("old", "failed")]
    assert [one.text for one in kept.waiting("ben", 0, 9)] == ["new"]


def test_a_recipient_has_a_cap(kept: Kept) -> None:
    with kept.store.transaction():
        for number in range(MAX_OUTBOX_OF_RECIPIENT):
            kept.store.add_own(f"n{number}", "peer:ben", "ben", "me", "me", "x", 1.0, ["ben"])
    with pytest.raises(StoreError, match="1000 messages wait for ben"):
        kept.say("one more")
    kept.say("others have room", "eve")


def test_the_outbox_has_a_cap(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_OUTBOX", 3)
    kept.say("x", "a", "b")
    with pytest.raises(StoreError, match="wait already"):
        kept.say("y", "a", "b")


def test_the_oldest_go_first(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "chat.sqlite", history=10)
    for number in range(25):
        kept.hear(str(number))
    assert kept.texts("peer:ben") == [str(number) for number in range(15, 25)]
    kept.store.close()


def test_who_floods_a_network_pushes_out_his_own(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "chat.sqlite", history=20)
    for number in range(10):
        kept.hear(f"good {number}", author=f"good{number}", network="home")
    for number in range(500):
        kept.hear(f"flood {number}", author="eve", network="home")
    texts = kept.texts("network:home")
    assert texts == [*(f"good {number}" for number in range(10)), *(f"flood {number}" for number in range(495, 500))]
    kept.store.close()


def test_who_takes_most_gives_way(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "chat.sqlite", size=100_000)
    kept.hear("x" * 1000, author="ben")
    for _ in range(300):
        kept.hear("x" * 1000, author="eve")
    assert len(kept.texts("peer:ben")) == 1
    assert 50 < len(kept.texts("peer:eve")) < 100
    kept.store.close()
    again = Kept(tmp_path / "chat.sqlite", size=30_000)
    again.hear("small", author="ben", identifier="new")
    assert 0 < len(again.texts("peer:eve")) < 25, "what is there is measured when it is opened"
    again.store.close()


def test_removed_messages_wait_for_nobody(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "chat.sqlite", history=2)
    for number in range(5):
        kept.say(str(number))
    assert [message.text for message in kept.waiting("ben", 0, 9)] == ["3", "4"]
    assert kept.clear("peer:ben") == 2
    assert kept.recipients() == []
    assert kept.conversations() == []
    kept.store.close()


def test_conversations_have_a_cap(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_CONVERSATIONS", 3)
    for author in ("a", "b", "c", "a", "d", "e"):
        kept.hear("x", author=author)
    assert [one.title for one in kept.conversations()] == ["e", "d", "a"]
    assert kept.texts("peer:b") == []


def test_cleared_is_gone_from_the_disk(kept: Kept) -> None:
    def on_the_disk() -> bool:
        return b"the-secret-word" in b"".join(path.read_bytes() for path in kept.path.parent.iterdir())

    kept.hear("the-secret-word " * 20)
    assert on_the_disk()
    kept.clear("peer:ben")
    assert not on_the_disk()


def test_a_full_disk_is_told_and_not_the_end(kept: Kept) -> None:
    """SQLite undoes a transaction by itself when there is no room (https://sqlite.org/lang_transaction.html, section 3.1)."""
    kept.hear("there")
    database = kept.store._database
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 4}")

    def fill() -> None:
        for _ in range(1000):
            kept.hear("x" * 8000)

    with pytest.raises(StoreError, match="disk is full"):
        fill()
    before = kept.texts("peer:ben")
    with pytest.raises(StoreError, match="disk is full"):
        fill()
    database.execute("PRAGMA max_page_count = 1000000")
    kept.hear("room again")
    assert kept.texts("peer:ben") == [*before, "room again"]
    assert kept.reports == []


def test_search(kept: Kept) -> None:
    for text in ("Grüße an ALLE", "nothing", "100 % sure", "100 percent"):
        kept.hear(text)
    def found(text: str) -> list[str]:
        messages, before = kept.search(text, None, None, 100)
        assert before is None
        return [message.text for message in messages]

    assert found("GRÜSSE") == ["Grüße an ALLE"], "case is folded in every language"
    assert found("100 %") == ["100 % sure"], "nothing is a wildcard"
    assert found("%") == ["100 % sure"]


def test_a_search_goes_on_where_it_stopped(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        kept.hear(f"needle {number}" if number % 10 == 0 else "hay", author="eve" if number == 10 else "ben")
    messages, before = kept.search("needle", None, None, 2)
    assert [message.text for message in messages] == ["needle 10", "needle 20"]
    messages, before = kept.search("needle", None, before, 2)
    assert ([message.text for message in messages], before) == (["needle 0"], None)
    assert [message.text for message in kept.search("needle", "peer:ben", None, 9)[0]] == ["needle 0", "needle 20"]
    assert kept.search("needle", "peer:nobody", None, 9) == ([], None)
    monkeypatch.setattr(store_module, "MAX_SEARCHED", 5 * (ENVELOPE + len("hay")))
    seen: list[str] = []
    asked, before = 0, None
    while asked == 0 or before is not None:
        messages, before = kept.search("needle", None, before, 9)
        seen[:0] = [message.text for message in messages]
        asked += 1
    assert (seen, asked) == (["needle 0", "needle 10", "needle 20"], 7), "five messages at a time, some of them without a finding"


def test_what_is_newer_than_a_message(kept: Kept) -> None:
    for number in range(5):
        kept.hear(f"{number}")
        kept.hear("elsewhere", author="eve")
    first = kept.history("peer:ben", None, 5)[0][0]
    assert [message.text for message in kept.newer("peer:ben", first.seq, 2)[0]] == ["1", "2"]
    assert kept.newer("peer:ben", first.seq, 2)[1] is True
    assert kept.newer("peer:ben", first.seq, 4)[1] is False


def test_a_failed_part_takes_nothing_else_with_it(kept: Kept) -> None:
    with kept.store.transaction():
        with kept.store.part():
            kept.store.add_received("a", "peer:ben", "ben", "ben", "ben", "stays", 1.0)
        with suppress(ValueError), kept.store.part():
            kept.store.add_received("b", "peer:ben", "ben", "ben", "ben", "goes", 1.0)
            raise ValueError
    assert kept.texts("peer:ben") == ["stays"]


def test_a_newer_one_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    Kept(path).store.close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer userlan") as caught:
        Kept(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def other_program(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE messages (x)")
    other.close()


def garbled(path: Path) -> None:
    kept = Kept(path)
    for number in range(200):
        kept.hear(f"message {number} " * 20)
    kept.store.close()
    data = bytearray(path.read_bytes())
    data[4096:-4096] = os.urandom(len(data) - 8192)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"nonsense" * 2000), other_program, garbled])
def test_a_damaged_one_is_set_aside(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "chat.sqlite"
    damage(path)
    kept = Kept(path)
    assert len(kept.reports) == 1
    assert "chat.sqlite.corrupt" in kept.reports[0]
    assert (tmp_path / "chat.sqlite.corrupt").exists()
    assert kept.hear("goes on") is not None
    kept.store.close()


def test_damage_that_shows_later_is_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    kept = Kept(path)
    for number in range(200):
        kept.hear(f"message {number} " * 20)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    def go_on() -> None:
        for _ in range(5):
            kept.hear("more")
            kept.texts("peer:ben")

    with pytest.raises(StoreError, match="set aside"):
        go_on()
    assert kept.hear("goes on") is not None
    assert kept.texts("peer:ben")[-1] == "goes on"
    kept.store.close()


def test_a_place_that_takes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chat.sqlite"
    path.mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Kept(path)


def test_application_id_is_four_octets_of_text() -> None:
    assert APPLICATION.to_bytes(4, "big") == b"ulch"


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["", "home"]), st.integers(1, 3000)), max_size=40))
def test_room_is_counted_as_the_disk_has_it(tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, str, int]]) -> None:
    """Whatever comes and goes: what is remembered of the room that is taken is what the tables say."""
    kept = Kept(tmp_path_factory.mktemp("room") / "chat.sqlite", history=8, size=20_000)
    for author, network, length in said:
        kept.hear("x" * length, author=author, network=network)
    room = kept.store._room
    with sqlite3.connect(kept.path) as other:
        octets = dict(other.execute("SELECT author, sum(size) FROM messages GROUP BY author"))
        messages = dict(other.execute("SELECT conversation, count(*) FROM messages GROUP BY conversation"))
    other.close()
    assert (dict(room.octets), dict(room.messages)) == (octets, messages)
    assert sum(octets.values()) <= 20_000
    assert max(messages.values(), default=0) <= 8
    kept.store.close()
