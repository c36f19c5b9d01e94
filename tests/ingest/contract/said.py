"""Events under each rule of the append script, of streams of one exchange."""

from ingest.contract.events import Candle, Delta, Event, Gap, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey

TRADES = StreamKey("binance", "trades", "BTC/USDT")
BOOK = StreamKey("binance", "orderbook", "BTC/USDT")
TICKER = StreamKey("binance", "ticker", "BTC/USDT")
CANDLES = StreamKey("binance", "candles-1m", "BTC/USDT")
STATUS = StreamKey("binance", "status")
OPAQUE = StreamKey("binance", "trades", "SOL/USDT")
COUNTED = StreamKey("binance", "orderbook", "ETH/USDT")
REGISTRY = "md:{binance}:streams"


def trade(last, first=None):
    body = Trade(price="1.10", amount="2", side="sell", received_ns=last)
    return Event(TRADES, str(last), body, "dense", str(last if first is None else first))


def delta(first, last):
    return Event(BOOK, str(last), Delta(bids=(("1", "2"),), asks=(), received_ns=last), "range", str(first))


def snapshot(last):
    return Event(BOOK, str(last), Snapshot(bids=(("1", "2"),), asks=(("3", "4"),), received_ns=last), "snapshot")


def gap(key, first, last):
    body = Gap(reason="why", first_id=str(first), last_id=str(last))
    return Event(key, f"x.{first}", body, "gap", f"{first}-{last}")


def status(key, s):
    return Event(key, s, Status(state="live", reason="start"), "window")


def ticker(source, mark):
    return Event(TICKER, f"{source}.{mark}", Ticker(received_ns=1, last=f"{mark}.0"), "ticker")


def candle(number, mark):
    """Intervals of ten milliseconds: the first is 0-9."""
    first_ms = 10 * number
    open_ns = first_ms * 1_000_000
    prices = {"open": "1", "high": "2", "low": "1", "close": "2", "volume": "3"}
    body = Candle(open_ns=open_ns, closed=mark == "closed", received_ns=1, **prices)
    return Event(CANDLES, f"{open_ns}.{mark}", body, "candle", f"{first_ms}-{first_ms + 9}")


def opaque(s, time_ms, before_ms=None):
    first = str(time_ms) if before_ms is None else f"{time_ms} {before_ms}"
    return Event(OPAQUE, s, Trade(price="1", amount="2", side="buy", received_ns=time_ms), "opaque", first)


def span(first_ms, last_ms):
    body = Gap(reason="why", from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000)
    return Event(OPAQUE, f"x.{first_ms}", body, "span", f"{first_ms}-{last_ms}")


def state(key, count, word, marks=""):
    return Event(key, f"y.{count}", Status(state=word, reason="why"), "state", f"{word} {marks}".rstrip())


def silence(count, before):
    return Event(TICKER, f"z.{count}", Status(state="stale", reason="why"), "silence", before)


def restart(key, s, rule, at):
    return Event(key, s, Gap(reason="series_restart"), rule, at)


def session(name, counter, *, whole):
    """Of a book without ids."""
    levels = {"bids": (("1", "2"),), "asks": (), "received_ns": counter}
    return Event(COUNTED, f"{name}.{counter}", Snapshot(**levels) if whole else Delta(**levels), "session")
