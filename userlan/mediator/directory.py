"""The directory: nodes, networks, members and evictions in a database, by SQLAlchemy Core.

The only I/O of the mediator, and the only place (with ``schema``) that imports SQLAlchemy. Each public call is one
transaction; with SQLite it is in the write-ahead log and synchronised before it returns, so what a node was told is
done survives kill -9 at any moment.

With a PostgreSQL server it is durable as that server's ``synchronous_commit`` says. One mediator writes to a database at a time: who is
online is in its memory, not in the tables. A server that is away costs the mediator little: a call fails at once where the connection is
refused, else after ``schema.PATIENCE``, and what follows is refused unasked for ``PAUSE`` times as long as the attempt took, so that the
nodes' packets go on between attempts. A server that falls silent on a connection (its process is stopped: the kernel acknowledges for it,
and its own timeouts are stopped with it) is cut off after ``SILENCE``. The first call after the server is back makes a new connection.
A connection that breaks during the commit itself leaves open whether it happened, as on any network; nodes can ask again.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from userlan.mediator.records import ApplicantRecord, DirectoryError, MemberRecord, NetworkRecord, NodeRecord
from userlan.mediator.schema import applicants, evicted, evictions, members, networks, nodes, notes, open_engine, plain_reason

#: Times as long as an attempt to connect took, in which none is made again: so at most a fifth of the time is waited for the server.
PAUSE = 4.0
#: Seconds after which a transaction's connection is cut: longer than the server's own timeout of a statement, which has better words.
SILENCE = 6.0

_NETWORK = (
    networks.c.id,
    networks.c.name,
    networks.c.owner,
    networks.c.owner_signing_public,
    networks.c.admission_public,
    networks.c.attestation,
    networks.c.locked,
    networks.c.serial,
    networks.c.approval,
)
_NODE = (nodes.c.key, nodes.c.name, nodes.c.ipv4, nodes.c.first_seen, nodes.c.last_seen)


class Directory:
    """A ``DirectoryStore`` in a database. ``store`` is a path or a URL; ``schema.open_engine`` says what is refused.

    ``clock``: monotonic seconds, by which the pauses are measured.
    """

    def __init__(self, store: str | Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._retry = 0.0
        self._lost = ""
        self._driver: Any = None                    # the server's connection as its driver has it
        self._socket: socket.socket | None = None   # and a duplicate of its socket
        self._engine = open_engine(store)

    # --- nodes -------------------------------------------------------------------------------------------------------

    def node(self, key: bytes) -> NodeRecord | None:
        """The node with this key."""
        with self._transaction() as connection:
            return _node(connection, key)

    def address_taken(self, ipv4: bytes) -> bool:
        """Whether some node has this address."""
        with self._transaction() as connection:
            return connection.execute(select(nodes.c.key).where(nodes.c.ipv4 == ipv4)).first() is not None

    def register(self, key: bytes, name: str, ipv4: bytes, wall: float) -> NodeRecord:
        """Records a node for life; one that exists keeps its address."""
        with self._transaction() as connection:
            known = _node(connection, key)
            if known is not None:
                return known
            record = NodeRecord(key, name, ipv4, wall, wall)
            connection.execute(insert(nodes).values(record._asdict()))
            return record

    def rename(self, key: bytes, name: str, member_names: Mapping[int, str]) -> None:
        """Sets a node's nickname and its name in each given network."""
        with self._transaction() as connection:
            connection.execute(update(nodes).where(nodes.c.key == key).values(name=name))
            for network, member_name in member_names.items():
                chosen = (members.c.network == network) & (members.c.key == key)
                connection.execute(update(members).where(chosen).values(name=member_name))

    def seen(self, times: Mapping[bytes, float]) -> None:
        """Moves nodes' last-seen times forward."""
        if not times:
            return
        statement = (
            update(nodes)
            .where(nodes.c.key == bindparam("node_key"), nodes.c.last_seen < bindparam("wall"))
            .values(last_seen=bindparam("wall"))
        )
        with self._transaction() as connection:
            connection.execute(statement, [{"node_key": key, "wall": wall} for key, wall in times.items()])

    # --- networks ----------------------------------------------------------------------------------------------------

    def network(self, name: str) -> NetworkRecord | None:
        """The network with this name."""
        found = self._networks(select(*_NETWORK).where(networks.c.name == name))
        return found[0] if found else None

    def memberships(self, key: bytes) -> list[tuple[NetworkRecord, str]]:
        """The networks of a node, by name, each with the node's own name in it."""
        joined = networks.join(members, members.c.network == networks.c.id)
        statement = (
            select(*_NETWORK, members.c.name.label("member_name")).select_from(joined).where(members.c.key == key)
        )
        with self._transaction() as connection:
            rows: list[Any] = list(connection.execute(statement.order_by(networks.c.name)))
        return [(NetworkRecord._make(row[:-1]), row[-1]) for row in rows]

    def evicted_from(self, key: bytes) -> list[NetworkRecord]:
        """The networks whose newest eviction names this node and that it was a member of once."""
        joined = select(*_NETWORK).select_from(networks.join(evicted, evicted.c.network == networks.c.id))
        return self._networks(joined.where(evicted.c.key == key, evicted.c.was_member).order_by(networks.c.name))

    def is_evicted(self, network: int, key: bytes) -> bool:
        """Whether a network's newest eviction names this node."""
        with self._transaction() as connection:
            chosen = (evicted.c.network == network) & (evicted.c.key == key)
            return connection.execute(select(evicted.c.key).where(chosen)).first() is not None

    def owned(self, key: bytes) -> int:
        """How many networks a node owns."""
        with self._transaction() as connection:
            count = connection.execute(select(func.count()).select_from(networks).where(networks.c.owner == key))
            return int(count.scalar_one())

    def create_network(self, record: NetworkRecord, member_name: str, wall: float) -> NetworkRecord:
        """Makes a network (``record.identifier`` is ignored) with its owner, a registered node, as its only member."""
        values = record._asdict()
        del values["identifier"]
        with self._transaction() as connection:
            result = connection.execute(insert(networks).values(**values, created=wall))
            key = result.inserted_primary_key
            assert key is not None
            identifier = int(key[0])
            _insert_member(connection, identifier, record.owner, member_name, wall)
        return record._replace(identifier=identifier)

    def set_locked(self, network: int, locked: bool) -> None:
        """Closes or opens a network to new members."""
        with self._transaction() as connection:
            connection.execute(update(networks).where(networks.c.id == network).values(locked=locked))

    # --- members -----------------------------------------------------------------------------------------------------

    def members(self, network: int) -> list[MemberRecord]:
        """The members of a network, by name."""
        joined = members.join(nodes, nodes.c.key == members.c.key)
        statement = (
            select(members.c.key, members.c.name, nodes.c.ipv4, nodes.c.last_seen)
            .select_from(joined)
            .where(members.c.network == network)
            .order_by(members.c.name)
        )
        with self._transaction() as connection:
            return [MemberRecord._make(row) for row in connection.execute(statement)]

    def is_member(self, network: int, key: bytes) -> bool:
        """Whether a node is a member."""
        with self._transaction() as connection:
            chosen = (members.c.network == network) & (members.c.key == key)
            return connection.execute(select(members.c.key).where(chosen)).first() is not None

    def add_member(self, network: int, key: bytes, name: str, wall: float) -> None:
        """Makes a registered node a member; it applies no more."""
        with self._transaction() as connection:
            connection.execute(delete(applicants).where(applicants.c.network == network, applicants.c.key == key))
            _insert_member(connection, network, key, name, wall)

    def remove_member(self, network: int, key: bytes) -> bool:
        """Ends a membership; True when the network was removed with its last member."""
        with self._transaction() as connection:
            connection.execute(delete(members).where(members.c.network == network, members.c.key == key))
            if connection.execute(select(members.c.key).where(members.c.network == network).limit(1)).first():
                return False
            connection.execute(delete(evictions).where(evictions.c.network == network))
            connection.execute(delete(evicted).where(evicted.c.network == network))
            connection.execute(delete(applicants).where(applicants.c.network == network))
            connection.execute(delete(networks).where(networks.c.id == network))
            return True

    # --- applicants --------------------------------------------------------------------------------------------------

    def applicants(self, network: int) -> list[ApplicantRecord]:
        """Who applied for a network, the first one first."""
        columns = (applicants.c.key, applicants.c.name, applicants.c.since, applicants.c.denied)
        statement = select(*columns).where(applicants.c.network == network).order_by(applicants.c.since, applicants.c.key)
        with self._transaction() as connection:
            return [ApplicantRecord._make(row) for row in connection.execute(statement)]

    def applied(self, key: bytes) -> list[NetworkRecord]:
        """The networks for which a node waits, by name."""
        joined = select(*_NETWORK).select_from(networks.join(applicants, applicants.c.network == networks.c.id))
        return self._networks(joined.where(applicants.c.key == key, ~applicants.c.denied).order_by(networks.c.name))

    def apply(self, network: int, applicant: ApplicantRecord) -> None:
        """Writes an application, or what became of it, in the place of an older one."""
        with self._transaction() as connection:
            connection.execute(delete(applicants).where(applicants.c.network == network, applicants.c.key == applicant.key))
            connection.execute(insert(applicants).values(network=network, **applicant._asdict()))

    def withdraw(self, network: int, key: bytes | None = None) -> None:
        """Deletes an application for a network, or all."""
        statement = delete(applicants).where(applicants.c.network == network)
        with self._transaction() as connection:
            connection.execute(statement if key is None else statement.where(applicants.c.key == key))

    # --- evictions ---------------------------------------------------------------------------------------------------

    def evict(
        self,
        network: int,
        serial: int,
        document: bytes,
        admission_public: bytes,
        attestation: bytes,
        evicted_keys: Sequence[bytes],
    ) -> list[bytes]:
        """Stores an eviction and applies it; returns the keys that were members until now. Applications by another secret end."""
        with self._transaction() as connection:
            chosen = networks.c.id == network
            before = connection.execute(select(networks.c.admission_public).where(chosen)).scalar()
            connection.execute(
                update(networks).where(chosen).values(serial=serial, admission_public=admission_public, attestation=attestation)
            )
            connection.execute(delete(evictions).where(evictions.c.network == network))
            connection.execute(insert(evictions).values(network=network, serial=serial, document=document))
            former = select(evicted.c.key).where(evicted.c.network == network, evicted.c.was_member)
            notified = {bytes(row[0]) for row in connection.execute(former)}
            connection.execute(delete(evicted).where(evicted.c.network == network))
            current = {
                bytes(row[0]) for row in connection.execute(select(members.c.key).where(members.c.network == network))
            }
            keys = list(dict.fromkeys(evicted_keys))
            rows = [{"network": network, "key": key, "was_member": key in current or key in notified} for key in keys]
            if rows:
                connection.execute(insert(evicted), rows)
            listed = select(evicted.c.key).where(evicted.c.network == network)
            connection.execute(delete(members).where(members.c.network == network, members.c.key.in_(listed)))
            void = applicants.c.network == network
            if before is not None and bytes(before) == admission_public:    # the same secret, sealed to more members
                void &= applicants.c.key.in_(listed)
            connection.execute(delete(applicants).where(void))
            return [key for key in keys if key in current]

    def eviction(self, network: int) -> bytes | None:
        """A network's newest eviction document."""
        with self._transaction() as connection:
            row = connection.execute(select(evictions.c.document).where(evictions.c.network == network)).first()
            return None if row is None else bytes(row[0])

    # --- the mediator's own ------------------------------------------------------------------------------------------

    def note(self, name: str) -> bytes | None:
        """A small value of the mediator's own."""
        with self._transaction() as connection:
            row = connection.execute(select(notes.c.value).where(notes.c.name == name)).first()
            return None if row is None else bytes(row[0])

    def set_note(self, name: str, value: bytes) -> None:
        """Stores a small value of the mediator's own."""
        with self._transaction() as connection:
            connection.execute(delete(notes).where(notes.c.name == name))
            connection.execute(insert(notes).values(name=name, value=value))

    def close(self) -> None:
        """Gives up the database."""
        self._engine.dispose()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # --- inside ------------------------------------------------------------------------------------------------------

    def _networks(self, statement: Any) -> list[NetworkRecord]:
        with self._transaction() as connection:
            return [NetworkRecord._make(row) for row in connection.execute(statement)]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._connect() as connection, self._watched(), connection.begin():
                yield connection
        except IntegrityError as error:
            raise DirectoryError(f"the directory refused a contradiction: {plain_reason(error)}") from error
        except SQLAlchemyError as error:
            raise DirectoryError(f"the directory cannot be used: {plain_reason(error)}") from error

    def _connect(self) -> Connection:
        """The connection, made again where it broke; after a failure not before the pause is over."""
        begun = self._clock()
        if begun < self._retry:
            raise DirectoryError(self._lost)
        try:
            with self._watched():
                connection = self._engine.connect()
            self._remember(connection)
            return connection
        except SQLAlchemyError as error:
            ended = self._clock()
            self._retry = ended + PAUSE * (ended - begun)
            self._lost = f"the directory cannot be reached: {plain_reason(error)}"
            raise DirectoryError(self._lost) from error

    def _remember(self, connection: Connection) -> None:
        """Keeps the socket of a server's connection at hand; SQLite has none."""
        driver: Any = connection.connection.driver_connection
        if driver is self._driver or not hasattr(driver, "fileno"):
            return
        if self._socket is not None:
            self._socket.close()
        self._driver = driver
        self._socket = socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM)      # the family is of no matter to shutdown

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """What takes longer than ``SILENCE`` finds its connection ended: the driver has no timeout of its own for an answer."""
        if self._socket is None:
            yield
            return
        timer = Timer(SILENCE, _cut, (self._socket,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):         # it has ended by itself
        connection.shutdown(socket.SHUT_RDWR)


def _node(connection: Connection, key: bytes) -> NodeRecord | None:
    row: Any = connection.execute(select(*_NODE).where(nodes.c.key == key)).first()
    return None if row is None else NodeRecord._make(row)


def _insert_member(connection: Connection, network: int, key: bytes, name: str, wall: float) -> None:
    connection.execute(insert(members).values(network=network, key=key, name=name, joined=wall))
