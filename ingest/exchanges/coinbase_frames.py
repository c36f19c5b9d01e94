"""What Coinbase says, and the events that it means. Its prices and sizes are text.

https://docs.cdp.coinbase.com/exchange/websocket-feed/channels
"""

from collections.abc import Iterable
from itertools import chain
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from ingest.contract.events import Delta, Trade
from ingest.contract.numbers import check, exchange_time
from ingest.exchanges.book import Level
from ingest.exchanges.times import nanoseconds

Id = Annotated[int, Meta(ge=0, le=1 << 53)]
Side = Literal["buy", "sell"]


class Match(Struct, tag_field="type", tag="match"):
    """`matches`. The side is the maker's."""

    feed: ClassVar[str] = "matches"
    trade_id: Id
    side: Side
    size: str
    price: str
    product_id: str
    time: str


class LastMatch(Match, tag_field="type", tag="last_match"):
    """`matches`: once behind a subscription, the newest trade before it."""


class Ticker(Struct, tag_field="type", tag="ticker"):
    """`ticker`: once behind a subscription, then with each trade. Of a product that never traded much is absent.

    The side, which nobody here asks for, is the taker's.
    """

    feed: ClassVar[str] = "ticker"
    product_id: str
    sequence: Id
    price: str | None = None
    best_bid: str | None = None
    best_bid_size: str | None = None
    best_ask: str | None = None
    best_ask_size: str | None = None
    open_24h: str | None = None
    high_24h: str | None = None
    low_24h: str | None = None
    volume_24h: str | None = None
    last_size: str | None = None
    trade_id: Id | None = None
    time: str | None = None


class Whole(Struct, tag_field="type", tag="snapshot"):
    """`level2_batch`: once behind a subscription, the whole book."""

    feed: ClassVar[str] = "level2_batch"
    product_id: str
    bids: list[Level]
    asks: list[Level]
    time: str | None = None


class Changes(Struct, tag_field="type", tag="l2update"):
    """`level2_batch`: [side, price, new size] of the last 50 ms, in their order; the size zero removes."""

    feed: ClassVar[str] = "level2_batch"
    product_id: str
    changes: list[tuple[Side, str, str]]
    time: str | None = None


class Heartbeat(Struct, tag_field="type", tag="heartbeat"):
    """`heartbeat`: each second."""

    feed: ClassVar[str] = "heartbeat"
    product_id: str
    time: str
    last_trade_id: Id | None = None


class Subscribed(Struct):
    """The products of one channel, by the exchange's other name for it."""

    name: str
    product_ids: list[str] = []


class Subscriptions(Struct, tag_field="type", tag="subscriptions"):
    """All that this connection is subscribed to: the answer to every request, with nothing to say to which."""

    channels: list[Subscribed]


class Refusal(Struct, tag_field="type", tag="error"):
    """A request is refused as a whole; or the last word on a connection."""

    message: str
    reason: str = ""


Data = Match | LastMatch | Ticker | Whole | Changes | Heartbeat
Frame = Data | Subscriptions | Refusal

_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)
read = _decoder.decode


class Known(Struct, frozen=True):
    """What is known of a symbol's prices."""

    facts: dict[str, str | None]
    exchange_ns: int | None


def trade(said: Match, now_ns: int) -> Trade:
    """A live trade. Raises ValueError, as all of these do."""
    return made(said.price, said.size, said.side, said.time, now_ns)


def made(price: str, size: str, maker: Side, time: str, now_ns: int) -> Trade:
    """A trade in which the maker was on that side."""
    check((price, size))
    # Coinbase names the maker's side, by REST as well; the taker is on the other.
    # https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#matches-channel
    taker: Side = "sell" if maker == "buy" else "buy"
    exchange_ns = exchange_time(nanoseconds(time), now_ns)
    return Trade(price=price, amount=size, side=taker, received_ns=now_ns, exchange_ns=exchange_ns)


def ticker(said: Ticker, now_ns: int) -> Known:
    """All of a ticker. A side without orders is 0."""
    bid, ask = _known(said.best_bid), _known(said.best_ask)
    facts = {
        "bid": bid,
        "bid_amount": bid and said.best_bid_size,
        "ask": ask,
        "ask_amount": ask and said.best_ask_size,
        "last": said.price,
        "last_amount": said.last_size,
        "open": said.open_24h,
        "high": said.high_24h,
        "low": said.low_24h,
        "volume": said.volume_24h,
    }
    check(text for text in facts.values() if text is not None)
    return Known(facts, None if said.time is None else exchange_time(nanoseconds(said.time), now_ns))


def whole(said: Whole, now_ns: int) -> Delta:
    """The levels of a whole book."""
    return _levels(said.bids, said.asks, said.time, now_ns)


def changes(said: Changes, now_ns: int) -> Delta:
    """The levels that changed."""
    bids = [(price, size) for side, price, size in said.changes if side == "buy"]
    asks = [(price, size) for side, price, size in said.changes if side == "sell"]
    return _levels(bids, asks, said.time, now_ns)


def _levels(bids: Iterable[Level], asks: Iterable[Level], time: str | None, now_ns: int) -> Delta:
    sides = tuple(bids), tuple(asks)
    check(chain.from_iterable(chain(*sides)))
    # Now and then the year is 0001.
    exchange_ns = None if time is None else exchange_time(nanoseconds(time), now_ns)
    return Delta(bids=sides[0], asks=sides[1], received_ns=now_ns, exchange_ns=exchange_ns)


def _known(price: str | None) -> str | None:
    return price if price and price.strip("0.") else None
