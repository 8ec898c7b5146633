"""Notices on the desktop: who wrote, who sends a file, who asks to be let in.

::

    chat, files ── Notices.of(lan).tell(kind, title, text, subject) ──▶ waiting, one for each subject ──▶ Desktop (``desktop``)
                                   .withdraw(subject)              ──▶ closed
    the node itself ── lan.tell_news(…) ──▶ the same

Members write what is shown and decide how often: so a subject (a conversation, an offer) has one notice, which is replaced by "3 messages;
the last: …" when more comes; there are few in a short time, and what comes beyond is told together; texts are cut and without control
characters. Programs that show them run one at a time, for some seconds at the most. What the desktop does not take is not kept: it is all
to be seen on the page and by the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import attrs
import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from bridges.desktop import Desktop, DesktopError, find
from userlan.driver.bridge import BridgeStore, CommandHandler
from userlan.driver.lan import Lan, PeerInfo

MAX_TITLE, MAX_TEXT = 80, 240
"""Characters that are shown: two lines and some; desktops cut where they like."""
MAX_SUBJECTS = 64
"""Subjects that are remembered: nobody has more notices open; the oldest is forgotten for a new one."""
SUBJECT_GAP = 3.0
"""Seconds between two notices of one subject: who writes in short lines is told together."""
BURST, REFILL = 4, 5.0
"""Notices at once, and the seconds in which one more may be shown."""
MAX_SINGLE = 3
"""Subjects that wait and are still told one by one; more are told in one notice."""
PAUSE = 60.0
"""Seconds of quiet after the desktop has refused one: a session that ends, a server of notices that is not there."""
SETTLING = 30.0
"""Seconds after the start in which members who are reached are not told to have come: they were there before."""
MAX_ONLINE = 4096
"""Members that are remembered as reached: as many as a roster has at the most."""

NOUNS = {"chat": ("message", "messages"), "file": ("file", "files"), "member": ("request", "requests"), "online": ("member", "members")}
"""What is counted, of kinds."""
KEPT_FORMATS = "\u200d"
"""Of the characters that are not printable: what joins emoji."""


class NoticesOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``notices``."""

    enabled: bool = True
    chat: bool = True
    """Of messages that are not read at once."""
    files: bool = True
    """Of files that are offered."""
    applicants: bool = True
    """Of who asks to be let into a network of one's own."""
    members: bool = False
    """Of members who come online."""

    def wants(self, kind: str) -> bool:
        """Whether notices of this kind are shown."""
        switches = {"chat": self.chat, "file": self.files, "member": self.applicants, "online": self.members}
        return self.enabled and switches.get(kind, True)


@attrs.define(eq=False)
class _Subject:
    """What is known of one subject: what was said last, how often, and the notice that shows it."""

    kind: str
    title: str
    text: str
    count: int = 0
    waiting: bool = False
    not_before: float = 0.0
    handle: int = 0

    def body(self) -> str:
        """The last text, and how many there were."""
        if self.count < 2:
            return self.text
        return f"{counted(self.kind, self.count)}; the last: {self.text}"


class Notices:
    """Where other bridges say what the person in front of this computer may want to know; one for each Lan."""

    _all: ClassVar[WeakKeyDictionary[Lan, Notices]] = WeakKeyDictionary()
    _log = Logger()

    def __init__(self, clock: Any) -> None:
        """``clock``: seconds and calls later (IReactorTime)."""
        self._clock = clock
        self._desktop: Desktop | None = None
        self._options = NoticesOptions()
        self._subjects: dict[str, _Subject] = {}
        self._digest: set[str] = set()
        """The subjects that the notice of many stands for."""
        self._digest_handle = 0
        self._closing: list[int] = []
        self._tokens, self._counted_at = float(BURST), 0.0
        self._quiet_until = float("-inf")
        self._busy = False
        self._call: Any = None

    @classmethod
    def of(cls, lan: Lan) -> Notices:
        """The one of this Lan."""
        found = cls._all.get(lan)
        if found is None:
            found = cls._all[lan] = cls(lan.reactor)
        return found

    def attach(self, desktop: Desktop | None, options: NoticesOptions) -> None:
        """From now on notices are shown there; None: nowhere any more."""
        self._desktop, self._options = desktop, options
        if desktop is None:
            self._subjects.clear()
            self._digest.clear()
            self._closing.clear()
            if self._call is not None:
                self._call.cancel()
                self._call = None

    def tell(self, kind: str, title: str, text: str, subject: str = "", total: int = 0) -> None:
        """``kind``: ``chat``, ``file``, ``member`` (asks to be let in) or ``online``; ``title`` and ``text``: plain text, of peers, to be
        taken for nothing else; ``subject``: what ``withdraw`` names, and what belongs together; ``total``: of how many of that subject
        this is the last, where one call stands for several."""
        if self._desktop is None or not self._options.wants(kind) or self._clock.seconds() < self._quiet_until:
            return
        subject = subject or f"{kind} {title}"
        known = self._subjects.pop(subject, None)
        if known is None:
            if len(self._subjects) >= MAX_SUBJECTS:
                self._subjects.pop(next(iter(self._subjects)))
            known = _Subject(kind, "", "")
        known.kind, known.title, known.text = kind, shown(title, MAX_TITLE), shown(text, MAX_TEXT)
        known.count = max(known.count + 1, total)
        known.waiting = True
        self._subjects[subject] = known
        self._go_on()

    def withdraw(self, subject: str) -> None:
        """It has been seen."""
        known = self._subjects.pop(subject, None)
        if known is not None and known.handle:
            self._closing.append(known.handle)
        if subject in self._digest:
            self._digest.discard(subject)
            if not self._digest and self._digest_handle:
                self._closing.append(self._digest_handle)
                self._digest_handle = 0
        self._go_on()

    # --- inside ------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what can be done now, one thing at a time; else wait for it."""
        if self._busy or self._desktop is None:
            return
        if self._closing:
            self._begin(self._desktop.close(self._closing.pop(0)), None)
            return
        now = self._clock.seconds()
        waiting = {name: known for name, known in self._subjects.items() if known.waiting}
        due = {name: known for name, known in waiting.items() if known.not_before <= now}
        if due and self._take_token(now):
            self._show(due, now)
        elif waiting and self._call is None:
            soonest = min(known.not_before for known in waiting.values()) - now
            refilled = (1 - self._tokens) * REFILL
            self._call = self._clock.callLater(max(soonest, refilled, 0.05), self._called)

    def _called(self) -> None:
        self._call = None
        self._go_on()

    def _take_token(self, now: float) -> bool:
        self._tokens = min(float(BURST), self._tokens + (now - self._counted_at) / REFILL)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _show(self, due: Mapping[str, _Subject], now: float) -> None:
        desktop = self._desktop
        assert desktop is not None
        if len(due) > MAX_SINGLE:
            for known in due.values():
                known.waiting, known.not_before = False, now + SUBJECT_GAP
            self._digest |= due.keys()
            self._digest &= self._subjects.keys()
            told = [self._subjects[name] for name in self._subjects if name in self._digest]
            self._begin(desktop.show("", "userlan", summary(told), self._digest_handle), self._digest_shown)
            return
        known = next(iter(due.values()))
        known.waiting, known.not_before = False, now + SUBJECT_GAP

        def was_shown(handle: int) -> None:
            known.handle = handle
            if handle and known not in self._subjects.values():     # withdrawn while it was shown
                self._closing.append(handle)

        self._begin(desktop.show(known.kind, known.title, known.body(), known.handle), was_shown)

    def _digest_shown(self, handle: int) -> None:
        self._digest_handle = handle
        if handle and not self._digest:
            self._closing.append(handle)
            self._digest_handle = 0

    def _begin(self, done: Deferred[Any], then: Callable[[int], None] | None) -> None:
        self._busy = True

        def ended(result: Any) -> None:
            self._busy = False
            if then is not None:
                then(result)

        def refused(failure: Any) -> None:
            self._busy = False
            failure.trap(DesktopError)
            self._log.info("the desktop shows no notices for now: {error}", error=failure.value)
            self._quiet_until = self._clock.seconds() + PAUSE
            self._subjects.clear()
            self._digest.clear()
            self._closing.clear()

        done.addCallbacks(ended, refused)
        done.addErrback(lambda failure: self._log.failure("a notice could not be shown", failure))
        done.addBoth(lambda _: self._go_on())


class NoticesBridge:
    """The bridge ``notices``."""

    name: ClassVar[str] = "notices"
    Options: ClassVar[type[msgspec.Struct]] = NoticesOptions

    def __init__(self, lan: Lan, options: NoticesOptions, store: BridgeStore, environment: Mapping[str, str] | None = None) -> None:
        """The store is not used. ``environment``: in which the session is found; None: this process's own."""
        self.options = options
        self._lan = lan
        self._environment = os.environ if environment is None else environment
        self._desktop: Desktop | None = None
        self._online: set[str] = set()
        self._settled = 0.0
        self._ends: list[Callable[[], object]] = []

    def start(self) -> Deferred[None]:
        """Look for a desktop."""
        self._desktop = find(self._lan.reactor, self._environment) if self.options.enabled else None
        notices = Notices.of(self._lan)
        notices.attach(self._desktop, self.options)
        if self._desktop is not None:
            self._settled = self._lan.reactor.seconds() + SETTLING
            self._ends = [self._lan.observe_news(notices.tell, notices.withdraw)]
            if self.options.members:
                self._ends += [self._lan.observe_reached(self._reached), self._lan.observe_lost(self._lost)]
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Show nothing any more. Idempotent."""
        for end in self._ends:
            end()
        self._ends = []
        Notices.of(self._lan).attach(None, self.options)
        return succeed(None)

    def status(self) -> object:
        """Nothing that one would look for there."""
        return None

    def diagnosis(self, peer: PeerInfo | None) -> dict[str, object]:
        """Where they are shown; None: nowhere."""
        return {"enabled": self.options.enabled, "desktop": None if self._desktop is None else self._desktop.name}

    def commands(self) -> Mapping[str, CommandHandler]:
        """None."""
        return {}

    def _reached(self, peer: PeerInfo) -> None:
        if peer.key in self._online:
            return
        if len(self._online) >= MAX_ONLINE:
            self._online.clear()
        self._online.add(peer.key)
        if self._lan.reactor.seconds() >= self._settled:
            Notices.of(self._lan).tell("online", peer.name, "is online", f"online {peer.key}")

    def _lost(self, peer: PeerInfo) -> None:
        self._online.discard(peer.key)
        Notices.of(self._lan).withdraw(f"online {peer.key}")


def shown(text: str, limit: int) -> str:
    """Somebody else's text in one line of at most ``limit`` characters, without what controls anything or turns its direction."""
    line = " ".join(text[: 4 * limit].split())
    line = "".join(character for character in line if character.isprintable() or character in KEPT_FORMATS)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def counted(kind: str, count: int) -> str:
    """``3 messages``."""
    one, many = NOUNS.get(kind, ("notice", "notices"))
    return f"{count} {one if count == 1 else many}"


def summary(told: list[_Subject]) -> str:
    """``5 messages, 2 files: anna, ben and 2 others``."""
    counts: dict[str, int] = {}
    for known in told:
        counts[known.kind] = counts.get(known.kind, 0) + known.count
    names = list(dict.fromkeys(known.title for known in told))
    others = f" and {len(names) - 3} other{'s' if len(names) > 4 else ''}" if len(names) > 3 else ""
    what = ", ".join(counted(kind, count) for kind, count in counts.items())
    return shown(f"{what}: {', '.join(names[:3])}{others}", MAX_TEXT)
