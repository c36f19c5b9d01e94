"""What Kraken answers by REST: errors come with the status 200, and symbols under their older names."""

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ingest.contract.events import Trade
from ingest.contract.numbers import exchange_time, plain
from ingest.exchanges.candles import Interval
from ingest.exchanges.exchange import Instrument
from ingest.exchanges.kraken_frames import Id, interval, numbers
from ingest.exchanges.symbols import by_symbol
from ingest.exchanges.talk import Passing

_SECONDS = re.compile(r"(\d{1,12})(?:\.(\d{1,9})\d*)?", re.ASCII)
_LEGACY = {"XBT": "BTC", "XDG": "DOGE"}
_OLDER = {new: old for old, new in _LEGACY.items()}
_PASSING = ("Exceeded msg rate", "EService:", "EGeneral:Too many requests", "EAPI:Rate limit exceeded")
_UNTRADED = frozenset({"delisted", "work_in_progress"})
_HALTED = frozenset({"cancel_only", "maintenance"})


class KrakenPair(Struct):
    """A row of `GET /0/public/AssetPairs`. Dark pools have no `wsname`."""

    pair_decimals: Annotated[int, Meta(ge=0, le=30)]
    lot_decimals: Annotated[int, Meta(ge=0, le=30)]
    wsname: str = ""
    status: str = "online"
    tick_size: str | None = None
    costmin: Any = None


class Rest(Struct):
    """Whatever REST answers; errors come with the status 200."""

    error: list[str]
    result: dict[str, Raw] = {}


class KrakenPastTrade(Struct, array_like=True):
    """A row of `GET /0/public/Trades`; the time is in seconds."""

    price: Any
    volume: Any
    time: Any
    side: Literal["b", "s"]
    order: str
    misc: str
    id: Id


class KrakenPastCandle(Struct, array_like=True):
    """A row of `GET /0/public/OHLC`."""

    begin: Annotated[int, Meta(ge=0, le=1 << 40)]
    open: Any
    high: Any
    low: Any
    close: Any
    vwap: Any
    volume: Any
    trades: Id


_rest = msgspec.json.Decoder(Rest).decode
_pair = msgspec.json.Decoder(KrakenPair, float_hook=str).decode
_past_trades = msgspec.json.Decoder(list[KrakenPastTrade], float_hook=str).decode
_past_candles = msgspec.json.Decoder(list[KrakenPastCandle], float_hook=str).decode
_count = msgspec.json.Decoder(int, strict=False).decode


class Refusal(ValueError):
    """REST answered with an error that time does not mend."""


def passes(error: str) -> bool:
    """Whether an error is one that time mends, rather than a change of what is asked."""
    return error.startswith(_PASSING)


def past_trades(body: bytes, price_digits: int, now_ns: int) -> list[tuple[int, int, Trade]]:
    """Id, time in ns, and trade, oldest first. Raises what UNREADABLE names, Passing and Refusal among it.

    REST writes prices with more zeros than the feed; they get as many digits as there, so that a trade is the same
    whichever way it came.
    """
    rows, _ = _only(body)
    said = []
    for row in _past_trades(rows):
        price, amount = numbers(row.price, row.volume)
        ns = _from_seconds(plain(row.time))
        body_of = Trade(
            price=_cut(price, price_digits),
            amount=amount,
            side="buy" if row.side == "b" else "sell",
            received_ns=now_ns,
            exchange_ns=exchange_time(ns, now_ns),
        )
        said.append((row.id, ns, body_of))
    return sorted(said, key=lambda each: each[0])


def past_candles(body: bytes, minutes: int, now_ns: int) -> tuple[list[Interval], int]:
    """Oldest first, and the ms at which the newest closed one opens. Raises as `past_trades`."""
    rows, newest_closed_s = _only(body)
    intervals = [
        interval(
            row.begin * 1000,
            minutes,
            numbers(row.open, row.high, row.low, row.close, row.volume),
            row.trades,
            None,
            now_ns,
            "",
        )
        for row in _past_candles(rows)
    ]
    return sorted(intervals, key=lambda each: each.open_ms), newest_closed_s * 1000


def instruments(body: bytes) -> dict[str, Instrument]:
    """What is traded, by symbol. Raises as `past_trades`."""
    answer = _rest(body)
    _check(answer)
    pairs = map(_pair, answer.result.values())
    return by_symbol(_instrument(pair) for pair in pairs if "/" in pair.wsname)


def legacy(native: str) -> str:
    """The name that REST knows a symbol by: `XBTUSD` for `BTC/USD`."""
    return "".join(_OLDER.get(part, part) for part in native.split("/"))


def digits_of(step: str | None) -> int:
    """How many digits there are behind the point."""
    return len((step or "").partition(".")[2])


def _cut(number: str, digits: int) -> str:
    """Without the zeros behind so many digits."""
    whole, _, part = number.partition(".")
    if part[digits:].strip("0"):
        return number
    return f"{whole}.{part[:digits]}" if digits and part else whole


def _from_seconds(text: str) -> int:
    match = _SECONDS.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time in seconds: {text[:60]!r}")
    return int(match[1]) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _only(body: bytes) -> tuple[Raw, int]:
    """The one result, under whatever key, and `last`."""
    answer = _rest(body)
    _check(answer)
    results = [key for key in answer.result if key != "last"]
    if len(results) != 1 or "last" not in answer.result:
        raise ValueError(f"one result was expected, and `last`: {list(answer.result)[:5]}")
    return answer.result[results[0]], _count(answer.result["last"])


def _check(answer: Rest) -> None:
    if answer.error:
        said = ", ".join(answer.error)[:200]
        raise Passing(said) if any(map(passes, answer.error)) else Refusal(said)


def _instrument(pair: KrakenPair) -> Instrument:
    symbol = "/".join(_LEGACY.get(part, part) for part in pair.wsname.split("/"))
    return Instrument(
        symbol=symbol,
        native=symbol,
        # What cannot be traded for a while has data all the same.
        trading=pair.status not in _UNTRADED,
        status=pair.status,
        tick_size=_padded(pair.tick_size, pair.pair_decimals) if pair.tick_size else _step(pair.pair_decimals),
        lot_size=_step(pair.lot_decimals),
        min_notional=None if pair.costmin is None else plain(pair.costmin),
        halted=pair.status in _HALTED,
    )


def _padded(step: str, digits: int) -> str:
    """With as many digits as prices have."""
    whole, _, part = step.partition(".")
    return f"{whole}.{part.ljust(digits, '0')}" if digits or part else whole


def _step(digits: int) -> str:
    return f"0.{'1'.rjust(digits, '0')}" if digits else "1"
