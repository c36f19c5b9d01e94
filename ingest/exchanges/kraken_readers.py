"""Who hears what Kraken says of one symbol."""

import zlib
from collections.abc import Sequence
from functools import partial
from itertools import chain

from msgspec import structs

from ingest.contract.events import Delta, Event, Trade
from ingest.exchanges.by_time import TradePages
from ingest.exchanges.counted import CountedBook
from ingest.exchanges.dense import DenseTrades
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.hearing import HearsTickers
from ingest.exchanges.kraken_frames import Known
from ingest.exchanges.kraken_rest import digits_of
from ingest.exchanges.sorted_book import SortedBook

TRADES_LIMIT = 1_000
"""In a page by REST."""
_CHECKED_LEVELS = 10  # whatever the depth


class Trades:
    """One symbol's trades."""

    def __init__(self, topic: DenseTrades) -> None:
        self.topic = topic
        self.pages = TradePages(TRADES_LIMIT)
        self.wanted: int | None = None
        """The id that REST is asked for."""

    def whole(self, said: Sequence[tuple[int, Trade]], now_ns: int) -> list[Event]:
        """The newest ones, said at each subscription: of use where they are news, and no beginning of a stream."""
        last = self.topic.last
        said = sorted(said, key=lambda each: each[0])
        if last is None or not said:
            return []
        if said[-1][0] >= last:
            said = [each for each in said if each[0] > last]
        past = ((trade_id, structs.replace(trade, backfilled=True)) for trade_id, trade in said)
        return list(chain.from_iterable(self.topic.trade(*each, now_ns) for each in past))


class Tickers:
    """One symbol's ticker. Its time is its mark; of one time there may be several, a snapshot the last of them."""

    def __init__(self, topic: HearsTickers) -> None:
        self.topic = topic
        self._newest = Known({}, 0)
        self._same = 0

    def hear(self, ticker: Known, whole: bool, now_ns: int) -> Sequence[Event]:
        """All of it; nothing, if it is said once more."""
        before, self._newest = self._newest, ticker
        if ticker == before:
            return ()
        if ticker.exchange_ns is None:
            return self.topic.say("received", now_ns, ticker.facts, None, now_ns)
        self._same = min(self._same + 1, 998) if ticker.exchange_ns == before.exchange_ns else 0
        mark = ticker.exchange_ns + (999 if whole else self._same)
        return self.topic.say("ticker", mark, ticker.facts, ticker.exchange_ns, now_ns)


class Books:
    """One symbol's book, and the digits that its numbers have."""

    def __init__(self, topic: CountedBook, instrument: Instrument) -> None:
        self.topic = topic
        self._digits = digits_of(instrument.tick_size), digits_of(instrument.lot_size)

    def hear(self, delta: Delta, checksum: int, whole: bool, now_ns: int) -> Sequence[Event]:
        """The whole book, or changes."""
        fits = partial(self._fits, checksum)
        if whole:
            return self.topic.snapshot(delta.bids, delta.asks, delta.exchange_ns, now_ns, fits)
        return self.topic.delta(delta, now_ns, fits)

    def _fits(self, checksum: int, book: SortedBook) -> bool:
        # The text as it came is what counts; the digits help where somebody has cut off zeros since.
        return checksum == crc(book) or checksum == crc(book, *self._digits)


def crc(book: SortedBook, price_digits: int = 0, amount_digits: int = 0) -> int:
    """Of the ten best asks, then of the ten best bids, all digits. Texts of fewer digits get zeros up to as many.

    https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
    """
    bids, asks = book.levels(_CHECKED_LEVELS)
    texts = (_whole(price, price_digits) + _whole(amount, amount_digits) for price, amount in chain(asks, bids))
    return zlib.crc32("".join(texts).encode())


def _whole(number: str, digits: int) -> str:
    whole, _, part = number.partition(".")
    return (whole + part.ljust(digits, "0")).lstrip("0")
