"""Whatever writers of trades without an order live through, no trade is missing without a word."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Event
from ingest.exchanges.exchange import NEVER, Locate, Standing
from ingest.exchanges.opaque import OpaqueTrades
from ingest.exchanges.session import Session
from ingest.exchanges.steps import Steps
from tests.ingest.exchanges.test_opaque import KEY, MOST, S, counted, told


def said_of(told):
    return Event(KEY, told.id, told.trade, "opaque", str(told.ms))


def ms_of(event):
    return int(event.first.split(" ")[0])


class Bus:
    """One stream of the script: an identity that is there is dropped, and what something is behind has to be there."""

    def __init__(self):
        self.said = {}
        self.spans = []

    @property
    def newest(self):
        return max(map(ms_of, self.said.values()), default=None)

    def take(self, events):
        for event in events:
            if event.rule == "span":
                self.spans.append(tuple(map(int, event.first.split("-"))))
                continue
            ms, *before = map(int, event.first.split(" "))
            if event.s not in self.said and before and self.said and before[0] > self.newest:
                self.spans.append((self.newest, ms))
            self.said.setdefault(event.s, event)

    def forget(self, count):
        """The newest ones, and the spans between them; never all."""
        kept = [*self.said.items()][: max(1, len(self.said) - count)]
        self.said = dict(kept)
        self.spans = [each for each in self.spans if each[1] <= self.newest]

    def standing(self):
        return Standing("g", len(self.said), None if self.newest is None else str(self.newest))


class Writer:
    """Connects now and then, and hears everything while it is connected."""

    def __init__(self, name, bus):
        self.name, self.bus = name, bus
        self.talk, self.position, self.sessions = None, None, 0
        self.tail = []

    def say(self, events):
        self.tail += events
        self.bus.take(events)

    def die(self):
        self.talk, self.position, self.tail = None, None, []

    def connect(self, now_ns):
        self.sessions += 1
        position = self.position or self.bus.standing().position
        self.talk = OpaqueTrades(KEY, Session(f"{self.name}{self.sessions}"), position)
        self.talk.open(now_ns)

    def cut(self):
        self.say(self.talk.closed("cut"))
        self.position, self.talk = self.talk.position, None

    def tick(self, emitted, lag, fails, now_ns):
        for want in self.talk.wants(now_ns) if self.talk else ():
            if isinstance(want, Event):
                self.say([want])
            elif isinstance(want, Locate):
                self.say(self.talk.located(self.bus.standing(), now_ns))
            elif fails:
                self.say(self.talk.failed("no", now_ns))
            else:
                rows = emitted[: len(emitted) - lag][-MOST:]
                self.say(self.talk.fetched(rows, MOST, now_ns))


HEARS = ("trade", "trade", "trade", "trade", "connect", "cut", "tick", "tick")


def histories(of):
    step = st.tuples(st.sampled_from(of), st.integers(0, 1), st.integers(0, 2), st.booleans())
    return st.lists(step, max_size=60)


class World:
    """An exchange, and the writers of one stream: the page is short, late, or fails; trades may share a millisecond."""

    def __init__(self):
        self.bus, self.emitted, self.now_ns = Bus(), [told(1, "old")], 0
        self.writers = [Writer("a", self.bus), Writer("b", self.bus)]

    def trade(self, _writer, gap_ms, _fails):
        self.emitted.append(told(self.emitted[-1].ms + gap_ms, f"t{len(self.emitted)}"))
        for each in self.writers:
            if each.talk:
                each.say(each.talk.trade(self.emitted[-1], self.now_ns))

    def connect(self, writer, *_):
        if not writer.talk:
            writer.connect(self.now_ns)

    def cut(self, writer, *_):
        if writer.talk:
            writer.cut()

    def die(self, writer, *_):
        writer.die()

    def forget(self, _writer, how, _fails):
        """And whoever is left says once more what it has said."""
        self.bus.forget(3 * how + 1)
        for each in self.writers:
            self.bus.take(each.tail)

    def tick(self, writer, lag, fails):
        writer.tick(self.emitted, min(lag, len(self.emitted) - 1), fails, self.now_ns)

    def step(self, what, which, how, fails):
        self.now_ns += S
        getattr(self, what)(self.writers[which], how, fails)

    def settle(self):
        self.step("connect", 0, 0, False)
        self.step("trade", 0, 1, False)
        while (due_ns := self.writers[0].talk.due()) != NEVER:
            self.now_ns = max(self.now_ns, due_ns)
            self.tick(self.writers[0], 0, False)


def play(history):
    """What was emitted since the stream began and is not said; and what of it lies in no span."""
    world = World()
    world.settle()
    begun = next(iter(world.bus.said))
    for each in history:
        world.step(*each)
    world.settle()
    since = [each.id for each in world.emitted].index(begun)
    missing = [each for each in world.emitted[since:] if each.id not in world.bus.said]
    return missing, [each for each in missing if not any(a <= each.ms <= b for a, b in world.bus.spans)]


@settings(max_examples=1500, deadline=None)
@given(histories((*HEARS, "die", "forget")))
def test_whatever_was_emitted_and_is_not_said_lies_in_a_registered_span(history):
    assert play(history)[1] == []


def test_without_spans_the_property_above_would_fail(monkeypatch):
    missed = [("cut", 0, 0, False), *[("trade", 0, 1, False)] * 9]
    honest = [len(each) for each in play(missed)]
    monkeypatch.setattr(OpaqueTrades, "_unverifiable", lambda *_: [])
    assert (honest, [len(each) for each in play(missed)]) == ([6, 0], [6, 6])


def test_if_trades_did_not_say_what_they_are_behind_it_would_fail(monkeypatch):
    """Of five trades one writer knows only that they are on the bus; then they are not, and who heard them is dead."""
    forgotten = [
        *[("trade", 0, 1, False)] * 5,
        ("connect", 1, 0, False),
        ("trade", 0, 1, False),
        ("tick", 1, 0, False),
        ("tick", 1, 0, False),
        ("die", 0, 0, False),
        ("forget", 0, 2, False),
    ]
    honest = [len(each) for each in play(forgotten)]
    monkeypatch.setattr(OpaqueTrades, "_event", lambda _self, told, _before_ms=None: said_of(told))
    assert (honest, [len(each) for each in play(forgotten)]) == ([5, 0], [5, 5])


class Deaf(World):
    """One writer, who misses trades whose ids are counted: REST has all of them, but knows few at a time."""

    def __init__(self):
        super().__init__()
        self.emitted, self.writers = [counted(100, 1)], self.writers[:1]

    def trade(self, heard, gap_ms, _fails):
        self.emitted.append(counted(int(self.emitted[-1].id) + 1, self.emitted[-1].ms + gap_ms))
        talk = self.writers[0].talk
        if talk and heard == 0:
            self.writers[0].say(talk.trade(self.emitted[-1], self.now_ns))

    def step(self, what, which, how, fails):
        self.now_ns += S
        getattr(self, what)(which if what == "trade" else self.writers[0], how, fails)


def heard_by_one(history):
    """As of `play`."""
    world = Deaf()
    world.settle()
    begun = next(iter(world.bus.said))
    for each in history:
        world.step(*each)
    world.settle()
    since = [each.id for each in world.emitted].index(begun)
    missing = [each for each in world.emitted[since:] if each.id not in world.bus.said]
    return [each for each in missing if not any(a <= each.ms <= b for a, b in world.bus.spans)]


@settings(max_examples=1000, deadline=None)
@given(histories(HEARS))
def test_where_ids_are_counted_nothing_that_was_missed_on_a_connection_goes_unsaid(history):
    assert heard_by_one(history) == []


def test_without_steps_the_property_above_would_fail(monkeypatch):
    missed = [("trade", 1, 1, False), ("trade", 0, 1, False)]
    honest = heard_by_one(missed)
    monkeypatch.setattr(Steps, "follow", lambda *_: None)
    assert (honest, len(heard_by_one(missed))) == ([], 1)
