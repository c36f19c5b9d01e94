"""An order book from its entries: exact, its best prices at hand, and live only while nothing is missing."""

from bisect import bisect_left, insort
from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from redis.asyncio import Redis

from consumers import stored
from ingest.contract.codec import VERSION, Entry, decode
from ingest.contract.events import Delta, Gap, Levels, Snapshot
from ingest.contract.keys import StreamKey


class Level(NamedTuple):
    """What is on offer at one price."""

    price: Decimal
    amount: Decimal


class Book:
    """The amounts by price, each written as the exchange writes it; it writes one price in one way.

    A snapshot may vouch for a limited depth: of the levels beyond that, the book has those heard of since.
    """

    def __init__(self) -> None:
        self._bids = _Side(Decimal)
        self._asks = _Side(_negative)

    def apply(self, event: Snapshot | Delta) -> None:
        """A snapshot replaces the book; a delta sets the amounts it names, and those of zero are removed."""
        if isinstance(event, Snapshot):
            self._bids = _Side(Decimal, event.bids)
            self._asks = _Side(_negative, event.asks)
        else:
            self._bids.put(event.bids)
            self._asks.put(event.asks)

    @property
    def best_bid(self) -> Level | None:
        """The highest price that somebody pays."""
        return next(iter(self.bids(1)), None)

    @property
    def best_ask(self) -> Level | None:
        """The lowest price that somebody takes."""
        return next(iter(self.asks(1)), None)

    @property
    def crossed(self) -> bool:
        """Whether somebody pays what somebody takes: no exchange lets that stand, so the book is not right."""
        bid, ask = self.best_bid, self.best_ask
        return bid is not None and ask is not None and bid.price >= ask.price

    def bids(self, depth: int | None = None) -> list[Level]:
        """The bids, or the `depth` best of them, best first."""
        return [Level(Decimal(price), Decimal(amount)) for price, amount in self._bids.top(depth)]

    def asks(self, depth: int | None = None) -> list[Level]:
        """The asks, or the `depth` best of them, best first."""
        return [Level(Decimal(price), Decimal(amount)) for price, amount in self._asks.top(depth)]

    def written(self) -> tuple[Levels, Levels]:
        """All bids and all asks, digit by digit as the exchange wrote them, best first."""
        return tuple(self._bids.top(None)), tuple(self._asks.top(None))


class LiveBook:
    """The book of one stream. `live` means: complete as of the entry `as_of`, with no hole since its snapshot.

    A gap, a hole in `n`, another epoch or generation end that; the next snapshot entry restores it.
    """

    def __init__(self, key: StreamKey) -> None:
        self.key = key
        self.book = Book()
        self.live = False
        self.as_of = "0-0"
        self._g = ""
        self._n = 0
        self._epoch: int | None = None

    async def refresh(self, redis: Redis) -> None:
        """Read on to the end of the stream, from its last snapshot if that is ahead of us. Raises UnreadableEntry."""
        g, n = await stored.standing(redis, self.key.state)
        snap_g, snap_n = await stored.standing(redis, self.key.snap)
        if snap_g != self._g or snap_n > self._n:
            await self._join(redis)
        await self._read(redis, until="+")
        # The newest entries may have been trimmed, or be unreadable: then what was read ends too early.
        self.live = self.live and self._g == g and self._n >= n

    async def follow(self, redis: Redis, entry: Entry) -> bool:
        """Take an entry as a group hands it out; whether the book is now live, and as of just this entry.

        What a group hands out may begin anywhere and leave out what was handled before: that is read from the stream.
        """
        if not isinstance(entry.event, Snapshot) and (entry.g != self._g or entry.n > self._n + 1):
            if self._n == 0:
                await self._join(redis)
            await self._read(redis, until=entry.id)
        self.take(entry)
        return self.live and self.as_of == entry.id

    def take(self, entry: Entry) -> None:
        """The next entry of the stream; one that is in the book already changes nothing."""
        if entry.g == self._g and entry.n <= self._n:
            return
        joins = entry.g == self._g and entry.n == self._n + 1
        standing = self._g, self._n
        self.as_of, self._g, self._n = entry.id, entry.g, entry.n
        match entry.event:
            case Snapshot():
                self.live = True
                self._epoch = entry.epoch
                self.book.apply(entry.event)
            case Delta():
                self.live = self.live and joins and entry.epoch == self._epoch
                if self.live:
                    self.book.apply(entry.event)
            case Gap(after_g=g, after_n=n):
                # Redis may have lost something, but of what is left we have all, and nothing else.
                self.live = self.live and (g, n) == standing
            case _:
                self.live = self.live and joins

    async def _join(self, redis: Redis) -> None:
        snap = await stored.fields(redis, self.key.snap)
        if snap:
            self.take(decode(snap[b"id"], {b"v": VERSION, b"type": b"snapshot", b"s": b"", **snap}))

    async def _read(self, redis: Redis, until: str) -> None:
        if self.live:
            async for entry in stored.entries(redis, self.key, after=self.as_of, until=until):
                self.take(entry)


class _Side:
    """The amounts by price, and the prices sorted with the best last: changes near the top move little memory."""

    def __init__(self, rank: Callable[[str], Decimal], levels: Levels = ()) -> None:
        self._rank = rank
        self._amounts = {price: amount for price, amount in dict(levels).items() if not _is_zero(amount)}
        self._ranked = sorted((rank(price), price) for price in self._amounts)

    def put(self, levels: Levels) -> None:
        for price, amount in levels:
            if _is_zero(amount):
                if self._amounts.pop(price, None) is not None:
                    del self._ranked[bisect_left(self._ranked, (self._rank(price), price))]
            else:
                if price not in self._amounts:
                    insort(self._ranked, (self._rank(price), price))
                self._amounts[price] = amount

    def top(self, depth: int | None) -> list[tuple[str, str]]:
        best_first = self._ranked[: None if depth is None else -depth - 1 : -1]
        return [(price, self._amounts[price]) for _, price in best_first]


def _negative(price: str) -> Decimal:
    # Not -Decimal(price): the operator rounds to the context's 28 digits.
    return Decimal(price).copy_negate()


def _is_zero(amount: str) -> bool:
    return not amount.strip("0.")
