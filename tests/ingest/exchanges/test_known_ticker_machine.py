"""Two writers of one ticker that come, go, die and lag, on an exchange that counts anew: every silence is told."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Locate, Standing
from ingest.exchanges.known_ticker import DOUBT_NS, KnownTicker, Mark
from ingest.exchanges.session import Session
from ingest.exchanges.topic import HOLD_NS
from ingest.simulator import ledger
from tests.chaos.chronicle import Chapter, Past
from tests.chaos.exchange import Truth
from tests.chaos.oracle import judge
from tests.ingest.contract.model import Server

KEY = StreamKey("binance", "ticker", "BTC/USDT")
WRITERS = st.sampled_from("ab")
SOURCES = st.sampled_from(("book", "book", "day"))


class Writer:
    """What one process knows, and what of it is not written yet."""

    def __init__(self):
        self.topic = None
        self.position = None
        self.queue = []


class TickerMachine(RuleBasedStateMachine):
    """Faults come between events, so one of the rules does many of them.

    The stream is empty at first, and one writer has heard what is not written when the other one comes.
    """

    writer = Writer
    guards = True

    def __init__(self):
        super().__init__()
        self.server = Server()
        self.now_ns = self.sessions = self.lives = self.calls = 0
        self.numbers = {}
        self.emitted = []
        self.writers = {"a": self.writer(), "b": self.writer()}
        self.count_anew()
        self.connect("a")
        self.say("book", 3)
        self.say("day", 1)
        self.connect("b")

    def count_anew(self):
        self.numbers = dict.fromkeys(("book", "day"), 10_000_000 >> 4 * self.lives)
        self.lives += 1

    @property
    def standing(self):
        stream = self.server.streams.get(KEY)
        if stream is None:
            return Standing("-", 0)
        return Standing(stream.g, stream.n, " ".join(Mark(*mark).of(name) for name, mark in stream.sources.items()))

    @rule(source=SOURCES, times=st.integers(1, 5))
    def say(self, source, times):
        """The exchange, to whoever is connected."""
        for _ in range(times):
            self.numbers[source] += 1
            self.now_ns += 1_000_000
            mark = self.numbers[source]
            self.emitted.append(ledger.Ticker(key=str(KEY), s=f"{source}.{mark}", first=""))
            for writer in self.writers.values():
                if writer.topic:
                    writer.queue += writer.topic.say(source, mark, {}, None, self.now_ns)

    @rule(for_ns=st.sampled_from((HOLD_NS, HOLD_NS, DOUBT_NS)), answers=st.booleans())
    def wait(self, for_ns, answers):
        """Time passes, in which Redis answers looks or does not."""
        until_ns = self.now_ns + for_ns
        while self.now_ns < until_ns:
            self.now_ns += HOLD_NS
            for writer in self.writers.values():
                for wanted in writer.topic.wants(self.now_ns) if writer.topic else ():
                    if isinstance(wanted, Locate):
                        writer.queue += writer.topic.located(self.standing if answers else None, self.now_ns)
                    else:
                        assert isinstance(wanted, Event)
                        writer.queue.append(wanted)

    @rule(name=WRITERS, most=st.sampled_from((1, 3, 1000)))
    def write(self, name, most):
        """A flush, as far as there is room in it."""
        writer = self.writers[name]
        carried, writer.queue = writer.queue[:most], writer.queue[most:]
        carried = [event for event in carried if self.guards or event.rule != "silence"]
        if not carried:
            return
        self.calls += 1
        (reply,) = self.server.append(f"g{self.calls}", carried)
        if reply.refused:
            writer.queue.clear()
            if writer.topic:
                writer.queue += writer.topic.refused(reply.last, self.now_ns)

    @rule(name=WRITERS)
    def disconnect(self, name):
        writer = self.writers[name]
        if writer.topic is None:
            return
        writer.queue += writer.topic.closed("cut")
        writer.position = writer.topic.position
        writer.topic = None

    @rule(name=WRITERS)
    def connect(self, name):
        """Whoever was disconnected, or killed: then it looks first where the stream stands."""
        writer = self.writers[name]
        if writer.topic is None:
            self.sessions += 1
            writer.topic = KnownTicker(
                KEY, Session(f"{name}{self.sessions}"), writer.position or self.standing.position
            )

    @rule(name=WRITERS)
    def kill(self, name):
        """What it had not written is gone."""
        self.writers[name] = self.writer()

    @precondition(lambda self: self.lives < 4)
    @rule(within=st.booleans(), names=st.sampled_from(("a", "b", "ab")))
    def begin_to_count_anew(self, within, names):
        """With another connection or not, and known to have done so or not."""
        self.count_anew()
        if not within:
            for name in names:
                self.disconnect(name)
        for source in ("book", "day"):
            self.say(source, 2)

    def teardown(self):
        """Once all is well again, all is told."""
        for name in self.writers:
            self.connect(name)
        for _ in range(4):
            for source in ("book", "day"):
                self.say(source, 2)
            for name in self.writers:
                self.write(name, 1000)
            self.wait(DOUBT_NS + 2 * HOLD_NS, answers=True)
        for source in ("book", "day"):
            self.say(source, 1)
        self.wait(HOLD_NS, answers=True)
        for name in self.writers:
            self.write(name, 1000)
        verdict = self.verdict()
        assert verdict.good, (verdict, [dict(entry)["s"] for entry in self.server.streams[KEY].entries])

    def verdict(self):
        raw = [
            (b"%d-0" % n, {k.encode(): v if isinstance(v, bytes) else v.encode() for k, v in entry})
            for n, entry in enumerate(self.server.streams[KEY].entries, 1)
        ]
        return judge(str(KEY), Past([Chapter(raw, ())]), [Truth(self.emitted)])


TickerMachine.TestCase.settings = settings(derandomize=True, max_examples=300, stateful_step_count=30, deadline=None)
test_two_writers_and_whatever_happens = TickerMachine.TestCase


class Unguarded(TickerMachine):
    """Whose writers never say that something may be missing."""

    guards = False


def test_without_that_word_there_are_silences_that_nobody_tells():
    with pytest.raises(AssertionError, match="nothing says that it was silent"):
        run_state_machine_as_test(Unguarded, settings=settings(TickerMachine.TestCase.settings, print_blob=False))
