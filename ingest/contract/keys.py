"""Redis keys: everything of an exchange lies in its hash tag, so one call and one blocking read serve it all."""

import re
from collections.abc import Iterable

from msgspec import Struct

EXCHANGES = "md:exchanges"
"""The set of all exchanges: the only key outside a hash tag."""

_SYMBOL = re.compile(r"([^\W_]|[._])+\Z")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z", re.IGNORECASE | re.ASCII)
_KEY = re.compile(r"md:\{(?P<exchange>[^{}:]+)\}:(?P<channel>[^:]+)(:(?P<symbol>[^:]+))?\Z")


class BadName(ValueError):
    """A symbol, channel, exchange or key that the bus does not carry; says which and why."""


class StreamKey(Struct, frozen=True, cache_hash=True, order=True):
    """One stream: `md:{exchange}:channel:BASE-QUOTE`. `symbol` is `BASE/QUOTE`, or empty for `status`."""

    exchange: str
    channel: str
    symbol: str = ""

    def __str__(self) -> str:
        key = f"md:{{{self.exchange}}}:{self.channel}"
        return f"{key}:{self.symbol.replace('/', '-')}" if self.symbol else key

    @property
    def state(self) -> str:
        """Hash: g, n, last and whatever else the append rules remember."""
        return f"{self}:state"

    @property
    def gaps(self) -> str:
        """Sorted set of `first-last`, the registered losses, by first id."""
        return f"{self}:gaps"

    @property
    def ids(self) -> str:
        """Sorted set of the identities in the window of opaque kinds."""
        return f"{self}:ids"

    @property
    def snap(self) -> str:
        """Hash {id n g epoch data}: the last snapshot entry of an order book."""
        return f"{self}:snap"

    @property
    def retention(self) -> str:
        """Hash of the janitor's: trimmed_n = how many entries, trimmed_to = the id of the last one, `group:NAME`."""
        return f"{self}:retention"

    @property
    def interval(self) -> str | None:
        """The interval of a candle stream, else None."""
        return self.channel.removeprefix("candles-") if self.channel.startswith("candles-") else None


SERVICES = frozenset({"intents", "approved", "orders", "fills", "positions"})
"""The channels that services write; the others are the workers'."""


def parse_key(text: str) -> StreamKey:
    """The stream that `text` names. Raises BadName."""
    match = _KEY.match(text)
    if match is None:
        raise BadName(f"{text!r} is not a stream key; expected md:{{EXCHANGE}}:CHANNEL[:BASE-QUOTE]")
    exchange, channel, symbol = match["exchange"], match["channel"], match["symbol"]
    return StreamKey(check_name(exchange), check_name(channel), parse_symbol(symbol) if symbol else "")


def parse_symbol(text: str) -> str:
    """`BTC/USDT` from `BTC/USDT` or `BTC-USDT`. Raises BadName for anything that could bend a key or a pattern."""
    base, separator, quote = text.partition("/" if "/" in text else "-")
    if not separator or not _SYMBOL.match(base) or not _SYMBOL.match(quote):
        raise BadName(f"{text!r} is not a symbol; expected BASE/QUOTE of letters, digits, '.' and '_', as in BTC/USDT")
    return f"{base}/{quote}"


def check_name(text: str) -> str:
    """`text`, if it can be an exchange or a channel. Raises BadName."""
    if not _NAME.match(text):
        raise BadName(f"{text!r} is not a name of an exchange or channel; expected letters, digits and '-'")
    return text


def streams(exchange: str) -> str:
    """Set of the exchange's stream keys: readers take keys from here and never SCAN."""
    return f"md:{{{exchange}}}:streams"


def run(exchange: str) -> str:
    """String: the `run_id` of the server in which the streams were last found to be as their writers know them."""
    return f"md:{{{exchange}}}:run"


def line_key(exchange: str, name: str) -> str:
    """String: the number of the newest call of a writer's line that was carried out."""
    return f"{streams(exchange)}:line:{name}"


def groups(exchange: str) -> str:
    """Hash: registered consumer group → what it needs, `CHANNEL` or `CHANNEL:BASE-QUOTE`, separated by spaces."""
    return f"md:{{{exchange}}}:groups"


def need(channel: str, symbol: str = "") -> str:
    """What a group registers that needs the channel, of one symbol or of all. The janitor's look.lua reads it, too."""
    return f"{channel}:{symbol.replace('/', '-')}" if symbol else channel


def is_needed(key: StreamKey, needs: Iterable[str]) -> bool:
    """Whether a group that has registered these needs the stream. `candles` stands for every interval."""
    channels = {key.channel, "candles"} if key.interval else {key.channel}
    symbols = {"", key.symbol.replace("/", "-")}
    wanted = (each.partition(":") for each in needs)
    return any(channel in channels and (not key.symbol or symbol in symbols) for channel, _, symbol in wanted)


def handled(exchange: str, group: str) -> str:
    """Hash, per stream: `g n count id` = the newest entry the group has handled, its id, and how many in all."""
    return f"md:{{{exchange}}}:handled:{group}"


def tries(exchange: str, group: str) -> str:
    """Hash: `STREAM ID failures` and `STREAM ID deliveries` of entries that the group has trouble with."""
    return f"md:{{{exchange}}}:tries:{group}"


def dead_letters(exchange: str, group: str) -> str:
    """Stream of the entries that the group could not handle, each with where it came from and why it is here."""
    return f"dlq:{{{exchange}}}:{group}"


def buried(exchange: str, group: str) -> str:
    """Hash: stream → how many of its entries the group has put among the dead letters."""
    return f"md:{{{exchange}}}:buried:{group}"


def redriven(exchange: str, group: str) -> str:
    """Set of the streams `redo(…)` that were ever made for the group."""
    return f"md:{{{exchange}}}:redriven:{group}"


def redo(group: str, exchange: str, symbol: str) -> StreamKey:
    """A stream for one group alone: dead letters of a symbol that are to be handled after all."""
    return StreamKey(exchange, f"redo-{group}", symbol)


def readers(exchange: str) -> str:
    """Hash: `GROUP/CONSUMER` → MessagePack map of that reader's own figures."""
    return f"md:{{{exchange}}}:readers"


def writers(exchange: str) -> str:
    """Hash: WRITER → MessagePack map of that writer's own figures; one that was silent for a day is forgotten."""
    return f"md:{{{exchange}}}:writers"


def position(exchange: str, account: str, symbol: str) -> str:
    """Hash: one account's position in one symbol."""
    return f"pos:{{{exchange}}}:{account}:{symbol.replace('/', '-')}"


def positions(exchange: str) -> str:
    """Set of the exchange's position keys."""
    return f"md:{{{exchange}}}:positions"


def kept(exchange: str, service: str, symbol: str) -> str:
    """Hash: `state` = what a service knows of a symbol; `out …` = what it has decided and may not have told yet."""
    return f"md:{{{exchange}}}:kept:{service}:{symbol.replace('/', '-')}"


KILL = "md:kill"
"""String: there while nothing may be traded anywhere, even at exchanges that come later."""


def kill(exchange: str) -> str:
    """String: there while nothing may be traded at the exchange."""
    return f"md:{{{exchange}}}:kill"


def lease(exchange: str, name: str) -> str:
    """Who does this for the exchange now; expires if it is not renewed."""
    return f"md:{{{exchange}}}:lease:{name}"


def members(exchange: str, group: str) -> str:
    """Hash: a reader of the group → when it counts as gone unless it is heard of, in ms."""
    return lease(exchange, f"members:{group}")


def shards(exchange: str, group: str) -> str:
    """Hash: part of what the group reads → `OWNER FENCE EXPIRES READY`."""
    return lease(exchange, f"shards:{group}")


def control(exchange: str) -> str:
    """Hash: symbol → `on` or `off`: what workers hear besides, or instead of, what they were started with."""
    return f"md:{{{exchange}}}:control"


def instruments(exchange: str) -> str:
    """Hash: symbol → MessagePack map of what the exchange trades under it, see contract/instruments.py."""
    return f"md:{{{exchange}}}:instruments"


def limit(exchange: str, name: str) -> str:
    """Hash: what all processes behind one address have left of a limit of the exchange's; expires once that is all."""
    return f"md:{{{exchange}}}:limits:{name}"


def untold(exchange: str) -> str:
    """Sorted set, by ms: what was done to streams or has become of symbols, and has yet to be told in `status`."""
    return f"md:{{{exchange}}}:untold"
