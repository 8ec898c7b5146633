"""Congestion control: one interface (:mod:`.control`), one file for each algorithm, chosen by name for each connection.

========== ============================== ==========================================================
``newreno`` RFC 5681, RFC 6582             halves, and grows by a segment a round trip
``cubic``   RFC 9438 (the default)         keeps 0.7, and grows by a cubic function of time
========== ============================== ==========================================================

Both with HyStart++ (RFC 9406, :mod:`.hystart`). Another one is another subclass of ``CongestionControl`` in ``ALGORITHMS``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from userlan.stack.tcp.congestion.control import CongestionControl
from userlan.stack.tcp.congestion.cubic import Cubic
from userlan.stack.tcp.congestion.newreno import NewReno

__all__ = ["ALGORITHMS", "CongestionControl", "Cubic", "NewReno"]

ALGORITHMS: Final[dict[str, Callable[[int, int], CongestionControl]]] = {"newreno": NewReno, "cubic": Cubic}
"""By the names that ``Config.congestion`` may have; called with segment (octets) and initial window (segments)."""
