"""The position service: folds the fills of each symbol, in order and each once, into what every account holds."""

import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal, localcontext
from itertools import chain

import structlog
from msgspec import Struct
from msgspec.structs import replace
from redis.asyncio import Redis

from consumers import stored
from consumers.delivery import Delivery
from consumers.partition import Partition
from consumers.services.accounting import EXACT, Position, after, quote_of
from consumers.services.held import SCRIPT, Held, from_fields, to_fields
from ingest.contract import keys
from ingest.contract.codec import Entry
from ingest.contract.events import Fill, Ticker
from ingest.contract.keys import StreamKey

_log = structlog.get_logger()


class Overtaken(Exception):
    """A position is not as this service left it: another one writes it, or a write whose reply was lost was done."""


class Positions:
    """Fills and tickers in, a hash per account and symbol out (`keys.position`, listed in `keys.positions`).

    A delivered fill means: there are fills up to here. Those between it and the last one in the positions are
    read from the stream, so the order in which a group hands out what was pending does not matter. The hash names
    the last fill in it, in the same write, which is done only if the hash stands where it was read: a fill that
    comes again, or two services at once, change nothing.

    A ticker is written as the mark of its symbol's positions at most every `mark_every_ms`.
    """

    channels: tuple[str, ...] = ("fills", "ticker")
    partition: Partition = "symbol"

    def __init__(
        self,
        redis: Redis,
        name: str = "position",
        *,
        mark_every_ms: int = 250,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self._redis = redis
        self._mark_every_ns = mark_every_ms * 1_000_000
        self._now_ns = now_ns
        self._ledgers: dict[StreamKey, _Ledger] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Bring the positions up to a fill, or mark them. Raises Overtaken: the next attempt reads them afresh."""
        key = StreamKey(delivery.key.exchange, "fills", delivery.key.symbol)
        ledger = self._ledgers.get(key) or await self._open(key)
        try:
            if delivery.key.channel == "fills":
                await self._settle(ledger, delivery.entry)
            elif isinstance(delivery.event, Ticker):
                await self._mark(ledger, delivery.event)
        except Overtaken:
            del self._ledgers[key]
            raise

    async def _open(self, key: StreamKey) -> "_Ledger":
        ledger = _Ledger(key=key, accounts={})
        ours = ":" + key.symbol.replace("/", "-")
        for name in await stored.members(self._redis, keys.positions(key.exchange)):
            fields = await stored.fields(self._redis, name) if name.endswith(ours) else {}
            if fields:
                ledger.add(fields[b"account"].decode(), from_fields(fields))
        self._ledgers[key] = ledger
        return ledger

    async def _settle(self, ledger: "_Ledger", entry: Entry) -> None:
        async for each in self._up_to(ledger, entry):
            missing = ledger.missing + ledger.hole(each)
            if isinstance(each.event, Fill):
                await self._enter(ledger, each, each.event, missing)
            if missing > ledger.missing:
                _log.error("fills missing", stream=str(ledger.key), before=each.id, missing=missing)
            ledger.g, ledger.n, ledger.id, ledger.missing = each.g, each.n, each.id, missing

    async def _up_to(self, ledger: "_Ledger", entry: Entry) -> AsyncIterator[Entry]:
        """The entries from where the positions are up to this one."""
        if ledger.has(entry):
            return
        if ledger.hole(entry):
            async for each in stored.entries(self._redis, ledger.key, after=ledger.id, until=entry.id):
                yield each
        if not ledger.has(entry):
            yield entry

    async def _enter(self, ledger: "_Ledger", entry: Entry, fill: Fill, missing: int) -> None:
        before = ledger.accounts.get(fill.account)
        held = Held(
            position=after(before.position if before else Position(quote=quote_of(ledger.key.symbol)), fill),
            mark=_price(ledger.ticker) or Decimal(fill.price),
            fills_g=entry.g,
            fills_n=entry.n,
            fills_id=entry.id,
            missing=missing,
        )
        await self._write(ledger, fill.account, held)

    async def _mark(self, ledger: "_Ledger", ticker: Ticker) -> None:
        ledger.ticker = ticker
        now_ns = self._now_ns()
        if not ledger.accounts or now_ns - ledger.marked_ns < self._mark_every_ns:
            return
        ledger.marked_ns = now_ns
        mark = _price(ticker)
        for account, held in list(ledger.accounts.items()):
            if mark not in (None, held.mark):
                await self._write(ledger, account, replace(held, mark=mark))

    async def _write(self, ledger: "_Ledger", account: str, held: Held) -> None:
        key, before = ledger.key, ledger.accounts.get(account)
        fields = to_fields(held, key, account, self._now_ns())
        names = (keys.position(key.exchange, account, key.symbol), keys.positions(key.exchange))
        stood = (before.fills_g, str(before.fills_n)) if before else ("", "")
        if not await self._redis.eval(SCRIPT, 2, *names, *stood, *chain.from_iterable(fields.items())):
            raise Overtaken(f"{names[0]} no longer stands at g, n = {stood}")
        ledger.accounts[account] = held


class _Ledger(Struct):
    """The positions of all accounts in one symbol, and the last entry of its fills that is in them."""

    key: StreamKey
    accounts: dict[str, Held]
    g: str = ""
    n: int = 0
    id: str = "0-0"
    missing: int = 0
    ticker: Ticker | None = None
    marked_ns: int = 0

    def add(self, account: str, held: Held) -> None:
        """Take a position over from Redis. Fills are booked in their order, so all of them are in up to the latest."""
        self.accounts[account] = held
        self.missing = max(self.missing, held.missing)
        if _place(held.fills_id) > _place(self.id):
            self.g, self.n, self.id = held.fills_g, held.fills_n, held.fills_id

    def has(self, entry: Entry) -> bool:
        """Whether the entry is in the positions."""
        return entry.n <= self.n if entry.g == self.g else _place(entry.id) <= _place(self.id)

    def hole(self, entry: Entry) -> int:
        """So many entries are between those in the positions and this one."""
        return entry.n - 1 - (self.n if entry.g == self.g else 0)


def _price(ticker: Ticker | None) -> Decimal | None:
    """What a unit is worth: the last price, else the middle of the best ones, None if neither is known."""
    if ticker is None:
        return None
    if ticker.last is not None:
        return Decimal(ticker.last)
    if ticker.bid is None or ticker.ask is None:
        return None
    with localcontext(EXACT):
        return (Decimal(ticker.bid) + Decimal(ticker.ask)) / 2


def _place(entry_id: str) -> tuple[int, int]:
    """What entry ids are ordered by."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence)
