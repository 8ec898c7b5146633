"""Guests: computers with an ordinary WireGuard program, in the LAN through this node.

::

    phone, WireGuard's app ── stock tunnel ──▶ companion ── tunnels ── members        a member of its own: own key, own address
                                                  ▲ child process (``bridges.guest_process``)
                            userlan guest add ──▶ node

Each guest has a companion (``userlan.app.companions``): a further node beside this one, in a process of its own, that is in this node's
networks, or in some of them, and gives its addresses to the guest (``bridges.guest_seat``). So peers see a member like any other, reach
whatever the guest offers, may block or evict it, and nothing of the guest's passes through this node's own services. No bridge to this
computer's programs runs in a companion.

Companions come up with the node and end with it. A guest that is removed leaves its networks first; where its mediator is away, that is
made up for later, while its keys are forgotten at once.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, gatherResults, inlineCallbacks, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from bridges import guest_record
from bridges.guest_process import STOP_PATIENCE, GuestProcess, running
from bridges.guest_record import Record
from bridges.guest_seat import GuestSeatBridge
from userlan.driver.bridge import BridgeStore, CommandError, CommandHandler
from userlan.driver.guest import LEAST_MTU, guest_keys
from userlan.driver.lan import Lan
from userlan.lan.names import check_nick

MAX_GUESTS = 32
"""Each costs a process with the memory of a small node."""
START_PATIENCE, START_POLL = 30.0, 0.1
"""Seconds in which a new companion must have its address, and between two looks."""
MEASURING_PATIENCE = 6.0
"""Seconds more in which its router must have been asked and its NAT measured, before the next best endpoint is named."""
LEAVE_PATIENCE = 8.0
"""Seconds in which a guest that is removed should have left its networks before the answer says that it has not yet."""
END_PATIENCE = STOP_PATIENCE + 2.0
"""Seconds more in which the process of one that has left must be gone, and all that was kept of it."""
START_SPACING = 0.3
"""Seconds between the starts of two companions."""


class GuestsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``guests``."""


class _Arguments(msgspec.Struct):
    name: str
    networks: tuple[str, ...] = ()
    endpoint: str = ""
    mtu: int = LEAST_MTU
    dns: bool = True


class GuestsBridge:
    """The bridge ``guests``."""

    name: ClassVar[str] = "guests"
    Options: ClassVar[type[msgspec.Struct]] = GuestsOptions
    companion: ClassVar[type[GuestSeatBridge]] = GuestSeatBridge
    """What it is in a companion's process."""
    _log = Logger()

    def __init__(self, lan: Lan, options: GuestsOptions, store: BridgeStore) -> None:
        self.options = options
        self._lan = lan
        self._state = store.path.parent
        self._records: dict[str, Record] = {}
        self._processes: dict[str, GuestProcess] = {}
        self._unobserve = _nothing

    def start(self) -> Deferred[None]:
        """Start the companions that there are; nothing is waited for."""
        if self._lan.companions is not None:
            self._unobserve = self._lan.observe(self._members_changed)
            for number, record in enumerate(guest_record.kept(self._state, self._warn)):
                self._records[record.name] = record
                self._run(record, START_SPACING * number)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End all companions. Idempotent."""
        self._unobserve()
        self._unobserve = _nothing
        processes, self._processes = self._processes, {}
        return gatherResults([process.stop() for process in processes.values()]).addCallback(_none)

    def status(self) -> object:
        """The guests; None where there are none."""
        return list(self._rows()) or None

    def commands(self) -> Mapping[str, CommandHandler]:
        """``guest-add``, ``guest-show``, ``guest-list``, ``guest-remove``."""
        return {
            "guest-add": self._add,
            "guest-show": lambda arguments: self._described(self._named(arguments)),
            "guest-list": lambda arguments: {"guests": list(self._rows())},
            "guest-remove": self._remove,
        }

    # --- commands ----------------------------------------------------------------------------------------------------

    @inlineCallbacks
    def _add(self, arguments: dict[str, object]) -> Any:
        record = self._new(arguments)
        guest_record.save(self._folder(record.name), record)
        self._records[record.name] = record
        self._run(record)
        try:
            yield self._ready(record.name)
        except (CommandError, CancelledError):
            if not self._records.get(record.name, record).removed:      # else it leaves its networks first
                yield self._forget(record.name)
            raise
        return self._described(record)

    def _new(self, arguments: dict[str, object]) -> Record:
        """The record of a guest that may be. Raises CommandError."""
        try:
            asked = msgspec.convert(arguments, _Arguments)
            name = check_nick(asked.name)
            if asked.endpoint:
                guest_record.split_endpoint(asked.endpoint)
        except (msgspec.ValidationError, ValueError) as error:
            raise CommandError(f"wrong arguments: {error}") from None
        if self._lan.companions is None:
            raise CommandError("this node is part of another program, which takes in no guests")
        if name in self._records:
            again = "is being removed: wait a moment" if self._records[name].removed else f"is a guest already: `userlan guest show {name}`"
            raise CommandError(f"{name} {again}")
        if len(self._records) >= MAX_GUESTS:
            raise CommandError(f"there are {MAX_GUESTS} guests already, and each is a process: `userlan guest remove` one")
        own = self._lan.own()
        if name in {own.name, own.called, *(member.name for member in self._lan.members())}:
            raise CommandError(f"a member is called {name} already")
        invites = self._lan.companions.invites()
        if not invites:
            raise CommandError("this node is in no network: `userlan create` or `userlan join` first")
        unknown = [network for network in asked.networks if network not in invites]
        if unknown:
            raise CommandError(f"this node is in no network {unknown[0]!r} (it is in: {', '.join(sorted(invites))})")
        most = self._lan.mtu
        if not LEAST_MTU <= asked.mtu <= most:
            raise CommandError(f"the MTU of a guest is {LEAST_MTU} to {most} octets")
        keys = guest_keys(os.urandom)
        port = guest_record.free_port({record.port for record in self._records.values()})
        return Record(name, port, keys.private, keys.public, keys.preshared, asked.mtu, asked.networks, asked.endpoint, asked.dns)

    @inlineCallbacks
    def _ready(self, name: str) -> Any:
        """The companion has its address, and knows where it is reached. Fails with CommandError."""
        give_up = self._lan.reactor.seconds() + START_PATIENCE
        settled = None
        while True:
            process = self._processes.get(name)
            if process is None or self._records[name].removed:
                raise CommandError(f"{name} was removed, or the node is about to end")
            now, told = self._lan.reactor.seconds(), process.told
            if running(told) and (told["networks"] or told["waiting"]):
                settled = settled or now + MEASURING_PATIENCE
                if now >= settled or self._records[name].endpoint or told["measured"]:
                    return
            elif process.deaths > 1 or now >= give_up:
                why = process.trouble or "; ".join(told.get("trouble", {}).values()) or "its mediator does not answer"
                raise CommandError(f"{name} did not come up: {why}")
            yield deferLater(self._lan.reactor, START_POLL)

    @inlineCallbacks
    def _remove(self, arguments: dict[str, object]) -> Any:
        record = self._named(arguments)
        record = Record(record.name, record.port, removed=True)
        guest_record.save(self._folder(record.name), record)
        self._records[record.name] = record
        self._order(record.name, {})
        name, give_up = record.name, self._lan.reactor.seconds() + LEAVE_PATIENCE
        while name in self._records and self._lan.reactor.seconds() < give_up + (0.0 if name in self._processes else END_PATIENCE):
            yield deferLater(self._lan.reactor, START_POLL)
        return {"name": name, "left": name not in self._records}

    def _named(self, arguments: dict[str, object]) -> Record:
        record = self._records.get(str(arguments.get("name") or "").lower())
        if record is None or record.removed:
            known = ", ".join(sorted(name for name, one in self._records.items() if not one.removed)) or "none"
            raise CommandError(f"there is no guest {arguments.get('name')!r} (there are: {known})")
        return record

    def _described(self, record: Record) -> dict[str, Any]:
        """What ``guest add`` and ``guest show`` print. Raises CommandError."""
        process = self._processes.get(record.name)
        if process is None:
            raise CommandError(f"{record.name} is being removed, or the node is about to end")
        told = process.told
        if not running(told):
            raise CommandError(f"{record.name} is not up: {process.trouble or 'it is starting'}")
        key = base64.b64encode(base64.urlsafe_b64decode(told["key"] + "=")).decode()
        end, endpoint = told.get("end") or {}, guest_record.endpoint_of(record, told)
        if endpoint != record.shown:
            record = self._records[record.name] = msgspec.structs.replace(record, shown=endpoint)
            guest_record.save(self._folder(record.name), record)
        return {
            **self._row(record),
            "config": guest_record.configuration(record, told, key),
            "configured_endpoint": endpoint,
            "reach": "given" if record.endpoint else end.get("kind", ""),
            "sure": bool(record.endpoint) or bool(end.get("sure")),
            "port": record.port,
        }

    # --- companions --------------------------------------------------------------------------------------------------

    def _folder(self, name: str) -> Any:
        return self._state / guest_record.FOLDER / name

    def _run(self, record: Record, delay: float = 0.0) -> None:
        companions = self._lan.companions
        if companions is not None:
            folder, name = self._folder(record.name), record.name
            command = companions.command(folder, record.port)
            self._processes[name] = GuestProcess(self._lan.reactor, folder, command, lambda: self._told(name))
            self._order(name, companions.invites())
            self._processes[name].start(delay)

    def _order(self, name: str, invites: Mapping[str, str]) -> None:
        """Tell a companion in which networks it is to be."""
        process, record = self._processes.get(name), self._records[name]
        if process is not None and record.removed:
            process.order({"leave": True})
        elif process is not None:
            process.order({"networks": {one: invite for one, invite in invites.items() if not record.networks or one in record.networks}})

    def _members_changed(self) -> None:
        companions = self._lan.companions
        if self._records and companions is not None:
            invites = companions.invites()
            for name in self._records:
                self._order(name, invites)

    def _told(self, name: str) -> None:
        process, companions = self._processes.get(name), self._lan.companions
        if process is not None and companions is not None and process.told:
            companions.ours.add(process.told["key"])
        if process is not None and process.told.get("left"):
            self._forget(name).addErrback(lambda failure: self._log.failure("a guest could not be removed", failure))

    @inlineCallbacks
    def _forget(self, name: str) -> Any:
        """End a companion, and remove all that is kept of it."""
        process = self._processes.pop(name, None)
        if process is not None:
            yield process.stop()
            with suppress(FileNotFoundError):
                shutil.rmtree(self._folder(name))
            self._records.pop(name, None)

    # --- what is shown -----------------------------------------------------------------------------------------------

    def _rows(self) -> Iterator[dict[str, Any]]:
        return (self._row(record) for _, record in sorted(self._records.items()) if not record.removed)

    def _row(self, record: Record) -> dict[str, Any]:
        process = self._processes.get(record.name)
        told: Mapping[str, Any] = process.told if process is not None else {}
        seat = (told.get("bridges") or {}).get(self.name) or {}
        troubles = [f"{network}: {why}" for network, why in told.get("trouble", {}).items()]
        endpoint = guest_record.endpoint_of(record, told)
        if endpoint and record.shown and endpoint != record.shown:
            troubles.append(f"its configuration says {record.shown}, and it would be reached at {endpoint} now")
        state = "online" if seat.get("online") else "offline" if running(told) else "starting" if not _trouble(process) else "failed"
        return {
            "name": record.name,
            "text": f"{record.name} ({state})",
            "state": state,
            "ipv4": _bare(told.get("ipv4")),
            "ipv6": _bare(told.get("ipv6")),
            "key": told.get("key"),
            "networks": told.get("networks", []),
            "endpoint": seat.get("endpoint"),
            "handshake": seat.get("handshake"),
            "rx_bytes": seat.get("rx_bytes", 0),
            "tx_bytes": seat.get("tx_bytes", 0),
            "port": record.port,
            "pid": process.pid if process is not None else None,
            "trouble": _trouble(process) or "; ".join(troubles) or None,
            "counters": seat.get("counters", {}),
        }

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)


def _trouble(process: GuestProcess | None) -> str:
    return process.trouble if process is not None else ""


def _bare(address: Any) -> str | None:
    return str(address).partition("/")[0] if address else None


def _nothing() -> None:
    """Nobody is observed."""


def _none(_: object) -> None:
    """For a Deferred without a value."""
