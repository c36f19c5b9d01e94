"""Candles whose end the exchange confirms, but perhaps not of an interval without trades."""

from ingest.contract.events import Event
from ingest.exchanges.candles import Interval
from ingest.exchanges.unflagged import UnflaggedCandles, is_closed


class ConfirmedCandles(UnflaggedCandles):
    """One symbol's candles. An interval closes when the exchange says so, on the socket or by REST."""

    def candle(self, heard: Interval, now_ns: int) -> list[Event]:
        """A live one. What is missing before it is fetched: whether anything happened then, it does not tell."""
        latest = self._latest
        news = latest is None or heard.open_ms > latest.open_ms
        if news or (latest and heard.open_ms == latest.open_ms and not is_closed(latest)):
            self._remember(heard)
        return self._candles.candle(heard, now_ns)
