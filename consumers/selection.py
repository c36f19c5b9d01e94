"""Which streams a reader reads: its filters, and what it was told since, which goes before them."""

from collections.abc import Iterable

from ingest.contract.keys import StreamKey, check_name, need, parse_symbol

_CANDLES = "candles"


class Selection:
    """Channels × exchanges × symbols; no exchanges means all, no symbols too. Raises BadName for what is none."""

    def __init__(self, channels: Iterable[str], exchanges: Iterable[str], symbols: Iterable[str]) -> None:
        self._channels = frozenset(map(check_name, channels))
        self._exchanges = frozenset(map(check_name, exchanges))
        self._symbols = frozenset(map(parse_symbol, symbols))
        self._told: dict[StreamKey, bool] = {}

    def tell(self, exchange: str, channel: str, symbol: str, wanted: bool) -> None:
        """From now on, whatever the filters say. The channel `candles` means all intervals. Raises BadName."""
        key = StreamKey(check_name(exchange), check_name(channel), parse_symbol(symbol) if symbol else "")
        self._told[key] = wanted

    def wants(self, key: StreamKey) -> bool:
        """Whether to read this stream."""
        for channel in _names(key):
            told = self._told.get(StreamKey(key.exchange, channel, key.symbol))
            if told is not None:
                return told
        return (
            not self._channels.isdisjoint(_names(key))
            and self._covers(key.exchange)
            # A stream without a symbol is about all of them.
            and (not self._symbols or not key.symbol or key.symbol in self._symbols)
        )

    def exchanges(self, existing: Iterable[str]) -> set[str]:
        """Those to look at, of the ones there are."""
        told = {key.exchange for key, wanted in self._told.items() if wanted}
        return {exchange for exchange in existing if exchange in told or (self._channels and self._covers(exchange))}

    def needs(self, exchange: str) -> frozenset[str]:
        """What a group that reads this registers at the exchange."""
        told = {
            need(key.channel, key.symbol) for key, wanted in self._told.items() if wanted and key.exchange == exchange
        }
        if not self._covers(exchange):
            return frozenset(told)
        return frozenset(told) | {
            need(channel, symbol) for channel in self._channels for symbol in self._symbols or ("",)
        }

    def _covers(self, exchange: str) -> bool:
        return not self._exchanges or exchange in self._exchanges


def _names(key: StreamKey) -> tuple[str, ...]:
    return (key.channel, _CANDLES) if key.interval else (key.channel,)
