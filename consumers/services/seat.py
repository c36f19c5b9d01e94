"""Where a strategy sits: it is shown entries one by one, in their own time, and its wishes become intents. Pure.

No clock of the machine has a say in what is decided, and a strategy lives from one entry to the next only as what is
kept of it. So the same entries in the same order give the same intents, to the byte: live, after a crash, on history.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec
from msgspec import Struct, convert

from consumers.book import LiveBook
from consumers.places import parts
from consumers.services.accounting import plain
from consumers.services.limited import OutOfTime, limited
from consumers.services.strategy import HOOKS, Alarm, News, Strategy, Wish, channels, frozen, thawed
from ingest.contract.codec import Entry
from ingest.contract.events import Candle, Event, Intent, Status, Trade
from ingest.contract.keys import StreamKey, check_name, parse_symbol

MOST_WISHES = 100
"""Upon one entry; and alarms that one strategy has set."""
MOST_BYTES = 1 << 20
"""That a strategy may remember: they are written down with each entry."""


class Place(Struct, frozen=True):
    """The last entry of a stream that was shown."""

    g: str = ""
    n: int = 0
    id: str = "0-0"


class Notes(Struct, frozen=True):
    """What is kept of a seat: whoever takes it goes on as if nobody had left."""

    kind: str = ""
    """The class of the strategy."""
    strategy: bytes = b""
    """What it remembers."""
    clock_ns: int = 0
    """When the newest of what it was shown was received."""
    alarms: dict[str, tuple[int, int]] = {}
    """When it wants to be woken, by name; and after how many ms that is."""
    places: dict[str, Place] = {}
    """How far it was shown each channel."""
    failures: int = 0
    """Entries it failed on."""


class Terms(Struct, frozen=True, kw_only=True):
    """What all seats of a bot have in common."""

    bot: str
    kind: type[Strategy]
    account: str = "paper"
    live_within_ms: int = 10_000
    """What was older when it was received is warm-up: it is shown, and what is wished upon it is let go."""
    valid_ms: int = 5_000
    limit_s: float = 1.0
    """Of the processor's time, upon one entry."""


class Seat:
    """One object of a strategy, for one symbol of one exchange."""

    def __init__(self, terms: Terms, exchange: str, symbol: str, notes: Notes) -> None:
        self.streams = tuple(StreamKey(exchange, channel, symbol) for channel in channels(terms.kind))
        self.notes = notes if _fits(terms.kind, notes) else _new(terms.kind)
        self.halted = False
        """It took too long once, and is shown nothing any more."""
        self._terms = terms
        self._book = LiveBook(StreamKey(exchange, "orderbook", symbol))

    @property
    def last(self) -> str:
        """The id of the newest entry that was shown, "" if there is none."""
        return max((place.id for place in self.notes.places.values()), key=parts, default="")

    def place(self, key: StreamKey) -> Place:
        """How far it was shown this stream."""
        return self.notes.places.get(key.channel, Place())

    def has(self, key: StreamKey, entry: Entry) -> bool:
        """Whether it was shown this entry."""
        place = self.place(key)
        return entry.g == place.g and entry.n <= place.n

    def glance(self, key: StreamKey, entry: Entry) -> None:
        """Take an entry into the book that was shown before, or is of before the start."""
        if key.channel == "orderbook":
            self._book.take(entry)

    def show(self, key: StreamKey, entry: Entry, now_ns: int | None = None) -> tuple[Event, ...]:
        """What follows from the next entry: intents, or a status that says how the strategy failed.

        `now_ns` is the time if it is shown live: then what was received too long ago is warm-up.
        """
        self.glance(key, entry)
        if self.has(key, entry):
            return ()
        places = {**self.notes.places, key.channel: Place(entry.g, entry.n, entry.id)}
        self.notes = msgspec.structs.replace(self.notes, places=places)
        event = entry.event
        if not isinstance(event, News) or self.halted or not self._is_whole(key, entry):
            return ()
        self.notes = msgspec.structs.replace(self.notes, clock_ns=max(self.notes.clock_ns, event.received_ns))
        try:
            with limited(self._terms.limit_s):
                intents = self._decide(key, entry, event)
        except OutOfTime:
            self.halted = True
            took = f"took more than {self._terms.limit_s:g} s: it hears nothing more until the bot is started anew"
            return self._failed(key, entry, "strategy_halted", took)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a strategy is code we did not write
            return self._failed(key, entry, "strategy_failed", f"{type(error).__name__}: {error}")
        behind_ns = 0 if now_ns is None else now_ns - event.received_ns
        return intents if max(behind_ns, _age_ns(event)) <= self._terms.live_within_ms * 1_000_000 else ()

    def _decide(self, key: StreamKey, entry: Entry, event: News) -> tuple[Event, ...]:
        strategy = thawed(self._terms.kind, self.notes.strategy)
        alarms = dict(self.notes.alarms)
        wishes = []
        for said in self._heard(strategy, alarms, key, entry, event):
            if isinstance(said, Alarm):
                alarms[said.name] = (self.notes.clock_ns + convert(said.after_ms, int) * 1_000_000, said.after_ms)
            elif isinstance(said, Wish):
                wishes.append(said)
            else:
                raise TypeError(f"{said!r:.100} is neither a Wish nor an Alarm")
            if len(wishes) > MOST_WISHES or len(alarms) > MOST_WISHES:
                raise ValueError(f"more than {MOST_WISHES} wishes or alarms")
        intents = tuple(self._intent(key, entry, index, wish) for index, wish in enumerate(wishes))
        kept = frozen(strategy)
        if len(kept) > MOST_BYTES:
            raise ValueError(f"it remembers {len(kept)} bytes, above the {MOST_BYTES} allowed")
        thawed(self._terms.kind, kept)  # raises now rather than upon the next entry
        self.notes = msgspec.structs.replace(self.notes, strategy=kept, alarms=alarms)
        return intents

    def _heard(
        self, strategy: Strategy, alarms: dict[str, tuple[int, int]], key: StreamKey, entry: Entry, event: News
    ) -> Iterator[Wish | Alarm]:
        """What it says to the alarms that are due by now, the earliest first, and then to the event."""
        due = sorted((at_ns, name) for name, (at_ns, _) in alarms.items() if at_ns <= self.notes.clock_ns)
        for _, name in due:
            _, after_ms = alarms.pop(name)
            yield from _said(strategy, "on_alarm", key, Alarm(after_ms, name))
        shown = self._book.book if key.channel == "orderbook" else event
        yield from _said(strategy, HOOKS[type(event)], key, shown)

    def _is_whole(self, key: StreamKey, entry: Entry) -> bool:
        """Whether the entry says something by itself: a change of a book that is not known does not."""
        return key.channel != "orderbook" or (self._book.live and self._book.as_of == entry.id)

    def _intent(self, key: StreamKey, entry: Entry, index: int, wish: Wish) -> Event:
        # Of what never changes for this entry: deciding upon it again, whenever and whatever, names the same intent.
        intent_id = f"{self._terms.bot}/{key}/{entry.s}/{index}"
        said = {
            "intent_id": intent_id,
            "account": self._terms.account,
            "bot": self._terms.bot,
            "side": wish.side,
            "order_type": wish.order_type,
            "amount": plain(Decimal(wish.amount)),
            "price": None if wish.price is None else plain(Decimal(wish.price)),
            "time_in_force": wish.time_in_force,
            "decided_ns": self.notes.clock_ns,
            "valid_until_ns": self.notes.clock_ns + self._terms.valid_ms * 1_000_000,
        }
        target = StreamKey(
            check_name(wish.exchange or key.exchange), "intents", parse_symbol(wish.symbol or key.symbol)
        )
        # Checked here, while it is one strategy's mistake: on the bus it would be an entry that nobody can read.
        return Event(key=target, s=intent_id, body=convert(said, Intent), rule="window")

    def _failed(self, key: StreamKey, entry: Entry, state: str, reason: str) -> tuple[Event, ...]:
        """It is as it was before, but for alarms that were due: else one that fails would keep it from all news."""
        notes = self.notes
        alarms = {name: alarm for name, alarm in notes.alarms.items() if alarm[0] > notes.clock_ns}
        self.notes = msgspec.structs.replace(notes, alarms=alarms, failures=notes.failures + 1)
        # The 1st, 2nd, 4th, 8th …: a strategy may fail on every entry.
        if self.notes.failures.bit_count() > 1 and not self.halted:
            return ()
        said = f"bot {self._terms.bot:.60}, entry {entry.id}, failure {self.notes.failures}: {reason}"
        status = Status(state=state, reason=f"{said:.250}", symbol=key.symbol, stream=str(key))
        s = f"{self._terms.bot}/{key}/{entry.s}/{state}"
        return (Event(StreamKey(key.exchange, "status"), s, status, "window"),)


def _said(strategy: Strategy, hook: str, *args: object) -> Iterable[Wish | Alarm]:
    method = getattr(strategy, hook, None)
    return (method(*args) or ()) if method else ()


def _fits(kind: type[Strategy], notes: Notes) -> bool:
    """Whether it is this strategy that has kept them, and can read them."""
    if notes.kind != _name(kind):
        return False
    try:
        thawed(kind, notes.strategy)
    except msgspec.ValidationError:
        return False
    return True


def _new(kind: type[Strategy]) -> Notes:
    return Notes(kind=_name(kind), strategy=frozen(kind()))


def _name(kind: type[Strategy]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _age_ns(event: News) -> int:
    """How old it was when it was received: what was backfilled was old news then."""
    if isinstance(event, Trade | Candle) and event.backfilled:
        return event.received_ns - (event.exchange_ns or 0)
    return 0
