"""A seeded market on a clock of its own: a crowd whose orders rest, go, and match, the same every time."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from random import Random
from typing import NamedTuple

from ingest.simulator.bars import SECOND_NS, Bars
from ingest.simulator.book import Book, Fill
from ingest.simulator.listings import Listing

KEPT_TRADES = 20_000
"""Trades of a symbol that can be asked for afterwards."""

_LEVELS = 200
"""About how many levels a side settles at."""
_THIN = 20
_MARKET_ORDERS = 0.15
_CROSSING = 0.03
_REACH = 200
"""Orders come to rest within this share of the price: one part in so many."""


class Trade(NamedTuple):
    """One match. Price in ticks, amount in lots."""

    id: int
    price: int
    lots: int
    taker_sells: bool
    time_ns: int

    @property
    def side(self) -> str:
        """The taker's."""
        return "sell" if self.taker_sells else "buy"


class Pair:
    """One symbol's market: `book`, `bars`, and the trades that join them."""

    def __init__(self, listing: Listing, random: Random, start_ns: int, series: int) -> None:
        self.listing = listing
        self.halted = False
        """Whether the exchange says that it takes no orders; what is told of the market goes on."""
        # Each series of ids begins below the one before: they span a factor of nine, and each is a sixteenth.
        self.book = Book(random.randrange(10_000_000_000, 90_000_000_000) >> 4 * series)
        self.bars = Bars(start_ns, listing.opening)
        self.next_trade_id = random.randrange(1_000_000_000, 9_000_000_000) >> 4 * series
        self._trades: deque[Trade] = deque(maxlen=KEPT_TRADES)
        self._random = random.random
        self._last_price = listing.opening
        self._mood = 0.0
        self._open(start_ns)

    @property
    def last(self) -> Trade:
        """The newest trade: there is always one."""
        return self._trades[-1]

    def trades(self, first_id: int | None, limit: int) -> list[Trade]:
        """Kept trades from an id on, or the newest."""
        skip = len(self._trades) - limit if first_id is None else first_id - self._trades[0].id
        begin = min(max(0, skip), len(self._trades))
        return list(islice(self._trades, begin, begin + limit))

    def begin_anew(self) -> None:
        """Count trades and changes of the book from lower ids. Of the trades until now none can be asked for again."""
        self.book.renumber(self.book.update_id >> 4)
        self.next_trade_id >>= 4
        last = self.last._replace(id=self.next_trade_id)
        self.next_trade_id += 1
        self._trades.clear()
        self._trades.append(last)

    def act(self, now_ns: int) -> Sequence[Trade]:
        """Somebody does something; the trades that come of it."""
        random, book = self._random, self.book
        choice = random()
        if len(book.bids) < _THIN or len(book.asks) < _THIN:
            return self._place(now_ns, buying=len(book.bids) < len(book.asks))
        if choice < _MARKET_ORDERS:
            self._mood = 0.995 * self._mood + 0.05 * (random() - 0.5)
            buying = random() < 0.5 + self._mood
            return self._match(book.market(buying=buying, lots=self._lots()), now_ns, buying=buying)
        buying = random() < 0.5
        levels = len(book.bids if buying else book.asks)
        if random() * 2 * _LEVELS < levels:
            book.cancel(int(random() * levels), buying=buying)
            return ()
        return self._place(now_ns, buying=buying)

    def _place(self, now_ns: int, *, buying: bool) -> Sequence[Trade]:
        """A limit order, most of them near the top: at first behind the other side's best, now and then beyond it."""
        random = self._random
        other = (self.book.asks if buying else self.book.bids).best or self._last_price
        if random() < _CROSSING:
            distance = -int(random() * 3)
        else:
            near = random() * random()
            distance = 1 + int(near * near * (50 + self._last_price // _REACH))
        price = max(1, other - distance if buying else other + distance)
        return self._match(self.book.limit(price, buying=buying, lots=self._lots()), now_ns, buying=buying)

    def _lots(self) -> int:
        share = self._random()
        return 1 + int(share * share * share * self.listing.usual_lots)

    def _match(self, fills: list[Fill], now_ns: int, *, buying: bool) -> Sequence[Trade]:
        trades = []
        for price, lots in fills:
            trade = Trade(self.next_trade_id, price, lots, not buying, now_ns)
            self.next_trade_id += 1
            self._last_price = price
            self._trades.append(trade)
            self.bars.add(trade.id, price, lots, bought=buying, time_ns=now_ns)
            trades.append(trade)
        return trades

    def _open(self, start_ns: int) -> None:
        """Fill the book around the opening price, and strike the first trade there."""
        self.book.limit(self._last_price, buying=False, lots=self._lots())
        while len(self.book.asks) < _LEVELS // 2 or len(self.book.bids) < _LEVELS // 2:
            buying = self._random() < 0.5
            price = self._last_price
            distance = 1 + int(self._random() * self._random() * (_LEVELS + price // _REACH))
            self.book.limit(max(1, price - distance if buying else price + distance), buying=buying, lots=self._lots())
        self._match(self.book.market(buying=True, lots=1), start_ns, buying=True)
        self.book.drain()


class Market:
    """All symbols, and the moments at which something happens: `rate` times a second, evenly, over all of them."""

    def __init__(self, listings: Sequence[Listing], *, rate: int, seed: int, start_ns: int, series: int = 0) -> None:
        """The same arguments give the same market for ever, however its time is cut into steps.

        `series` says how often it has begun to count anew, each time from lower ids.
        """
        self.pairs = tuple(Pair(listing, Random(f"{seed} {listing.symbol}"), start_ns, series) for listing in listings)
        self._random = Random(seed).random
        self._rate = rate
        self._origin_ns = start_ns
        self._actions = 0

    def run(self, until_ns: int) -> Iterator[tuple[Pair, Sequence[Trade], int]]:
        """All that happens before `until_ns`: who acted, the trades, when. Roll the bars at each second between."""
        if not self._rate:
            return
        while (now_ns := self._origin_ns + self._actions * SECOND_NS // self._rate) < until_ns:
            self._actions += 1
            pair = self.pairs[int(self._random() * len(self.pairs))]
            yield pair, pair.act(now_ns), now_ns

    def begin_anew(self) -> None:
        """All series of ids begin again, as if each symbol were listed anew."""
        for pair in self.pairs:
            pair.begin_anew()

    def halt(self, symbols: Collection[str]) -> None:
        """These are halted, and no others."""
        for pair in self.pairs:
            pair.halted = pair.listing.symbol in symbols

    def skip(self, by_ns: int) -> None:
        """Nothing happens for so long: for when the machine cannot keep up."""
        self._origin_ns += by_ns
