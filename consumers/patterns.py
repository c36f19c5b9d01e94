"""Streams as a person names them: `binance:trades:BTC/USDT`, with `*` for any, or keys as they are in Redis."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from ingest.contract.keys import BadName, StreamKey


class Patterns:
    """The streams that any of these texts names. Raises BadName for a text that can name none.

    `EXCHANGE:CHANNEL:SYMBOL`, each with `*` and `?`; what is left out at the end means any, and the channel `candles`
    all intervals. Or a key, or a glob over keys, which begin with `md:`.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._globs = tuple(map(_glob, texts))

    def wants(self, key: StreamKey) -> bool:
        """Whether it is one of them."""
        name = str(key) if key.symbol else f"{key}:"
        return any(fnmatchcase(name, glob) or fnmatchcase(str(key), glob) for glob in self._globs)


def _glob(text: str) -> str:
    if text.startswith("md:"):
        return text
    exchange, channel, symbol, *more = [*text.split(":"), "*", "*"][: max(3, text.count(":") + 1)]
    if more or not exchange or not channel:
        raise BadName(f"{text!r} names no streams; expected EXCHANGE:CHANNEL:SYMBOL as in binance:trades:BTC/USDT")
    channel = "candles-*" if channel == "candles" else channel
    return f"md:{{{exchange}}}:{channel}:{symbol.replace('/', '-')}"
