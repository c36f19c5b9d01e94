"""From the symbols a person asked for to instruments that exist, or to a sentence that helps."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from ingest.exchanges.exchange import Instrument


class UnknownSymbols(ValueError):
    """Symbols that the exchange does not trade; the message names near ones."""


def find(symbols: Iterable[str], instruments: Mapping[str, Instrument], exchange: str) -> dict[str, Instrument]:
    """The instruments of all `symbols`. Raises UnknownSymbols, once, for all that are not traded now."""
    complaints = [_complaint(symbol, instruments) for symbol in symbols if not _traded(symbol, instruments)]
    if complaints:
        raise UnknownSymbols(f"{exchange}: {'; '.join(complaints)}")
    return {symbol: instruments[symbol] for symbol in symbols}


def _traded(symbol: str, instruments: Mapping[str, Instrument]) -> bool:
    return symbol in instruments and instruments[symbol].trading


def _complaint(symbol: str, instruments: Mapping[str, Instrument]) -> str:
    if symbol in instruments:
        return f"{symbol} is not trading now (status {instruments[symbol].status})"
    traded = [name for name, instrument in instruments.items() if instrument.trading]
    near = get_close_matches(symbol.upper(), traded, n=3, cutoff=0.6)
    return f"{symbol} is not traded" + (f", did you mean {' or '.join(near)}?" if near else "")
