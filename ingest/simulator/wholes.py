"""Whole books for the ledger, so that whoever reads it can tell what became of their changes."""

from collections.abc import Iterable, Iterator

from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Change, Delta, Entry, Struck, Whole
from ingest.simulator.market import Market, Pair
from ingest.simulator.records import levels

_Amounts = dict[int, int]


class Wholes:
    """Notes each book before its first change, and again once ids have begun anew.

    But not where the dialect does, which alone knows what it has not told yet.
    """

    def __init__(self, exchange: str, market: Market) -> None:
        self._pairs = {str(StreamKey(exchange, "orderbook", pair.listing.symbol)): pair for pair in market.pairs}
        self._before: dict[str, tuple[_Amounts, _Amounts]] = {}
        self._begun: set[str] = set()

    def look(self) -> None:
        """Time is about to pass."""
        unbegun = self._pairs.keys() - self._begun
        self._before = {key: _amounts(self._pairs[key]) for key in unbegun}

    def among(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """What came of that, with the books that it begins with."""
        for entry in entries:
            if isinstance(entry, Struck) and entry.fault.startswith("series"):
                self._begun.clear()
                self._before.clear()
            elif isinstance(entry, Whole):
                self._pairs.pop(entry.key, None)
                self._before.pop(entry.key, None)
            elif isinstance(entry, Delta | Change) and entry.key in self._before:
                self._begun.add(entry.key)
                bids, asks = self._before.pop(entry.key)
                listing = self._pairs[entry.key].listing
                yield Whole(
                    key=entry.key,
                    s=entry.s,
                    first=entry.s,
                    bids=levels(listing, bids.items()),
                    asks=levels(listing, asks.items()),
                )
            yield entry


def _amounts(pair: Pair) -> tuple[_Amounts, _Amounts]:
    return dict(pair.book.bids.amounts), dict(pair.book.asks.amounts)
