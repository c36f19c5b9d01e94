"""Whether a reader's book is the exchange's book."""

from collections.abc import Iterable, Iterator, Sequence

from ingest.contract.codec import Entry
from ingest.contract.events import Delta, Snapshot
from ingest.simulator import ledger
from ingest.simulator.ledger import Change
from tests.chaos.exchange import Depth, Truth
from tests.chaos.losses import Finding, lost_range

Sides = tuple[dict[str, str], dict[str, str]]
"""Bids and asks, price → amount, without zeros at the end, which some write and others do not."""


def books(entries: Sequence[Entry], said: Truth) -> Iterator[Finding]:
    """What a reader makes of snapshots and deltas is the exchange's book after every delta, or nothing at all."""
    assert said.depth is not None
    truth = _History(said.depth, said.emitted)
    book: Sides | None = None
    g, epoch = "", 0
    for entry in entries:
        event = entry.event
        if isinstance(event, Snapshot):
            book = side_of(event.bids), side_of(event.asks)
            if entry.epoch is None or (entry.g == g and entry.epoch < epoch):
                yield "wrong", f"snapshot {entry.s} is of epoch {entry.epoch}, behind {epoch}"
            g, epoch = entry.g, entry.epoch or 0
        elif lost_range(entry):
            book = None
        elif isinstance(event, Delta):
            if book is None or entry.epoch != epoch:
                yield "wrong", f"delta {entry.s} of epoch {entry.epoch} belongs to no snapshot"
                continue
            apply(book, event)
            truth.advance(int(entry.s))
            if truth.last_id == int(entry.s) and book != truth.book:
                yield "wrong", f"the book at {entry.s} is not the exchange's: {_unlike(book, truth.book)}"
                book = dict(truth.book[0]), dict(truth.book[1])  # said once


class _History:
    """The exchange's book, moved forwards by its own deltas."""

    def __init__(self, start: Depth, emitted: Iterable[ledger.Record]) -> None:
        self.last_id = start.last_id
        self.book = side_of(start.bids.items()), side_of(start.asks.items())
        self._deltas = [record for record in emitted if isinstance(record, ledger.Delta)]
        self._at = 0

    def advance(self, to: int) -> None:
        """Apply what is behind the start and not behind `to`."""
        while self._at < len(self._deltas) and int(self._deltas[self._at].s) <= to:
            delta = self._deltas[self._at]
            self._at += 1
            if int(delta.s) > self.last_id:
                apply(self.book, delta)
                self.last_id = int(delta.s)


def apply(book: Sides, change: Snapshot | Delta | ledger.Delta | Change) -> None:
    """Set these levels, and take those away that are of the amount 0."""
    for side, levels in zip(book, (change.bids, change.asks), strict=True):
        for price, amount in map(_level, levels):
            if amount.strip("0."):
                side[price] = amount
            else:
                side.pop(price, None)


def side_of(levels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """One of `Sides`."""
    return dict(map(_level, levels))


def _level(level: tuple[str, str]) -> tuple[str, str]:
    price, amount = (number.rstrip("0").rstrip(".") if "." in number else number for number in level)
    return price, amount


def _unlike(book: Sides, truth: Sides) -> str:
    unlike = [
        f"{name} {price} {mine.get(price)} for {theirs.get(price)}"
        for name, mine, theirs in zip(("bid", "ask"), book, truth, strict=True)
        for price in mine.keys() | theirs.keys()
        if mine.get(price) != theirs.get(price)
    ]
    return f"{len(unlike)} levels, {', '.join(unlike[:2])}"
