"""What who reads an exchange's frames asks of who hears it: a topic, or what stands for one."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ingest.contract.events import Event
from ingest.exchanges.candles import Interval


class HearsTickers(Protocol):
    """A ticker's sources, or what stands for them."""

    def heard(self, source: str, /) -> bool:
        """Whether it has said anything."""

    def say(
        self, source: str, mark: int, facts: Mapping[str, str | None], exchange_ns: int | None, now_ns: int, /
    ) -> Sequence[Event]:
        """It brings news."""


class HearsCandles(Protocol):
    """Candles, or what stands for them."""

    def candle(self, heard: Interval, now_ns: int, /) -> Sequence[Event]:
        """An interval's newest state."""
