"""The positions of all accounts in one symbol, by its fills in their order. Pure."""

from decimal import Decimal

from msgspec import Struct

from consumers.places import parts
from consumers.services.accounting import Position, after, quote_of
from consumers.services.held import Held
from consumers.services.limits import price_of
from ingest.contract.codec import Entry
from ingest.contract.events import Fill, Ticker
from ingest.contract.keys import StreamKey


class Ledger(Struct):
    """The positions of all accounts in one symbol, and the last entry of its fills that is in them."""

    key: StreamKey
    accounts: dict[str, Held]
    g: str = ""
    n: int = 0
    id: str = "0-0"
    missing: int = 0
    ticker: Ticker | None = None
    marked_ns: int = 0

    def after(self, entry: Entry, fill: Fill) -> Held:
        """The position of the fill's account with it."""
        before = self.accounts.get(fill.account)
        return Held(
            position=after(before.position if before else Position(quote=quote_of(self.key.symbol)), fill),
            mark=mark_of(self.ticker) or Decimal(fill.price),
            fills_g=entry.g,
            fills_n=entry.n,
            fills_id=entry.id,
            fill=entry.s,
            missing=self.missing + self.hole(entry),
        )

    def take(self, entry: Entry) -> None:
        """The next entry of the stream is in."""
        if isinstance(entry.event, Fill):
            self.accounts[entry.event.account] = self.after(entry, entry.event)
        self.stand(entry)

    def stand(self, entry: Entry) -> int:
        """It is in; how many were missing before it."""
        missing = self.hole(entry)
        self.g, self.n, self.id, self.missing = entry.g, entry.n, entry.id, self.missing + missing
        return missing

    def add(self, account: str, held: Held) -> None:
        """Take a position over from Redis. Fills are booked in their order, so all of them are in up to the latest."""
        self.accounts[account] = held
        self.missing = max(self.missing, held.missing)
        if parts(held.fills_id) > parts(self.id):
            self.g, self.n, self.id = held.fills_g, held.fills_n, held.fills_id

    def has(self, entry: Entry) -> bool:
        """Whether the entry is in the positions."""
        return entry.n <= self.n if entry.g == self.g else parts(entry.id) <= parts(self.id)

    def hole(self, entry: Entry) -> int:
        """So many entries are between those in the positions and this one."""
        return entry.n - 1 - (self.n if entry.g == self.g else 0)

    def behind(self, g: str, n: int) -> int:
        """So many entries are in a stream that stands there, and not in the positions."""
        return max(0, n - (self.n if g == self.g else 0))


def mark_of(ticker: Ticker | None) -> Decimal | None:
    """What a unit is worth: the last price, else the middle of the best ones, None if neither is known."""
    return Decimal(ticker.last) if ticker and ticker.last is not None else price_of(ticker)
