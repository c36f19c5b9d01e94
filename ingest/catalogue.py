"""What the exchange trades, told to all: the hash `md:{EX}:instruments`, and each change of a symbol's status once.

Any number of workers may keep it. Each writes what the exchange told it last, in one step with the records of what that
changes; if another was faster, it looks again and finds nothing changed. The janitor tells the records.
"""

import time
from collections.abc import Mapping
from typing import Literal, cast

import structlog
from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from ingest.contract import instruments, keys
from ingest.contract.instruments import Listed
from ingest.exchanges.exchange import Instrument
from ingest.retention.telling import symbol_record
from ingest.wire import closed_is_away

_SAY_EVERY_S = 10.0
_AT_ONCE_NS = 60_000_000_000
"""Two lists that were asked for within so long may be written in another order; one further ahead has a wrong clock."""

log = structlog.get_logger()


class Catalogue:
    """One exchange's."""

    def __init__(self, redis: Redis, exchange: str) -> None:
        self._redis = redis
        self._exchange = exchange
        self._news: tuple[Mapping[str, Instrument], int] | None = None
        self._say_at_s = 0.0

    def take(self, traded: Mapping[str, Instrument], seen_ns: int) -> None:
        """All that the exchange trades, by symbol, as it was said then; it is to be written."""
        self._news = traded, seen_ns

    async def write(self) -> None:
        """What was taken, unless it is written. If Redis is away or refuses, it is still to be written."""
        if self._news is None:
            return
        try:
            with closed_is_away():
                await self._write(*self._news)
            self._news = None
        except WatchError:
            pass  # another worker was faster
        except (RedisError, OSError) as error:
            if time.monotonic() >= self._say_at_s:
                self._say_at_s = time.monotonic() + _SAY_EVERY_S
                log.warning("instruments not written", exchange=self._exchange, reason=str(error))

    async def _write(self, traded: Mapping[str, Instrument], seen_ns: int) -> None:
        name = keys.instruments(self._exchange)
        async with self._redis.pipeline(transaction=True) as step:
            await step.watch(name)
            rows, records = compare(_known(cast("dict[bytes, bytes]", await step.hgetall(name))), traded, seen_ns)
            step.multi()  # type: ignore[no-untyped-call]
            if rows:
                step.hset(name, mapping={row.symbol: instruments.encode(row) for row in rows})
            if records:
                step.zadd(keys.untold(self._exchange), dict.fromkeys(records, seen_ns // 1_000_000))
            await step.execute()


def compare(
    known: Mapping[str, Listed], traded: Mapping[str, Instrument], seen_ns: int
) -> tuple[list[Listed], list[str]]:
    """The rows to be written, and the records of what is another status than the one `known`."""
    now = {symbol: _row(instrument, seen_ns) for symbol, instrument in traded.items()}
    gone = known.keys() - traded.keys()
    now |= {symbol: structs.replace(known[symbol], status="delisted", seen_ns=seen_ns) for symbol in sorted(gone)}
    rows, records = [], []
    for symbol, row in now.items():
        before = known.get(symbol)
        if before and (before.status == row.status == "delisted" or seen_ns <= before.seen_ns < seen_ns + _AT_ONCE_NS):
            continue
        rows.append(row)
        if before and before.status != row.status:
            records.append(symbol_record(row))
    return rows, records


def _row(instrument: Instrument, seen_ns: int) -> Listed:
    base, _, quote = instrument.symbol.partition("/")
    return Listed(
        symbol=instrument.symbol,
        native=instrument.native,
        base=base,
        quote=quote,
        status=_status(instrument),
        native_status=instrument.status,
        seen_ns=seen_ns,
        tick_size=instrument.tick_size,
        lot_size=instrument.lot_size,
        min_notional=instrument.min_notional,
    )


def _status(instrument: Instrument) -> Literal["trading", "halted", "delisted"]:
    if instrument.status == "delisted":
        return "delisted"
    return "trading" if instrument.trading and not instrument.halted else "halted"


def _known(rows: Mapping[bytes, bytes]) -> dict[str, Listed]:
    """What cannot be read is written anew."""
    known = {}
    for symbol, row in rows.items():
        try:
            known[symbol.decode()] = instruments.decode(row)
        except ValueError:
            continue
    return known
