"""Numbers and times as exchanges write them."""

from datetime import UTC, datetime
from typing import Final, Protocol

US: Final = 1_000
MS: Final = 1_000_000


class Texts(Protocol):
    """Writes what is traded, which is counted in ticks and lots."""

    def price(self, ticks: int) -> str:
        """So many ticks."""

    def amount(self, lots: int) -> str:
        """So many lots."""


def short(number: str) -> str:
    """A number with a point, without the zeros at its end that say nothing."""
    return number.rstrip("0").rstrip(".")


def at(ns: int) -> str:
    """`2026-11-22T08:15:30.123456Z`"""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // US:06d}Z"
