"""The position service: folds the fills of each symbol, in order and each once, into what every account holds."""

import time
from collections.abc import AsyncIterator, Callable
from itertools import chain

import structlog
from msgspec.structs import replace
from redis.asyncio import Redis

from consumers import stored
from consumers.append import append
from consumers.delivery import Delivery, Fence
from consumers.partition import Partition
from consumers.services.held import SCRIPT, Held, to_fields, told
from consumers.services.ledger import Ledger, mark_of
from consumers.services.rebuilding import opened
from ingest.contract import keys
from ingest.contract.codec import Entry
from ingest.contract.events import Fill, Ticker
from ingest.contract.keys import StreamKey

_log = structlog.get_logger()


class Overtaken(Exception):
    """A position is not as this service left it: another one writes it, or a write whose reply was lost was done."""


class Positions:
    """Fills and tickers in; out come a hash per account and symbol (`keys.position`, listed in `keys.positions`), and
    after each fill an event in `positions`.

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
        self._ledgers: dict[StreamKey, Ledger] = {}

    async def handle(self, delivery: Delivery) -> None:
        """Bring the positions up to a fill, or mark them. Raises Overtaken: the next attempt reads them afresh."""
        key = StreamKey(delivery.key.exchange, "fills", delivery.key.symbol)
        # It is left out of the table while it is at work: whatever may be raised, the next attempt opens it anew.
        ledger = self._ledgers.pop(key, None) or await self._open(key, delivery.fence)
        if delivery.key.channel == "fills":
            await self._settle(ledger, delivery.entry, delivery.fence)
        elif isinstance(delivery.event, Ticker):
            await self._mark(ledger, delivery.event)
        self._ledgers[key] = ledger

    async def _open(self, key: StreamKey, fence: Fence | None) -> Ledger:
        ledger = await opened(self._redis, key)
        for account, held in ledger.accounts.items():
            # The only one of which nobody may have told: it is written first.
            if held.fills_id == ledger.id and held.fill:
                await append(self._redis, [told(held, key, account, self._now_ns())], fence=fence)
        return ledger

    async def _settle(self, ledger: Ledger, entry: Entry, fence: Fence | None) -> None:
        async for each in self._up_to(ledger, entry):
            if isinstance(each.event, Fill):
                held = ledger.after(each, each.event)
                await self._write(ledger, each.event.account, held)
                event = told(held, ledger.key, each.event.account, self._now_ns())
                await append(self._redis, [event], fence=fence)
            if ledger.stand(each):
                _log.error("fills missing", stream=str(ledger.key), before=each.id, missing=ledger.missing)

    async def _up_to(self, ledger: Ledger, entry: Entry) -> AsyncIterator[Entry]:
        """The entries from where the positions are up to this one."""
        if ledger.has(entry):
            return
        if ledger.hole(entry):
            async for each in stored.entries(self._redis, ledger.key, after=ledger.id, until=entry.id):
                yield each
        if not ledger.has(entry):
            yield entry

    async def _mark(self, ledger: Ledger, ticker: Ticker) -> None:
        ledger.ticker = ticker
        now_ns = self._now_ns()
        if not ledger.accounts or now_ns - ledger.marked_ns < self._mark_every_ns:
            return
        ledger.marked_ns = now_ns
        mark = mark_of(ticker)
        for account, held in list(ledger.accounts.items()):
            if mark not in (None, held.mark):
                await self._write(ledger, account, replace(held, mark=mark))

    async def _write(self, ledger: Ledger, account: str, held: Held) -> None:
        key, before = ledger.key, ledger.accounts.get(account)
        fields = to_fields(held, key, account, self._now_ns())
        names = (keys.position(key.exchange, account, key.symbol), keys.positions(key.exchange))
        stood = (before.fills_g, str(before.fills_n)) if before else ("", "")
        if not await self._redis.eval(SCRIPT, 2, *names, *stood, *chain.from_iterable(fields.items())):
            raise Overtaken(f"{names[0]} no longer stands at g, n = {stood}")
        ledger.accounts[account] = held
