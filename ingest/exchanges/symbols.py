"""From the symbols a person asked for to instruments that exist, or to a sentence that helps."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ingest.contract.keys import parse_symbol
from ingest.exchanges.exchange import Instrument


class UnknownSymbols(ValueError):
    """Symbols that the exchange does not trade; the message names near ones."""


def find(symbols: Iterable[str], instruments: Mapping[str, Instrument], exchange: str) -> dict[str, Instrument]:
    """The instruments of all `symbols`. Raises UnknownSymbols, once, for all that are not traded now."""
    found = {symbol: complaint(symbol, instruments) for symbol in symbols}
    if complaints := [reason for reason in found.values() if reason]:
        raise UnknownSymbols(f"{exchange}: {'; '.join(complaints)}")
    return {symbol: instruments[symbol] for symbol in found}


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
    return f"{symbol} is not traded" + (f", did you mean {' or '.join(near)}?" if near else "")
