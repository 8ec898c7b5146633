"""The history and the outbox, in one SQLite database. Blocking: it lives in a thread of its own (``worker.py``).

::

    messages ── own ones that somebody has not got yet ── outbox (recipient, seq)        resent until acknowledged
        │
        └── seen (author, id)       what has arrived once never arrives again, even when it was cleared meanwhile

Whoever calls has begun a transaction (:meth:`Store.transaction`): what was written is durable when that ends, and many writes share one
end.

Room
    A conversation keeps ``history`` messages, a quarter of them from one author where there are several; all of them together keep
    ``size`` octets. The oldest go first: of the conversation, of that author, and, where it is all too much, of the author who takes most.
    So whoever floods pushes out his own. An own message that is still to be delivered goes with the others: its outbox with it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bridges.chat.records import MAX_TEXT, Conversation, Message, network_of
from bridges.chat.schema import StoreError, open_database, open_fresh, set_aside

MAX_SEEN_OF_AUTHOR = 2048
"""Ids remembered of one author: many times what is on its way at once, so that only who replays its own old messages gets them in
twice."""

MAX_CONVERSATIONS = 4096
"""Conversations: each is with somebody who was a member once; the one without news for longest is removed."""

MAX_OUTBOX_OF_RECIPIENT = 1000
"""Messages that wait for one recipient: whoever has not been seen for that long is told in another way."""

MAX_OUTBOX = 100_000
"""All that waits: some hundred messages to a network of 500, most of them asleep."""

MAX_SEARCHED = 8 << 20
"""Octets of messages that one search looks at: a tenth of a second, in which nothing else is written; whoever wants more asks again."""

ENVELOPE = 256
"""Octets that a message takes beside its text, about."""

REMOVED_AT_ONCE = 16
"""Messages that are removed together where all of them take too much."""

_FIELDS = Message.__struct_fields__
_COLUMNS = ", ".join(_FIELDS)


class Room:
    """What the messages take: of each conversation, of each author, and of each author in each conversation."""

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self.of_one: Counter[tuple[str, str]] = Counter()

    def take(self, conversation: str, author: str, size: int, count: int = 1) -> None:
        """There are more."""
        self.messages[conversation] += count
        self.octets[author] += size
        self.of_one[conversation, author] += count

    def give(self, conversation: str, author: str, size: int) -> None:
        """There is one less."""
        tables: tuple[tuple[Counter[Any], Any, int], ...] = (
            (self.messages, conversation, 1),
            (self.octets, author, size),
            (self.of_one, (conversation, author), 1),
        )
        for table, key, amount in tables:
            table[key] -= amount
            if table[key] <= 0:
                del table[key]


class Store:
    """See the module. ``history``: messages of a conversation; ``size``: octets of all of them."""

    def __init__(self, path: Path, history: int, size: int, report: Callable[[str], None]) -> None:
        self._path, self._report = path, report
        self._history, self._size = history, size
        self._database = open_database(path, report)
        self._room = Room()
        self._untidy = False
        """Whether the log of the database holds what was to be removed."""
        self._measure()

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done inside is durable at its end, or has not happened. A database that turns out to be damaged is replaced, and the
        StoreError says so."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:       # SQLite has undone it by itself where the disk is full
                    self._database.execute("ROLLBACK")
                self._measure()
                raise
            if self._untidy:
                self._untidy = False
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from error

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a transaction that alone is undone where it fails."""
        self._database.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK TO part")
                self._database.execute("RELEASE part")
            raise
        self._database.execute("RELEASE part")

    # --- messages ----------------------------------------------------------------------------------------------------

    def add_own(
        self, identifier: str, conversation: str, title: str, author: str, name: str, text: str, time: float, recipients: Sequence[str]
    ) -> Message:
        """A message of ours, and who is to get it; StoreError when too much waits already."""
        waiting = self._number("SELECT count(*) FROM outbox")
        if waiting + len(recipients) > MAX_OUTBOX:
            raise StoreError(f"{waiting} deliveries wait already: clear a conversation whose members are not seen any more")
        if len(recipients) == 1:
            of_one = self._number("SELECT count(*) FROM outbox WHERE recipient = ?", recipients[0])
            if of_one >= MAX_OUTBOX_OF_RECIPIENT:
                raise StoreError(f"{of_one} messages wait for {title} already")
        message = self._add(identifier, conversation, title, author, name, text, time, True, len(recipients))
        self._database.executemany("INSERT INTO outbox VALUES (?, ?)", [(recipient, message.seq) for recipient in recipients])
        return message

    def add_received(
        self, identifier: str, conversation: str, title: str, author: str, name: str, text: str, time: float
    ) -> Message | None:
        """What a member has written; None when it has arrived before."""
        known = self._database.execute("INSERT OR IGNORE INTO seen (author, id) VALUES (?, ?)", (author, identifier))
        if not known.rowcount:
            return None
        self._forget_seen(author)
        return self._add(identifier, conversation, title, author, name, text, time, False, 0)

    def message(self, seq: int) -> Message | None:
        """The one of that number."""
        return next(iter(self._messages("WHERE seq = ?", seq)), None)

    def history(self, conversation: str, before: int | None, limit: int) -> tuple[list[Message], bool]:
        """The last ``limit`` messages, of those before ``before``, the oldest first; and whether there are older ones."""
        end = (1 << 62) if before is None else before
        found = self._messages("WHERE conversation = ? AND seq < ? ORDER BY seq DESC LIMIT ?", conversation, end, limit + 1)
        return found[:limit][::-1], len(found) > limit

    def newer(self, conversation: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """The first ``limit`` messages behind ``after``, the oldest first; and whether there are newer ones."""
        found = self._messages("WHERE conversation = ? AND seq > ? ORDER BY seq LIMIT ?", conversation, after, limit + 1)
        return found[:limit], len(found) > limit

    def search(self, text: str, conversation: str | None, before: int | None, limit: int) -> tuple[list[Message], int | None]:
        """The last ``limit`` messages that hold a text, whatever its case, of one conversation or of all, of those before ``before``, the
        oldest first; and before which number to go on, None when nothing older is left to be looked at."""
        wanted, room = text.casefold(), MAX_SEARCHED
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, size FROM messages WHERE (?1 IS NULL OR conversation = ?1) AND seq < ?2 ORDER BY seq DESC",
            (conversation, (1 << 62) if before is None else before),
        )
        found: list[Message] = []
        for *row, size in rows:
            said = dict(zip(_FIELDS, row, strict=True))
            if wanted in said["text"].casefold():
                found.append(msgspec.convert(said, Message, strict=False))
            room -= size
            if room <= 0 or len(found) >= limit:
                rows.close()
                return found[::-1], said["seq"]
        return found[::-1], None

    # --- conversations -----------------------------------------------------------------------------------------------

    def conversations(self, only: str | None = None) -> list[Conversation]:
        """Those that have messages, the one with the latest first; or one of them."""
        rows = self._database.execute(
            "SELECT c.id, c.title, c.muted, (SELECT max(seq) FROM messages WHERE conversation = c.id) AS last,"
            " (SELECT count(*) FROM messages WHERE conversation = c.id AND seq > c.read AND NOT own)"
            " FROM conversations c WHERE last IS NOT NULL AND (?1 IS NULL OR c.id = ?1) ORDER BY last DESC",
            (only,),
        ).fetchall()
        return [Conversation(row[0], row[1], row[4], bool(row[2]), self.message(row[3])) for row in rows]

    def titled(self, title: str) -> list[str]:
        """The conversations that were last known under a name."""
        return [row[0] for row in self._database.execute("SELECT id FROM conversations WHERE title = ?", (title,))]

    def read(self, conversation: str) -> bool:
        """All of it has been seen; whether there was anything that had not been."""
        last = self._number("SELECT ifnull(max(seq), 0) FROM messages WHERE conversation = ?", conversation)
        unread = self._number(
            "SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation"
            " WHERE m.conversation = ? AND m.seq > c.read AND NOT m.own",
            conversation,
        )
        self._database.execute("UPDATE conversations SET read = ? WHERE id = ? AND read < ?", (last, conversation, last))
        return unread > 0

    def mute(self, conversation: str, muted: bool) -> None:
        """Whether the desktop is not told of it."""
        self._database.execute("UPDATE conversations SET muted = ? WHERE id = ?", (muted, conversation))

    def clear(self, conversation: str) -> int:
        """Remove all of it, what waits to be delivered too; how many messages there were."""
        gone = self._remove("conversation = ?", conversation)
        self._untidy = True
        self._database.execute("DELETE FROM conversations WHERE id = ?", (conversation,))
        return gone

    # --- outbox ------------------------------------------------------------------------------------------------------

    def recipients(self) -> list[tuple[str, str]]:
        """Who waits for something, with the conversation that it is of."""
        return self._database.execute(
            "SELECT DISTINCT o.recipient, m.conversation FROM outbox o JOIN messages m ON m.seq = o.seq"
        ).fetchall()

    def waiting(self, recipient: str, after: int, limit: int) -> list[Message]:
        """What a recipient has not got, behind a number, in order."""
        return self._messages(
            "WHERE seq IN (SELECT seq FROM outbox WHERE recipient = ? AND seq > ? ORDER BY seq LIMIT ?) ORDER BY seq",
            recipient, after, limit,
        )  # fmt: skip

    def delivered(self, recipient: str, seq: int) -> Message | None:
        """A recipient has it; None when it was not to get it, or is known to have it."""
        return self._settled(recipient, seq, "delivered = delivered + 1")

    def failed(self, recipient: str, seq: int, reason: str) -> Message | None:
        """A recipient will not get it; as ``delivered``."""
        return self._settled(recipient, seq, "failed = failed + 1, reason = ?", reason)

    def failed_all(self, recipient: str, conversation: str | None, reason: str) -> list[Message]:
        """A recipient will get nothing that waits for it, of a conversation or at all."""
        rows = self._database.execute(
            "SELECT o.seq FROM outbox o JOIN messages m ON m.seq = o.seq"
            " WHERE o.recipient = ?1 AND (?2 IS NULL OR m.conversation = ?2) ORDER BY o.seq",
            (recipient, conversation),
        ).fetchall()
        return [message for (seq,) in rows if (message := self.failed(recipient, seq, reason)) is not None]

    def expired(self, before: float, reason: str) -> list[Message]:
        """What was written before ``before`` is not delivered any more."""
        rows = self._database.execute(
            "SELECT o.recipient, o.seq FROM outbox o JOIN messages m ON m.seq = o.seq WHERE m.time < ? ORDER BY o.seq", (before,)
        ).fetchall()
        found = {seq: self.failed(recipient, seq, reason) for recipient, seq in rows}
        return [message for message in found.values() if message is not None]

    # --- inside ------------------------------------------------------------------------------------------------------

    def _add(
        self, identifier: str, conversation: str, title: str, author: str, name: str, text: str, time: float, own: bool, recipients: int
    ) -> Message:
        text, size = text[:MAX_TEXT], len(text.encode()) + ENVELOPE
        if not self._database.execute("UPDATE conversations SET title = ? WHERE id = ?", (title, conversation)).rowcount:
            self._database.execute("INSERT INTO conversations (id, title) VALUES (?, ?)", (conversation, title))
            self._forget_conversations()
        added = self._database.execute(
            "INSERT INTO messages (id, conversation, author, name, text, time, own, recipients, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (identifier, conversation, author, name, text, time, own, recipients, size),
        )
        self._room.take(conversation, author, size)
        self._make_room(conversation, author)
        return Message(added.lastrowid or 0, identifier, conversation, author, name, text, time, own, recipients, 0, 0, "")

    def _make_room(self, conversation: str, author: str) -> None:
        oldest = "seq IN (SELECT seq FROM messages WHERE {} ORDER BY seq LIMIT ?)"
        surplus = self._room.of_one[conversation, author] - max(1, self._history // 4) if network_of(conversation) else 0
        if surplus > 0:
            self._remove(oldest.format("author = ? AND conversation = ?"), author, conversation, surplus)
        surplus = self._room.messages[conversation] - self._history
        if surplus > 0:
            self._remove(oldest.format("conversation = ?"), conversation, surplus)
        while self._room.octets.total() > self._size:
            greatest = self._room.octets.most_common(1)[0][0]
            if not self._remove(oldest.format("author = ?"), greatest, REMOVED_AT_ONCE):
                break

    def _forget_conversations(self) -> None:
        """Those without news for longest, where there are too many."""
        surplus = self._number("SELECT count(*) FROM conversations") - MAX_CONVERSATIONS
        if surplus > 0:
            rows = self._database.execute(
                "SELECT id FROM conversations ORDER BY"
                " (SELECT ifnull(max(seq), 1 << 62) FROM messages WHERE conversation = conversations.id) LIMIT ?",
                (surplus,),
            ).fetchall()
            for (conversation,) in rows:
                self.clear(conversation)

    def _remove(self, where: str, *values: Any) -> int:
        """Messages and their outbox; how many."""
        rows = self._database.execute(f"DELETE FROM messages WHERE {where} RETURNING seq, conversation, author, size", values).fetchall()
        for seq, conversation, author, size in rows:
            self._room.give(conversation, author, size)
            self._database.execute("DELETE FROM outbox WHERE seq = ?", (seq,))
        return len(rows)

    def _forget_seen(self, author: str) -> None:
        self._database.execute(
            "DELETE FROM seen WHERE number IN (SELECT number FROM seen WHERE author = ? ORDER BY number DESC LIMIT -1 OFFSET ?)",
            (author, MAX_SEEN_OF_AUTHOR),
        )

    def _settled(self, recipient: str, seq: int, change: str, *values: str) -> Message | None:
        if not self._database.execute("DELETE FROM outbox WHERE recipient = ? AND seq = ?", (recipient, seq)).rowcount:
            return None
        self._database.execute(f"UPDATE messages SET {change} WHERE seq = ?", (*values, seq))
        return self.message(seq)

    def _messages(self, rest: str, *values: Any) -> list[Message]:
        rows = self._database.execute(f"SELECT {_COLUMNS} FROM messages {rest}", values)
        return [msgspec.convert(dict(zip(_FIELDS, row, strict=True)), Message, strict=False) for row in rows]

    def _number(self, query: str, *values: Any) -> int:
        return int(self._database.execute(query, values).fetchone()[0])

    def _measure(self) -> None:
        self._room = Room()
        rows = self._database.execute("SELECT conversation, author, sum(size), count(*) FROM messages GROUP BY author, conversation")
        for conversation, author, size, count in rows:
            self._room.take(conversation, author, size, count)

    def _trouble(self, error: sqlite3.DatabaseError) -> StoreError:
        """What went wrong in one line; a database that is damaged makes place for an empty one."""
        if isinstance(error, sqlite3.OperationalError | sqlite3.IntegrityError) and "malformed" not in str(error):
            return StoreError(f"the message store {self._path} cannot be used: {error}")
        self._database.close()
        set_aside(self._path)
        self._report(f"{self._path} is damaged ({error}); it was set aside as {self._path.name}.corrupt, going on without its messages")
        self._database = open_fresh(self._path)
        self._measure()
        return StoreError(f"{self._path} was damaged: it was set aside")
