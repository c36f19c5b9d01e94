"""How much memory is left, and how far back a cut has to go."""

import math
from collections.abc import Sequence
from typing import NamedTuple

MARGIN = 0.01
"""Of the budget: a cut goes so far below the hard cap, so that not every round has to cut."""

_SURE_AFTER_S = 30.0
_JUMP_S = 5.0


class Memory(NamedTuple):
    """In bytes; a budget of 0 is none."""

    used: int
    data: int
    """What of that is data."""
    budget: int

    def above(self, share: float) -> bool:
        """Whether more than this share of the budget is used."""
        return self.budget > 0 and self.used > share * self.budget


class Span(NamedTuple):
    """What one stream holds."""

    bytes: int
    first_ms: int
    end_ms: int
    """Behind the last entry."""


def until_ms(spans: Sequence[Span], share: float) -> int:
    """The time before which that share of all bytes was written, if each stream grew evenly."""
    wanted = share * sum(span.bytes for span in spans)
    low, high = min(span.first_ms for span in spans), max(span.end_ms for span in spans)
    while low < high:
        middle = (low + high) // 2
        if sum(_before(span, middle) for span in spans) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def _before(span: Span, time_ms: int) -> float:
    share = (time_ms - span.first_ms) / (span.end_ms - span.first_ms)
    return span.bytes * min(1.0, max(0.0, share))


class Watch:
    """Whether Redis has been seen for long enough, without a break, to tell who is dead.

    After Redis or the whole machine was away, or its clock was put on, every group looks as if it had not read for
    long. All are to have time to show themselves.
    """

    def __init__(self, dead_after_s: float) -> None:
        self._enough_s = min(dead_after_s, _SURE_AFTER_S)
        self._since_s = self._newest_s = math.inf
        self._ahead_s = math.nan

    def look(self, redis_s: float, monotonic_s: float) -> None:
        """Redis answers: its clock and ours, at about the same time."""
        ahead_s = redis_s - monotonic_s
        if not abs(ahead_s - self._ahead_s) <= _JUMP_S:
            self._since_s = monotonic_s
        self._ahead_s = ahead_s
        self._newest_s = monotonic_s

    def lose(self) -> None:
        """Redis does not answer."""
        self._since_s = self._newest_s = math.inf
        self._ahead_s = math.nan

    @property
    def sure(self) -> bool:
        """Whether who looks dead is dead."""
        return self._newest_s - self._since_s >= self._enough_s  # inf - inf is nan, and no more than anything
