"""README's tables of what each exchange gives and how it is kept whole, made of what stands beside each exchange."""

from collections.abc import Iterable, Mapping, Sequence

from ingest.exchanges.exchange import Exchange, Feed, Limit

_CHANNELS = ("trades", "orderbook", "ticker", "candles")


def feeds(exchanges: Mapping[str, type[Exchange]]) -> str:
    """A row for each exchange and channel."""
    head = ("exchange", "channel", "`s` is", "what was missed shows by", "and is", "how much of it", "writers")
    rows = [
        _row(exchange, channel, exchange.feeds[channel]) for exchange in exchanges.values() for channel in _CHANNELS
    ]
    return _table(head, rows)


def venues(exchanges: Mapping[str, type[Exchange]]) -> str:
    """A row for each exchange."""
    head = (
        "`INGEST_EXCHANGE`",
        "intervals of candles",
        "it ends connections",
        "weight of REST requests",
        "new connections",
    )
    rows = [
        (
            f"`{name}`",
            _intervals(exchange),
            exchange.rotation or "never as planned",
            _budget(exchange.limits.weight),
            _budget(exchange.limits.connects),
        )
        for name, exchange in exchanges.items()
    ]
    return _table(head, rows)


def _row(exchange: type[Exchange], channel: str, feed: Feed) -> Sequence[str]:
    kept = feed.kept
    far = kept.far
    if channel == "orderbook" and feed.depth:
        far = f"{feed.depth:,} levels a side"
    elif feed.reach:
        far = f"the newest {feed.reach:,}"
    noticed = "; ".join(filter(None, (kept.noticed, feed.also)))
    writers = "one at a time" if channel in exchange.single_writer else "any number"
    return (exchange.name, channel, kept.named, noticed, kept.mended, far, writers)


def _intervals(exchange: type[Exchange]) -> str:
    units = "smhdwM"
    intervals = [channel.removeprefix("candles-") for channel in exchange.channels if channel.startswith("candles-")]
    ordered = sorted(intervals, key=lambda interval: (units.find(interval[-1]), int(interval[:-1])))
    return "`" + " ".join(ordered) + "`"


def _budget(limit: Limit) -> str:
    return f"{limit.at_once:g} at once, then {limit.per_s * 60:g} a minute"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, *rows)).replace("\n", f"\n{'|---' * len(head)}|\n", 1)
