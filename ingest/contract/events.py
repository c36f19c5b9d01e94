"""The events of the bus, typed: prices and amounts as text, times in nanoseconds UTC, None where unknown."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ingest.contract.keys import StreamKey
from ingest.contract.numbers import Number, Signed

MAX_LEVELS = 50_000
"""Levels a side that a book entry may have."""

Side = Literal["buy", "sell"]
Levels = Annotated[tuple[tuple[str, str], ...], Meta(max_length=MAX_LEVELS)]
"""[price, amount] pairs; amounts are absolute and "0" removes. Checked as numbers by the codec, all in one match."""

Text = Annotated[str, Meta(max_length=256)]

TimeInForce = Literal["gtc", "ioc", "post_only"]
"""Good till canceled: it rests. Immediate or cancel: what is not filled at once ends. Post only: it never takes."""


class _Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A body without its defaults: an absent field is unknown, never 0."""


class Trade(_Body, frozen=True):
    """One trade, or `count` consecutive ones merged by the exchange, the last of which is `s`."""

    price: Number
    amount: Number
    side: Side
    """The taker's."""
    received_ns: int
    exchange_ns: int | None = None
    count: int | None = None
    backfilled: bool | None = None


class Ticker(_Body, frozen=True):
    """All that is known of a symbol's best prices and last 24 hours."""

    received_ns: int
    bid: Number | None = None
    bid_amount: Number | None = None
    ask: Number | None = None
    ask_amount: Number | None = None
    last: Number | None = None
    last_amount: Number | None = None
    open: Number | None = None
    high: Number | None = None
    low: Number | None = None
    volume: Number | None = None
    quote_volume: Number | None = None
    exchange_ns: int | None = None


class Candle(_Body, frozen=True):
    """One interval so far, or for good once `closed`."""

    open_ns: int
    open: Number
    high: Number
    low: Number
    close: Number
    volume: Number
    closed: bool
    received_ns: int
    quote_volume: Number | None = None
    trades: int | None = None
    exchange_ns: int | None = None
    backfilled: bool | None = None


class Snapshot(_Body, frozen=True):
    """A whole order book, best first; `depth` levels a side are vouched for, all of them if absent."""

    bids: Levels
    asks: Levels
    received_ns: int
    exchange_ns: int | None = None
    depth: int | None = None


class Delta(_Body, frozen=True):
    """Changed levels of an order book; belongs to the snapshot of the same epoch."""

    bids: Levels
    asks: Levels
    received_ns: int
    exchange_ns: int | None = None


class Gap(_Body, frozen=True):
    """What is missing, standing before what follows the hole: ids, both inclusive, or a span of time.

    Or, where the server lost entries that it had confirmed, all that came after entry `after_n` of generation
    `after_g`; what of it can be had again follows.
    """

    reason: Text
    first_id: Text | None = None
    last_id: Text | None = None
    from_ns: int | None = None
    to_ns: int | None = None
    after_g: Text | None = None
    after_n: int | None = None


class Status(_Body, frozen=True):
    """A change of a connection or a subscription (on `md:{EX}:status`), or of one stream (in that stream)."""

    state: Text
    reason: Text
    connection: Text | None = None
    worker: Text | None = None
    stream: Text | None = None
    """That it is about, if it is not the one in which it stands."""
    symbol: Text | None = None
    """That it is about, if it is of no one stream."""


class Intent(_Body, frozen=True):
    """What a bot wants done."""

    intent_id: Text
    account: Text
    bot: Text
    side: Side
    order_type: Literal["market", "limit", "cancel"]
    amount: Number
    decided_ns: int
    valid_until_ns: int
    price: Number | None = None
    time_in_force: TimeInForce | None = None
    """Of a limit order; `gtc` unless it says so."""
    cancels: Text | None = None
    """The intent whose order is to end; of a `cancel`, whose amount is "0"."""


class Order(_Body, frozen=True):
    """An order's state after a change."""

    order_id: Text
    intent_id: Text
    account: Text
    status: Literal["new", "open", "partially_filled", "filled", "canceled", "rejected", "expired"]
    side: Side
    order_type: Literal["market", "limit"]
    amount: Number
    filled: Number
    updated_ns: int
    price: Number | None = None
    average: Number | None = None
    reason: Text | None = None


class Fill(_Body, frozen=True):
    """One execution of an order; fees are [currency, amount], negative for a rebate."""

    fill_id: Text
    order_id: Text
    intent_id: Text
    account: Text
    side: Side
    price: Number
    amount: Number
    fees: Annotated[tuple[tuple[Text, Signed], ...], Meta(max_length=16)]
    liquidity: Literal["maker", "taker"]
    exchange_ns: int
    received_ns: int


class Position(_Body, frozen=True):
    """What an account holds of one symbol after a change; sums in the quote currency."""

    account: Text
    quantity: Signed
    """Below 0 it is short."""
    average: Number
    """What a unit of it cost; 0 if there is none."""
    realized: Signed
    fees: Annotated[tuple[tuple[Text, Signed], ...], Meta(max_length=16)]
    """[currency, amount] of all that was paid so far; those in the quote currency are in `realized`."""
    fills: int
    """How many are in it."""
    updated_ns: int
    mark: Number | None = None
    unrealized: Signed | None = None


Body = Trade | Ticker | Candle | Snapshot | Delta | Gap | Status | Intent | Order | Fill | Position


Rule = Literal[
    "dense",
    "window",
    "opaque",
    "range",
    "snapshot",
    "session",
    "ticker",
    "candle",
    "state",
    "silence",
    "gap",
    "span",
    "renewal",
    "restart",
]
"""How a stream decides whether it has an event already (append.lua does):

- dense: consecutive ids. `last` + 1 is appended, what is not above `last` dropped, anything else refused.
- window: identities of statuses and of what we say ourselves. Appended unless among the newest 2,000.
- opaque: the exchange's own identities without an order; `first` is the time in ms. As window, but what is older than
  the whole window counts as known, unless it lies in a registered span.
- range: a book delta over the ids `first`…`s`, appended if it joins what the stream has without a hole.
- snapshot: the whole book as of the id `s`, accepted if the stream is out of sync and nothing is between, or one is
  due.
- session: a book without ids; `s` is `SESSION.COUNTER`. The writer's next word is appended, and a session begins with
  a snapshot that is its first.
- ticker: `s` is `SOURCE.MARK`, appended if the mark is above that source's newest. A source that counts anew is called
  `SOURCE~1`, then `SOURCE~2`; of a series that has ended nothing is appended, and the writer is told.
- candle: `s` is `OPEN_NS.MARK` or `OPEN_NS.closed`, and `first` is `OPEN_MS-END_MS`. Closed ones follow one another
  without a hole; one that grows stands behind the last closed one, and is appended if its mark is above its newest.
- state: what a writer says of the stream; `first` is the state and where the writer stands. Appended unless it is known
  already, or somebody else has written since.
- silence: a `stale` whose writer hears all of a source from the mark `first` on, `SOURCE.MARK`. Appended unless the
  stream has come so far, or was told to be silent since that source was last heard in it.
- gap: the registered loss of the ids `first`-`last`, which must start right behind what the stream has.
- span: a stretch of time in ms in which something may be missing, where ids cannot tell.
- renewal: the server has lost what it had confirmed; `first` is "g n" as it stands, and the generation ends there. If
  nothing is left in the stream, the id behind which it goes on may follow: "g n last".
- restart: the exchange's ids begin anew; `first` is "last begin", where the new ones begin behind the second, and it is
  refused if the stream's newest id is not the first, "-" for none. Where its generation ended, the script adds.
"""


class Event(Struct, frozen=True):
    """One entry to be: its stream, the identity that names it there for ever, what it says, how it is admitted.

    `first` is the first id that the event covers: that of its oldest trade, U of a delta, `first-last` of a
    gap; or what its rule asks for, see there.
    """

    key: StreamKey
    s: str
    body: Body
    rule: Rule
    first: str = ""
