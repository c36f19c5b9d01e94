"""Intervals of candles: how long each is, and when it begins."""

from collections.abc import Mapping
from typing import Final

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000
_MONDAY_MS: Final = 4 * _DAY_MS

INTERVALS: Final[Mapping[str, int]] = {
    "1s": 1_000,
    **{f"{minutes}m": minutes * _MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": hours * 60 * _MINUTE_MS for hours in (1, 2, 4, 6, 8, 12)},
    **{f"{days}d": days * _DAY_MS for days in (1, 3)},
    "1w": 7 * _DAY_MS,
}
"""Those of one length, in ms. They count from 1970, but weeks from a Monday."""


def begin_of(interval: str, ms: int) -> int:
    """When the interval begins in which that millisecond is."""
    shift = _MONDAY_MS if interval == "1w" else 0
    return (ms - shift) // INTERVALS[interval] * INTERVALS[interval] + shift
