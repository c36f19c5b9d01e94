"""Whole books for the ledger, so that whoever reads it can tell what became of their changes."""

from collections.abc import Iterable, Iterator

from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Change, Delta, Entry, Levels, Struck, Whole
from ingest.simulator.listings import Listing
from ingest.simulator.market import Market, Pair

_Standing = tuple[int, dict[int, int], dict[int, int]]


class Wholes:
    """Notes each book before its first change, and again once ids have begun anew."""

    def __init__(self, exchange: str, market: Market) -> None:
        self._pairs = {str(StreamKey(exchange, "orderbook", pair.listing.symbol)): pair for pair in market.pairs}
        self._before: dict[str, _Standing] = {}
        self._begun: set[str] = set()

    def look(self) -> None:
        """Time is about to pass."""
        unbegun = self._pairs.keys() - self._begun
        self._before = {key: _standing(self._pairs[key]) for key in unbegun}

    def among(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """What came of that, with the books that it begins with."""
        for entry in entries:
            if isinstance(entry, Struck) and entry.fault.startswith("series"):
                self._begun.clear()
                self._before.clear()
            elif isinstance(entry, Delta | Change) and entry.key in self._before:
                self._begun.add(entry.key)
                yield _whole(entry.key, self._pairs[entry.key].listing, self._before.pop(entry.key))
            yield entry


def _standing(pair: Pair) -> _Standing:
    return pair.book.update_id, dict(pair.book.bids.amounts), dict(pair.book.asks.amounts)


def _whole(key: str, listing: Listing, standing: _Standing) -> Whole:
    update_id, bids, asks = standing
    s = str(update_id)
    return Whole(key=key, s=s, first=s, bids=_levels(listing, bids), asks=_levels(listing, asks))


def _levels(listing: Listing, amounts: dict[int, int]) -> Levels:
    return tuple([(listing.price(ticks), listing.amount(lots)) for ticks, lots in amounts.items()])
