"""What the C library does with freed memory: asked to keep it, where a process takes and frees megabytes in every turn of its loop.

A relay copies each buffer that it forwards, up to 1 MB a turn, and frees all of it once it has been sent. glibc gives the top of its heap
back to the kernel beyond 128 KB, so that every turn begins with page faults: they took a third of the relay's time.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD = -1, -2
"""mallopt(3): freed octets at the top of the heap that are kept, and those asked for beyond what is needed."""


def keep_freed(octets: int) -> bool:
    """Keep up to ``octets`` of freed memory for later; whether the C library can be asked for that."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, octets) and mallopt(_TOP_PAD, octets // 8))
