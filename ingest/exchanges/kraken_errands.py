"""What Kraken is asked by REST, and what its answers mean to who wanted them."""

from collections.abc import Mapping, Sequence

import msgspec

from ingest.contract.keys import StreamKey
from ingest.exchanges.by_time import Timed
from ingest.exchanges.exchange import NEVER, Fetch, FetchFailed, Instrument, Output
from ingest.exchanges.kraken_feeds import INTERVALS
from ingest.exchanges.kraken_readers import Trades
from ingest.exchanges.kraken_rest import Refusal, digits_of, legacy, past_candles, past_trades
from ingest.exchanges.unflagged import UnflaggedCandles

_SLOWER_NS = 10_000_000_000
_TRADES_LIMIT = 1_000
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError)
"""What bytes that make no sense may raise."""


class Errands:
    """The questions of one conversation."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = instruments
        self._asked: dict[str, Fetch] = {}
        self._again: dict[str, int] = {}

    def due(self) -> int:
        """When a question is to be asked again."""
        return min(self._again.values(), default=NEVER)

    def again(self, now_ns: int) -> list[Fetch]:
        """Those that were asked too early, and may be asked now."""
        ready = [tag for tag, at_ns in self._again.items() if at_ns <= now_ns]
        for tag in ready:
            del self._again[tag]
        return [self._asked[tag] for tag in ready]

    def forget(self, key: StreamKey) -> None:
        """The stream is let go."""
        self._again.pop(_tag(key), None)

    def trades(self, key: StreamKey, reader: Trades, first: int | None) -> Fetch:
        """Ask for a page that has this id; without one, for the newest."""
        reader.wanted = first
        since = None if first is None else reader.pages.since(first)
        about: tuple[tuple[str, str], ...] = (("count", str(_TRADES_LIMIT)),)
        if since is not None:
            about = (("since", str(since)), *about)
        return self._fetch(key, "/0/public/Trades", about)

    def candles(self, key: StreamKey, from_ms: int) -> Fetch:
        """Ask for the candles from this time on."""
        minutes = INTERVALS[key.interval or ""]
        # Whether `since` is included is not said: one interval more is no harm.
        since = max(0, from_ms // 1000 - minutes * 60)
        return self._fetch(key, "/0/public/OHLC", (("interval", str(minutes)), ("since", str(since))))

    def _fetch(self, key: StreamKey, path: str, about: tuple[tuple[str, str], ...]) -> Fetch:
        tag = _tag(key)
        self._asked[tag] = Fetch(path, (("pair", legacy(self._instruments[key.symbol].native)), *about), 1, tag)
        return self._asked[tag]

    def backfill(self, key: StreamKey, reader: Trades, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Output]:
        """A page of trades has come, or none."""
        try:
            rows = past_trades(_body(answer), digits_of(self._instruments[key.symbol].tick_size), now_ns)
        except UNREADABLE as bad:
            return () if self._slower(key, bad, now_ns) else reader.topic.failed(f"REST: {bad}"[:256], now_ns)
        first = reader.wanted
        if first is None:
            return reader.topic.fetched([(trade_id, trade) for trade_id, _, trade in rows], now_ns)
        if not reader.pages.found([Timed(trade_id, ns) for trade_id, ns, _ in rows], first):
            return [self.trades(key, reader, first)]
        news = [(trade_id, trade) for trade_id, _, trade in rows if trade_id >= first]
        if not news:
            return reader.topic.failed("the exchange has none", now_ns)
        return reader.topic.fetched(news, now_ns)

    def refill(
        self, key: StreamKey, candles: UnflaggedCandles, answer: bytes | FetchFailed, now_ns: int
    ) -> Sequence[Output]:
        """A page of candles has come, or none."""
        try:
            rows, newest_closed_ms = past_candles(_body(answer), INTERVALS[key.interval or ""], now_ns)
        except UNREADABLE as bad:
            return () if self._slower(key, bad, now_ns) else candles.failed(f"REST: {bad}"[:256], now_ns)
        return candles.fetched(rows, newest_closed_ms, now_ns)

    def _slower(self, key: StreamKey, bad: Exception, now_ns: int) -> bool:
        """Whether the request is only made again, later: that we ask too often says nothing of what is asked for."""
        if not (isinstance(bad, Refusal) and bad.passing):
            return False
        self._again[_tag(key)] = now_ns + _SLOWER_NS
        return True


def _tag(key: StreamKey) -> str:
    return f"{key.channel} {key.symbol}"


def _body(answer: bytes | FetchFailed) -> bytes:
    if isinstance(answer, FetchFailed):
        if answer.status == 429:
            raise Refusal(["EGeneral:Too many requests"])
        raise ValueError(f"{answer.status} {answer.reason}")
    return answer
