"""Whether this computer seals faster with AES-256-GCM than with ChaCha20-Poly1305: measured, not looked up.

Why: what the processor says of itself (``/proc/cpuinfo``) is there on Linux only, names the instructions but not whether the library in
use was built with them, and is wrong in some virtual machines. Sealing a few bursts with each tells what is asked: 0.6 ms where there
are the instructions, 3.5 ms on the same processor without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from userlan.tunnel.primitives import CipherMaker
from userlan.tunnel.suites import AES_256_GCM, CHACHA20_POLY1305

DATAGRAM = 1420
"""Octets of one message: the tunnel's usual one, so that the costs of each call count as they will."""
MESSAGES = 46
"""Messages of a round: 64 KB, one burst."""
ROUNDS = 3
"""Rounds of each, by turns; the best counts, since everything that interrupts makes a round longer."""
ADVANTAGE = 1.2
"""How many times faster AES must be: below that it is not worth a second handshake."""


def aes_pays(clock: Callable[[], float] = time.perf_counter) -> bool:
    """Whether AES-256-GCM is the better choice here. ``clock``: seconds. About 1 ms."""
    best = {suite.name: float("inf") for suite in (CHACHA20_POLY1305, AES_256_GCM)}
    for _ in range(ROUNDS):
        for suite in (CHACHA20_POLY1305, AES_256_GCM):
            best[suite.name] = min(best[suite.name], _round(suite.cipher, clock))
    return best[AES_256_GCM.name] * ADVANTAGE < best[CHACHA20_POLY1305.name]


def _round(maker: CipherMaker, clock: Callable[[], float]) -> float:
    """Seconds that sealing a burst takes; its key is thrown away and its text is zero, so nonces do not matter."""
    encrypt, nonce, text = maker(bytes(32)).encrypt, bytes(12), bytes(DATAGRAM)
    began = clock()
    for _ in range(MESSAGES):
        encrypt(nonce, text, None)
    return clock() - began
