"""What a running node takes over of a configuration that was read again (SIGHUP), and its bridges, which it starts and starts anew.

::

    keys that changed ── name, keepalive, rates ──────────▶ the core, at once
                      ── the section of a bridge ─────────▶ that bridge: stopped, made anew with it, started; all others go on
                      ── what sockets and tunnels are made with ──▶ one line that names them: they wait for the next start

A bridge that does not start with its new section is started with the one of before, and told of in the log and in the status; at the next
reading it is tried again. While it is between the two, its commands are refused: what they did would be the old one's, and be lost.

Why a bridge is started anew instead of being told what changed: it is the way that every bridge has, and the one that is walked each day.
What it costs are the streams of that bridge alone. One that cannot be started anew says so (``restartable``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks
from twisted.logger import Logger

from userlan.app.foreground import StartError
from userlan.driver.bridge import Bridge, BridgeStore, CommandError
from userlan.node.config import Config, changes

if TYPE_CHECKING:
    from userlan.app.program import NodeProgram

AT_ONCE = frozenset({"name", "tunnel.keepalive", "lan.broadcast_rate", "lan.group_rate", "log.level", "log.format", "log.parts"})
"""Keys that hold at once; the log's have been taken over by who has read the file."""


class Takeover:
    """Of one node's program."""

    _log = Logger()

    def __init__(self, program: NodeProgram) -> None:
        self._program = program
        self._lock = DeferredLock()
        self._wanted: Config | None = None
        self._waiting = ""
        self._refused: dict[str, str] = {}
        self._off: set[str] = set()
        """Bridges that did not start with the section of before either."""

    def told(self) -> list[str]:
        """What of the file does not hold, in lines for people."""
        return [*([self._waiting] if self._waiting else []), *self._refused.values()]

    @inlineCallbacks
    def start_bridges(self) -> Any:
        """Start all of them, in their order; fails with StartError."""
        program = self._program
        for name in program.options.bridges:
            bridge = self._make(name, program.config.bridges[name])
            try:
                yield bridge.start()
            except CommandError as error:
                yield bridge.stop()     # what it has begun; nobody else knows of it
                raise StartError(str(error)) from None
            if program.ending:
                yield bridge.stop()
                return
            program.bridges[name] = bridge
            self._offer(bridge)

    def take(self, config: Config) -> Deferred[Any]:
        """Take over what can be; of those that are read meanwhile the last one follows. A node that is just starting is waited for."""
        self._wanted = config
        taking: Deferred[Any] = self._lock.run(self._follow)
        return taking.addErrback(lambda failure: self._log.failure("the configuration could not be taken over", failure))

    # --- inside ------------------------------------------------------------------------------------------------------

    @inlineCallbacks
    def _follow(self) -> Any:
        program = self._program
        yield program.when_started()
        config, self._wanted = self._wanted, None
        if config is None or program.ending:
            return
        keys = [key for key in changes(program.config, config) if not key.startswith("relay.")]
        taken = [key for key in keys if key in AT_ONCE and (key != "name" or config.name is not None)]
        self._into_core(config)
        refused: dict[str, str] = {}
        restarted = []
        for name, kind in program.options.bridges.items():
            if (name in keys or name in self._off) and getattr(kind, "restartable", True):
                trouble = yield self._restart(name, config.bridges[name])
                if program.ending:
                    return
                if trouble:
                    refused[name] = trouble
                else:
                    restarted.append(name)
        taken += [name for name in restarted if name in keys]
        waiting = [key for key in keys if key not in taken and key not in refused]
        program.config = _with(program.config, config, taken)
        self._refused = refused
        self._waiting = f"{', '.join(waiting)}: changed, taken over at the next start" if waiting else ""
        self._tell(taken or restarted)

    def _tell(self, taken: list[str]) -> None:
        told = f"taken over: {', '.join(taken)}" if taken else "nothing is taken over"
        self._log.info("the configuration was read again; {told}", told=told)
        for line in self.told():
            self._log.warn("{line}", line=line)

    def _into_core(self, config: Config) -> None:
        program = self._program
        node, now = program.node, program.reactor.seconds()
        if config.name is not None and config.name != node.name:
            node.nick(config.name, now)
            node.renamed(config.name)
        node.keep_alive(config.tunnel.keepalive)
        node.flooding.storms.limit(config.lan.broadcast_rate, config.lan.group_rate)
        program.runner.touch()

    @inlineCallbacks
    def _restart(self, name: str, section: Any) -> Any:
        """Why a bridge does not serve by a section, in one line; empty: it does."""
        program = self._program
        self._withhold(program.bridges[name])
        yield program.bridges[name].stop()
        trouble, before = "", program.config.bridges[name]
        for one in (section, before):
            if program.ending:
                return trouble
            bridge = program.bridges[name] = self._make(name, one)
            failed = yield self._try(bridge)
            if program.ending:
                yield bridge.stop()
                return trouble
            if not failed:
                break
            trouble = trouble or failed
            if section == before:
                break
        self._offer(bridge)
        self._off.discard(name)
        if failed:
            self._off.add(name)
        return trouble and f"{name} {'is off' if failed else 'goes on as before'}: {trouble}"

    @inlineCallbacks
    def _try(self, bridge: Bridge) -> Any:
        """Start one; why it does not, else nothing: whatever is wrong with it, the node goes on."""
        try:
            yield bridge.start()
        except CommandError as error:
            yield bridge.stop()
            return str(error)
        except Exception as error:
            self._log.failure("the bridge {name} failed", name=bridge.name)
            yield bridge.stop()
            return f"it failed ({type(error).__name__})"
        return ""

    def _make(self, name: str, section: msgspec.Struct) -> Bridge:
        program = self._program
        return program.options.bridges[name](program.lan, section, BridgeStore(program.folder.path / f"{name}.json"))

    def _offer(self, bridge: Bridge) -> None:
        commands = self._program.commands
        for command, handler in bridge.commands().items():
            commands.register(command, handler)
        for command, streaming in getattr(bridge, "streaming_commands", dict)().items():
            commands.register_streaming(command, streaming)

    def _withhold(self, bridge: Bridge) -> None:
        def refuse(*_: object) -> None:
            raise CommandError(f"{bridge.name} is being started anew: try again in a moment")

        commands = self._program.commands
        for command in bridge.commands():
            commands.register(command, refuse)
        for command in getattr(bridge, "streaming_commands", dict)():
            commands.register_streaming(command, refuse)


def _with(held: Config, read: Config, keys: list[str]) -> Config:
    """What holds, with some keys of what was read."""
    replaced: Any = held
    for key in keys:
        section, _, field = key.partition(".")
        if section in held.bridges:
            replaced = msgspec.structs.replace(replaced, bridges={**replaced.bridges, section: read.bridges[section]})
        elif field:
            part = msgspec.structs.replace(getattr(replaced, section), **{field: getattr(getattr(read, section), field)})
            replaced = msgspec.structs.replace(replaced, **{section: part})
        else:
            replaced = msgspec.structs.replace(replaced, **{section: getattr(read, section)})
    config: Config = replaced
    return config
