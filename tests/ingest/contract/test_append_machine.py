"""Two writers, the script and a model of it: whatever is lost, sent again, begun anew or taken away."""

import fakeredis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from redis.exceptions import ResponseError

from ingest.contract.append import appended, batch
from ingest.contract.events import Event, Gap
from tests.ingest.contract.model import Early, Server
from tests.ingest.contract.said import (
    BOOK,
    CANDLES,
    OPAQUE,
    TICKER,
    TRADES,
    candle,
    delta,
    gap,
    opaque,
    session,
    silence,
    snapshot,
    span,
    state,
    ticker,
    trade,
)
from tests.ingest.contract.script import Script, expected, left

KINDS = {TRADES: 3, BOOK: 5, TICKER: 4, CANDLES: 2, OPAQUE: 2}
"""How many ways there are to say something of each stream."""
FAKE = fakeredis.FakeRedis()
STEPS = st.sampled_from((1, 1, 1, 0, 2, -1, -3))
BIT = st.integers(0, 1)
MOSTLY = st.sampled_from((True,) * 7 + (False,))
SOURCES = st.sampled_from(("book", "book", "book~1", "book~2", "24h"))
WRITERS = st.sampled_from("ab")


class Writer:
    """Where it is in its feed, what it knows of the streams, and its calls that may not have been carried out."""

    def __init__(self, name):
        self.name = name
        self.id = 20
        self.known = {}
        self.fences = {}
        self.session = 0
        self.begin_line()

    def begin_line(self):
        self.session += 1
        self.line, self.number, self.counter, self.unsure = f"{self.name}{self.session}", 0, 0, []


@st.composite
def said(draw, writer, keys):
    """What a writer says next, most of it right behind what it said before."""
    events = []
    for _ in range(draw(st.integers(1, 4))):
        writer.id = max(10, writer.id + draw(STEPS))
        key = draw(st.sampled_from(keys))
        events.append(_said(draw, writer, key, draw(st.integers(0, KINDS[key] - 1)), writer.id))
    return events


def _said(draw, writer, key, kind, i):
    writer.counter += 1
    name = f"{writer.line}.{writer.counter}"
    makers = {
        TRADES: [lambda: trade(i), lambda: trade(i + 1, i), lambda: gap(TRADES, i, i + 1)],
        BOOK: [
            lambda: delta(i - 1, i),
            lambda: delta(i, i),
            lambda: snapshot(i),
            lambda: gap(BOOK, i, i + 1),
            lambda: state(BOOK, name, draw(st.sampled_from(("live", "suspect", "stale"))), str(i - draw(BIT))),
        ],
        TICKER: [
            lambda: ticker("book", i),
            lambda: ticker(draw(SOURCES), i),
            lambda: state(TICKER, name, draw(st.sampled_from(("live", "stale"))), f"{draw(SOURCES)}.{i - draw(BIT)}"),
            lambda: silence(name, f"{draw(SOURCES)}.{i + draw(BIT)}"),
        ],
        CANDLES: [
            lambda: candle(i, draw(st.sampled_from((1, 2, "closed")))),
            lambda: gap(CANDLES, 10 * i, 10 * i + 9),
        ],
        OPAQUE: [
            lambda: opaque(str(i), 1000 * i, 1000 * (i + draw(st.integers(-2, 2)))),
            lambda: span(1000 * i, 1000 * i + 999),
        ],
    }
    return makers[key][kind]()


class AppendMachine(RuleBasedStateMachine):
    @initialize(keys=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2, unique=True))
    def begin(self, keys):
        """Few streams at a time, so that much happens to each."""
        self.keys = keys
        FAKE.flushall()
        self.script = Script(FAKE)
        self.model = Server()
        self.writers = {name: Writer(name) for name in "ab"}
        self.births = 0

    def call(self, writer, events, number, g):
        """The same to both; what came back, None for a call that was too early."""
        known, fences = dict(writer.known), dict(writer.fences)
        sent = batch(g, events)
        arguments = sent.arguments(known, writer.line, number, fences)
        try:
            modelled = self.model.append(g, events, known=known, fences=fences, line=writer.line, number=number)
        except Early:
            modelled = None
        try:
            replied = appended(sent, FAKE.evalsha(self.script.digest, *arguments))
        except ResponseError as error:
            if not str(error).startswith("EARLY"):
                raise
            replied = None
        assert replied == modelled
        return replied

    def learn(self, writer, replies):
        for reply in replies or ():
            if reply.g and not reply.lost:
                writer.known[reply.key] = reply.g

    def fresh(self):
        self.births += 1
        return f"g{self.births}"

    @rule(name=WRITERS, data=st.data())
    def write(self, name, data):
        """Several calls in a row: most of what happens."""
        for _ in range(data.draw(st.integers(1, 4))):
            self.write_once(name, data, heard=data.draw(MOSTLY), carried=data.draw(MOSTLY))

    def write_once(self, name, data, *, heard, carried):
        """A call, the reply to which may be lost, or which never arrives."""
        writer = self.writers[name]
        events, g = data.draw(said(writer, self.keys)), self.fresh()
        writer.number += 1
        replies = self.call(writer, events, writer.number, g) if carried else None
        if replies is None or not heard:
            writer.unsure.append((events, writer.number, g))
        else:
            self.learn(writer, replies)

    @precondition(lambda self: any(writer.unsure for writer in self.writers.values()))
    @rule()
    def reconnect(self):
        """All that may not have been carried out is sent again, unchanged and in order, on a new line."""
        for writer in self.writers.values():
            unsure = writer.unsure
            writer.begin_line()
            for events, _, g in unsure:
                writer.number += 1
                self.learn(writer, self.call(writer, events, writer.number, g))

    @rule(name=WRITERS, data=st.data(), how=st.sampled_from(("renewal", "restart")), late=st.booleans())
    def begin_anew(self, name, data, how, late):
        """On a look at where the stream stands that is true, or old."""
        writer, key = self.writers[name], data.draw(st.sampled_from(self.keys))
        stream = self.model.streams.get(key)
        if how == "restart":
            stands = "-" if stream is None or stream.last is None else str(stream.last - late)
        else:
            stands = f"{stream.g} {stream.n - late}" if stream else "- 0"
        if how == "restart" or (key in (TRADES, BOOK, CANDLES) and data.draw(st.booleans())):
            stands += f" {data.draw(st.integers(1, 99))}"
        writer.counter += 1
        event = Event(key, f"{writer.line}.{writer.counter}", Gap(reason=how), how, stands)
        writer.known.pop(key, None)
        writer.number += 1
        replies = self.call(writer, [event], writer.number, self.fresh())
        self.learn(writer, replies)

    @rule(name=WRITERS, number=st.integers(1, 3))
    def take_over(self, name, number):
        self.writers[name].fences.update(dict.fromkeys(self.keys, number))

    @rule(name=WRITERS, what=st.sampled_from(("a worker starts anew", "deleted", "deleted, and made again", "flushed")))
    def lose(self, name, what):
        if what == "a worker starts anew":
            self.writers[name].known.clear()
            self.writers[name].fences.clear()
            self.writers[name].begin_line()
        elif what.startswith("deleted"):
            FAKE.delete(str(self.keys[0]))
            if what != "deleted":
                FAKE.xgroup_create(str(self.keys[0]), "readers", "0", mkstream=True)
            if self.keys[0] in self.model.streams:
                self.model.streams[self.keys[0]].entries.clear()
        else:
            FAKE.flushall()
            self.script = Script(FAKE)
            self.model = Server()

    @rule(name=WRITERS, whole=st.booleans(), skip=st.booleans())
    def say_a_book_without_ids(self, name, whole, skip):
        writer = self.writers[name]
        writer.number += 1
        writer.counter += 1 + skip
        self.call(writer, [session(writer.line, writer.counter, whole=whole)], writer.number, self.fresh())

    @invariant()
    def nothing_differs(self):
        if hasattr(self, "model"):
            assert left(self.script) == expected(self.model)


AppendMachine.TestCase.settings = settings(derandomize=True, max_examples=250, stateful_step_count=40, deadline=None)
test_two_writers_and_whatever_happens = AppendMachine.TestCase
