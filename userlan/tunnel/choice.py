"""Which suite the next initiation to a peer is in.

    ciphers unknown, or without AES      WireGuard's own, always
    it takes AES, as we do               no session: WireGuard's own, which everybody answers
                                         beside a session: AES; unanswered, the next is WireGuard's own, then AES again

So a session that is up in WireGuard's suite is renewed in the better one while it goes on carrying packets, and a peer that takes AES
no longer (an older program, another computer) costs nobody a packet or a second. An attacker who drops the messages in AES only keeps
WireGuard's suite, which is as strong. Why not AES at once with a peer that is known to take it: the first handshake is the one that
somebody waits for, and its answer must not depend on what was true at the last start; the second one costs 0.5 ms.
"""

from __future__ import annotations

from collections.abc import Iterable

from userlan.tunnel.constants import AES_REFUSALS
from userlan.tunnel.suites import AES_256_GCM, CHACHA20_POLY1305, Suite


class SuiteChoice:
    """For one peer. aes: we take AES-256-GCM. ciphers: what the peer takes beside ChaCha20-Poly1305, None: unknown."""

    __slots__ = ("_aes", "_asked", "_refusals", "ciphers")

    def __init__(self, aes: bool) -> None:
        self.ciphers: tuple[str, ...] | None = None
        self._aes = aes
        self._asked = False    # the last initiation was in AES, and no handshake has completed since
        self._refusals = 0

    @property
    def best(self) -> Suite:
        """The suite that sessions shall be in."""
        return AES_256_GCM if self._aes and self.ciphers is not None and AES_256_GCM.name in self.ciphers else CHACHA20_POLY1305

    def told(self, ciphers: Iterable[str]) -> None:
        """The peer says what it takes, in words or by an initiation; what we do not know is left out."""
        self.ciphers = (AES_256_GCM.name,) if AES_256_GCM.name in ciphers else ()
        self._refusals = 0

    def ask(self, beside_session: bool) -> Suite:
        """The suite of an initiation that leaves now. beside_session: there is a session that can carry packets meanwhile."""
        suite = self.best if beside_session and not self._asked else CHACHA20_POLY1305
        self._asked = suite is AES_256_GCM
        return suite

    def established(self, suite: Suite, overtaken: bool) -> bool:
        """A handshake completed. overtaken: by our initiation in this suite, while an earlier one in AES goes unanswered.

        True when that happened so often that what the peer said is doubted: it is unknown from now on.
        """
        self._asked = False
        if suite is AES_256_GCM:
            self._refusals = 0
        self._refusals += overtaken
        if self._refusals < AES_REFUSALS:
            return False
        self._refusals = 0
        self.ciphers = None
        return True
