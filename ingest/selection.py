"""Which symbols are heard: those configured, what was said since in `md:{EX}:control`, and what the exchange trades."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from msgspec import structs
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ingest.catalogue import Catalogue
from ingest.contract import keys
from ingest.contract.events import Event, Status
from ingest.contract.keys import BadName, StreamKey, parse_symbol
from ingest.exchanges.exchange import Exchange, FetchFailed, Instrument, SkipFrame
from ingest.exchanges.symbols import complaint, listed
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.tasks import pause
from ingest.wire import closed_is_away

_EVERY_S = 1.0
_REFRESH_EVERY_S = 300.0
_FRESH_S = 5.0

log = structlog.get_logger()


class Choice(NamedTuple):
    """What is to be heard, and why not what else was asked for."""

    symbols: tuple[str, ...]
    complaints: Mapping[str, str]


def choose(
    configured: Iterable[str],
    said: Mapping[str, str],
    instruments: Mapping[str, Instrument],
    heard: Iterable[str],
) -> Choice:
    """`said` is symbol → `on` or `off`, as somebody wrote it. What is `heard` already goes on while it is halted."""
    wanted, complaints = dict.fromkeys(configured), {}
    for text, switch in sorted(said.items()):
        try:
            symbol = parse_symbol(text)
        except BadName as bad:
            complaints[text] = str(bad)
            continue
        if switch == "on":
            wanted[symbol] = None
        elif switch == "off":
            wanted.pop(symbol, None)
        else:
            complaints[text] = f"{text} is to be {switch!r}, which is neither 'on' nor 'off'"
    known = set(heard)
    unfit = {symbol: reason for symbol in wanted.keys() - known if (reason := complaint(symbol, instruments))}
    return Choice(tuple(symbol for symbol in wanted if symbol not in unfit), complaints | unfit)


class Selection:
    """The choice of one worker, made anew each second."""

    def __init__(
        self,
        redis: Redis,
        exchange: Exchange,
        publisher: Publisher,
        rest: Rest,
        *,
        symbols: Sequence[str],
        channels: Sequence[str],
        symbols_file: Path | None = None,
        every_s: float = _EVERY_S,
        refresh_every_s: float = _REFRESH_EVERY_S,
    ) -> None:
        """`symbols_file` is where `symbols` come from, if they come from a file."""
        self.configured = tuple(symbols)
        self.streams: tuple[StreamKey, ...] = ()
        """What is to be heard; nothing until Redis has said what was said there."""
        self.instruments: dict[str, Instrument] = {}
        """All that the exchange trades or has traded since we know it."""
        self._redis = redis
        self._exchange = exchange
        self._publisher = publisher
        self._rest = rest
        self._channels = channels
        self._file = symbols_file
        self._every_s = every_s
        self._refresh_every_s = refresh_every_s
        self._catalogue = Catalogue(redis, exchange.name)
        self._made = False
        self._symbols: tuple[str, ...] = ()
        self._complaints: Mapping[str, str] = {}
        self._refreshed_s = time.monotonic()
        self._session = f"{exchange.name}-selection-{time.time_ns():x}"
        self._told = 0

    def know(self, traded: Mapping[str, Instrument], seen_ns: int) -> None:
        """All that the exchange trades, as it was said then; what it does no more is kept and known to be gone."""
        gone = {s: structs.replace(i, trading=False, status="delisted") for s, i in self.instruments.items()}
        self.instruments.update(gone | dict(traded))
        self._catalogue.take(traded, seen_ns)

    async def begin(self, stopping: asyncio.Event) -> None:
        """Return once there is a first choice."""
        while not self._made and not stopping.is_set():
            await self.round()
            await pause(stopping, 0 if self._made else self._every_s)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until asked to stop."""
        while not stopping.is_set():
            await self.round()
            await pause(stopping, self._every_s)

    async def round(self) -> None:
        """Choose anew. While Redis is away, all stays as it is."""
        await self._catalogue.write()
        try:
            with closed_is_away():
                said: Any = await self._redis.hgetall(keys.control(self._exchange.name))
        except (RedisError, OSError):
            return
        switches = {symbol.decode(errors="replace"): switch.decode(errors="replace") for symbol, switch in said.items()}
        choice = self._choose(switches)
        if self._stale(choice):
            await self._refresh()
            choice = self._choose(switches)
        for what, why in choice.complaints.items():
            if self._complaints.get(what) != why:
                self._tell("refused", what, why)
        self._complaints = choice.complaints
        self._take(choice.symbols)

    def reread(self) -> None:
        """Configured is from now on what stands in the file. One that makes no sense is told and changes nothing."""
        if self._file is None:
            log.warning("nothing to read anew: INGEST_SYMBOLS_FILE is not set", exchange=self._exchange.name)
            return
        try:
            self.configured = listed(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as wrong:
            self._tell("refused", str(self._file), f"{self._file}: {wrong}")

    def _choose(self, switches: Mapping[str, str]) -> Choice:
        return choose(self.configured, switches, self.instruments, self._symbols)

    def _stale(self, choice: Choice) -> bool:
        """Whether the exchange should be asked what it trades: now and then, and at once for what we do not know."""
        news = choice.complaints.keys() - self._complaints.keys()
        return time.monotonic() - self._refreshed_s > (_FRESH_S if news else self._refresh_every_s)

    def _take(self, symbols: tuple[str, ...]) -> None:
        if symbols != self._symbols:
            added, gone = set(symbols) - set(self._symbols), set(self._symbols) - set(symbols)
            log.info("symbols", exchange=self._exchange.name, added=sorted(added), gone=sorted(gone))
        self._symbols, self._made = symbols, True
        name = self._exchange.name
        self.streams = tuple(StreamKey(name, channel, symbol) for symbol in symbols for channel in self._channels)

    async def _refresh(self) -> None:
        """What the exchange trades now."""
        self._refreshed_s, seen_ns = time.monotonic(), time.time_ns()
        answer = await self._rest.get(self._exchange.list_instruments())
        try:
            found = {} if isinstance(answer, FetchFailed) else self._exchange.instruments(answer)
        except SkipFrame as bad:
            log.warning("instruments make no sense", exchange=self._exchange.name, reason=bad.reason)
            found = {}
        if found:
            self.know(found, seen_ns)

    def _tell(self, state: str, what: str, why: str) -> None:
        """On the exchange's status stream; `what` is a symbol, or what somebody took for one."""
        log.warning("symbol", exchange=self._exchange.name, symbol=what, state=state, reason=why)
        self._told += 1
        status = Status(state=state, reason=why[:256])
        self._publisher.put(
            Event(StreamKey(self._exchange.name, "status"), f"{self._session}.{self._told}", status, "window")
        )
