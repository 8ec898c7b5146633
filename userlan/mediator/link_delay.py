"""How long a message takes to a member: half of its control link's round trip, the least of the last samples."""

from __future__ import annotations

#: Samples of a link's round trip of which the least counts: a minute of them.
SAMPLES = 6
#: Greatest one-way delay believed, seconds: a member that holds back its Pong must not delay the others' punching.
MAX_ONE_WAY = 1.0
#: Weight of a new, greater minimum (a smaller one counts at once), as RFC 6298's smoothing but quicker.
RISE_GAIN = 0.25


class LinkDelay:
    """One-way delay of one control link, from round trips."""

    __slots__ = ("_samples", "one_way")

    def __init__(self) -> None:
        self._samples: tuple[float, ...] = ()
        #: Seconds; None before the first sample.
        self.one_way: float | None = None

    def sample(self, round_trip: float) -> None:
        """Takes one round trip in seconds."""
        self._samples = (*self._samples[1 - SAMPLES :], max(0.0, round_trip))
        least = min(min(self._samples) / 2, MAX_ONE_WAY)
        if self.one_way is None or least < self.one_way:
            self.one_way = least
        else:
            self.one_way += RISE_GAIN * (least - self.one_way)

    @property
    def jitter(self) -> float:
        """By how much a message may come later than ``one_way`` says, seconds, as the last samples have it."""
        spread = (max(self._samples) - min(self._samples)) / 2 if self._samples else 0.0
        return min(spread, MAX_ONE_WAY)
