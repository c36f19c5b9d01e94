"""From the symbols a person asked for to instruments that exist, or to a sentence that helps."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from msgspec import structs

from ingest.contract.keys import BadName, parse_symbol
from ingest.exchanges.exchange import Instrument

_NUMBER = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?\Z")


class UnknownSymbols(ValueError):
    """Symbols that the exchange does not trade; the message names near ones."""


def by_symbol(listed: Iterable[Instrument]) -> dict[str, Instrument]:
    """What an exchange lists, without what has no name on the bus; sizes that are no numbers are unknown."""
    return {each.symbol: _measured(each) for each in listed if _has_name(each.symbol)}


def _has_name(symbol: str) -> bool:
    try:
        return parse_symbol(symbol) == symbol
    except BadName:
        return False


def _measured(each: Instrument) -> Instrument:
    sizes = (each.tick_size, each.lot_size, each.min_notional)
    if all(size is None or _NUMBER.match(size) for size in sizes):
        return each
    tick, lot, notional = (size if size and _NUMBER.match(size) else None for size in sizes)
    return structs.replace(each, tick_size=tick, lot_size=lot, min_notional=notional)


def find(symbols: Iterable[str], instruments: Mapping[str, Instrument], exchange: str) -> dict[str, Instrument]:
    """The instruments of all `symbols`. Raises UnknownSymbols, once, for all that are not traded now."""
    found = {symbol: complaint(symbol, instruments) for symbol in symbols}
    if complaints := [reason for reason in found.values() if reason]:
        raise UnknownSymbols(f"{exchange}: {'; '.join(complaints)}")
    return {symbol: instruments[symbol] for symbol in found}


def paid_in(quote: str, instruments: Mapping[str, Instrument], exchange: str) -> list[str]:
    """Sorted, the symbols that trade now, of those paid for in that; all if it is "". Raises UnknownSymbols."""
    trading = sorted(symbol for symbol, each in instruments.items() if each.trading)
    chosen = [symbol for symbol in trading if quote.upper() in ("", _quote(symbol))]
    if trading and not chosen:
        near = get_close_matches(quote.upper(), sorted({*map(_quote, trading)}), n=3, cutoff=0.6)
        raise UnknownSymbols(f"{exchange}: nothing is paid for in {quote}" + _meant(near))
    return chosen


def _quote(symbol: str) -> str:
    return symbol.partition("/")[2]


def _meant(near: Sequence[str]) -> str:
    return f", did you mean {' or '.join(near)}?" if near else ""


def listed(text: str) -> tuple[str, ...]:
    """The symbols that stand in a text, one a line or separated by commas. Raises ValueError."""
    symbols = tuple(
        dict.fromkeys(parse_symbol(part.strip()) for part in text.replace("\n", ",").split(",") if part.strip())
    )
    if not symbols:
        raise ValueError("there are no symbols in it")
    return symbols


def complaint(symbol: str, instruments: Mapping[str, Instrument]) -> str:
    """Why it cannot be heard; "" if it can."""
    if symbol in instruments:
        if instruments[symbol].trading:
            return ""
        return f"{symbol} is not trading now (status {instruments[symbol].status})"
    traded = [name for name, instrument in instruments.items() if instrument.trading]
    near = get_close_matches(symbol.upper(), traded, n=3, cutoff=0.6)
    return f"{symbol} is not traded" + _meant(near)
