"""Where a strategy sits: it is shown entries one by one, in their own time, and its wishes become intents. Pure.

No clock of the machine has a say in what is decided, and a strategy lives from one entry to the next only as what is
kept of it. So the same entries in the same order give the same intents, to the byte: live, after a crash, on history.
"""

from collections.abc import Generator, Iterable
from contextlib import closing, suppress
from decimal import Decimal

import msgspec
from msgspec import convert

from consumers.book import LiveBook
from consumers.places import parts
from consumers.services.accounting import plain
from consumers.services.limited import OutOfTime, limited
from consumers.services.notes import Notes, Place, Terms, fresh
from consumers.services.strategy import (
    HOOKS,
    Alarm,
    Cancel,
    News,
    Strategy,
    Wish,
    Wishes,
    channels,
    frozen,
    thawed,
    told_ns,
)
from ingest.contract.codec import Entry
from ingest.contract.events import Candle, Event, Fill, Intent, Order, Status, Trade
from ingest.contract.keys import StreamKey, check_name, parse_symbol

MOST_WISHES = 100
"""Upon one entry; and alarms that one strategy has set."""
MOST_BYTES = 1 << 20
"""That a strategy may remember: they are written down with each entry."""
CANCEL_VALID_MS = 60_000
"""Longer than a wish: what nobody wants any more must not go on because a bot was late to say so."""
REFUSED = ("rejected", "expired")
"""What has become of an order that never was one."""


class Seat:
    """One object of a strategy, for one symbol of one exchange."""

    def __init__(self, terms: Terms, exchange: str, symbol: str, notes: Notes) -> None:
        self.streams = tuple(StreamKey(exchange, channel, symbol) for channel in channels(terms.kind))
        self.notes = notes if notes.fits(terms.kind) else fresh(terms.kind)
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
        if not isinstance(event, News) or self.halted or not self._is_for_it(key, entry, event):
            return ()
        self.notes = msgspec.structs.replace(self.notes, clock_ns=max(self.notes.clock_ns, told_ns(event)))
        told = self._told(key, entry, event)
        behind_ns = 0 if now_ns is None else now_ns - told_ns(event)
        if max(behind_ns, _age_ns(event)) <= self._terms.live_within_ms * 1_000_000:
            return told
        return tuple(each for each in told if isinstance(each.body, Status))

    def _told(self, key: StreamKey, entry: Entry, event: News) -> tuple[Event, ...]:
        """What it says to the alarms that are due by now, the earliest first, and then to the event.

        Each by itself: an alarm that it fails upon keeps no fill from it.
        """
        told: tuple[Event, ...] = ()
        for at_ns, name in sorted((at_ns, name) for name, (at_ns, _) in self.notes.alarms.items()):
            if at_ns <= self.notes.clock_ns and self.notes.alarms[name][0] == at_ns:
                told += self._try("on_alarm", self._pop(name), key, entry, told)
        shown = self._book.book if key.channel == "orderbook" else event
        return told + self._try(HOOKS[type(event)], shown, key, entry, told)

    def _pop(self, name: str) -> Alarm:
        alarms = dict(self.notes.alarms)
        _, after_ms = alarms.pop(name)
        self.notes = msgspec.structs.replace(self.notes, alarms=alarms)
        return Alarm(after_ms, name)

    def _try(
        self, hook: str, about: object, key: StreamKey, entry: Entry, before: tuple[Event, ...]
    ) -> tuple[Event, ...]:
        """Call the method; if it fails, all is as it was before."""
        if self.halted:
            return ()
        wished = sum(isinstance(each.body, Intent) for each in before)
        try:
            with limited(self._terms.limit_s):
                return self._decide(hook, about, key, entry, wished)
        except OutOfTime:
            self.halted = True
            took = f"took more than {self._terms.limit_s:g} s: it hears nothing more until the bot is started anew"
            return self._failed(key, entry, "strategy_halted", took)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a strategy is code we did not write
            return self._failed(key, entry, "strategy_failed", f"{type(error).__name__}: {error}")

    def _decide(self, hook: str, about: object, key: StreamKey, entry: Entry, wished: int) -> tuple[Event, ...]:
        strategy = thawed(self._terms.kind, self.notes.strategy)
        alarms, intents = dict(self.notes.alarms), list[Event]()
        with closing(_said(strategy, hook, key, about)) as talk, suppress(StopIteration):
            said = next(talk)
            while True:
                if isinstance(said, Alarm):
                    name = convert(said.name, str)
                    alarms[name] = (self.notes.clock_ns + convert(said.after_ms, int) * 1_000_000, said.after_ms)
                else:
                    intents.append(self._intent(key, entry, wished + len(intents), said))
                    name = intents[-1].s
                if wished + len(intents) > MOST_WISHES or len(alarms) > MOST_WISHES:
                    raise ValueError(f"more than {MOST_WISHES} wishes or alarms")
                said = talk.send(name)
        kept = frozen(strategy)
        if len(kept) > MOST_BYTES:
            raise ValueError(f"it remembers {len(kept)} bytes, above the {MOST_BYTES} allowed")
        thawed(self._terms.kind, kept)  # raises now rather than upon the next entry
        self.notes = msgspec.structs.replace(self.notes, strategy=kept, alarms=alarms)
        return tuple(intents)

    def _is_for_it(self, key: StreamKey, entry: Entry, event: News) -> bool:
        """Whether the entry says something to it: others' orders do not, nor does a change of a book it has not."""
        if isinstance(event, Fill | Order):
            return self._terms.owns(event.intent_id)
        return key.channel != "orderbook" or (self._book.live and self._book.as_of == entry.id)

    def _intent(self, key: StreamKey, entry: Entry, index: int, wish: Wish | Cancel) -> Event:
        # Of what never changes for this entry: deciding upon it again, whenever and whatever, names the same intent.
        intent_id = f"{self._terms.bot}/{key}/{entry.s}/{index}"
        valid_ms = CANCEL_VALID_MS if isinstance(wish, Cancel) else self._terms.valid_ms
        said = {
            "intent_id": intent_id,
            "account": self._terms.account,
            "bot": self._terms.bot,
            "decided_ns": self.notes.clock_ns,
            "valid_until_ns": self.notes.clock_ns + valid_ms * 1_000_000,
            **self._wanted(wish),
        }
        target = StreamKey(
            check_name(wish.exchange or key.exchange), "intents", parse_symbol(wish.symbol or key.symbol)
        )
        # Checked here, while it is one strategy's mistake: on the bus it would be an entry that nobody can read.
        return Event(key=target, s=intent_id, body=convert(said, Intent), rule="window")

    def _wanted(self, wish: Wish | Cancel) -> dict[str, str | None]:
        match wish:
            case Wish():
                return {
                    "side": wish.side,
                    "order_type": wish.order_type,
                    "amount": plain(Decimal(wish.amount)),
                    "price": None if wish.price is None else plain(Decimal(wish.price)),
                    "time_in_force": wish.time_in_force,
                }
            case Cancel() if self._terms.owns(wish.intent_id):
                return {"side": "buy", "order_type": "cancel", "amount": "0", "cancels": wish.intent_id}
            case Cancel():
                raise ValueError(f"{wish.intent_id!r:.100} is no intent of this bot, to cancel it")
        raise TypeError(f"{wish!r:.100} is neither a Wish nor a Cancel nor an Alarm")

    def _failed(self, key: StreamKey, entry: Entry, state: str, reason: str) -> tuple[Event, ...]:
        self.notes = msgspec.structs.replace(self.notes, failures=self.notes.failures + 1)
        # The 1st, 2nd, 4th, 8th …: a strategy may fail on every entry.
        if self.notes.failures.bit_count() > 1 and not self.halted:
            return ()
        said = f"bot {self._terms.bot:.60}, entry {entry.id}, failure {self.notes.failures}: {reason}"
        status = Status(state=state, reason=f"{said:.250}", symbol=key.symbol, stream=str(key))
        s = f"{self._terms.bot}/{key}/{entry.s}/{state}"
        return (Event(StreamKey(key.exchange, "status"), s, status, "window"),)


def _said(strategy: Strategy, hook: str, key: StreamKey, about: object) -> Wishes:
    method = getattr(strategy, hook, None)
    said = method(key, about) if method else None
    # Only a generator can be told the names of its wishes.
    talk = said if isinstance(said, Generator) else _plain(said or ())
    yield from _alarms(talk) if isinstance(about, Order) and about.status in REFUSED else talk


def _plain(said: Iterable[Wish | Cancel | Alarm]) -> Wishes:
    yield from (each for each in said)  # which takes names, as not every iterator does


def _alarms(talk: Wishes) -> Wishes:
    """Nothing else: who wishes again upon each refusal would go round in circles, as fast as the bus can."""
    with closing(talk), suppress(StopIteration):
        each = next(talk)
        while True:
            if not isinstance(each, Alarm):
                raise TypeError(f"{each!r:.100} upon a refusal; set an Alarm, or wait for what the market says next")
            each = talk.send((yield each))


def _age_ns(event: News) -> int:
    """How old it was when it was received: what was backfilled was old news then."""
    if isinstance(event, Trade | Candle) and event.backfilled:
        return event.received_ns - (event.exchange_ns or 0)
    return 0
