"""Trades of an exchange that counts anew time and again: each series is said, or told to be passed over."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ingest.contract.codec import decode
from ingest.contract.events import Gap, Trade
from ingest.exchanges.exchange import Locate, Standing
from tests.ingest.contract.model import Server
from tests.ingest.exchanges.test_dense import KEY, TRADE, trades

SECOND = 1_000_000_000


class Said(NamedTuple):
    """A trade of the model exchange: in which of its series, and when."""

    series: int
    id: int
    ns: int

    @property
    def trade(self):
        return structs.replace(TRADE, price=f"{self.series}", exchange_ns=self.ns, received_ns=self.ns)


class Anew:
    """An exchange that counts anew time and again, who hears it, and the stream that comes of it."""

    def __init__(self, begins):
        self.emitted = [Said(0, 1_000_001, SECOND)]
        self.some, self.bus = trades(), Server()
        self._begins = iter(begins)
        self._next, self._now_ns, self._calls = 1_000_002, SECOND, 0
        self._answers = []
        self.hear(self.emitted[0])

    def trade(self, *, heard, times=1):
        self.emitted.append(Said(self.emitted[-1].series, self._next, self._now_ns))
        self._next += 1
        for _ in range(times if heard else 0):
            self.hear(self.emitted[-1])
        self._now_ns += SECOND // 100

    def begin_anew(self, *, heard):
        begin = next(self._begins, None)
        if begin is not None:
            self._next = begin
            self.emitted.append(Said(self.emitted[-1].series + 1, self._next, self._now_ns))
            self._next += 1
            if heard:
                self.hear(self.emitted[-1])
            self._now_ns += SECOND // 100

    def hear(self, said):
        self._write(self.some.trade(said.id, said.trade, self._now_ns))

    def wait(self, seconds):
        """Questions are answered as of when they are asked, and the answers are late."""
        self._now_ns += int(seconds * SECOND)
        answers, self._answers = self._answers, []
        for answer in answers:
            self._write(answer(self._now_ns))
        for want in self.some.wants(self._now_ns) if self.some.due() <= self._now_ns else ():
            self._answers.append(self._looked() if isinstance(want, Locate) else self._asked(want.first))

    def rest(self):
        """Trade on until nothing is left to be done."""
        for _ in range(60):
            self.trade(heard=True)
            self.wait(1)

    def entries(self):
        raw = [[(name.encode(), _bytes(value)) for name, value in entry] for entry in self.bus.streams[KEY].entries]
        return [decode(b"1-0", dict(fields)) for fields in raw]

    def _looked(self):
        stream = self.bus.streams[KEY]
        standing = Standing(stream.g, stream.n, str(stream.last))
        return lambda now_ns: self.some.located(standing, now_ns)

    def _asked(self, first):
        now = [said for said in self.emitted if said.series == self.emitted[-1].series]
        rows = [(said.id, said.trade) for said in now if said.id >= (first or 0)]
        return lambda now_ns: self.some.fetched(rows if first else rows[-3:], now_ns)

    def _write(self, events):
        self._calls += 1
        for reply in self.bus.append(f"g{self._calls}", events):
            if reply.refused:
                self._write(self.some.refused(reply.last, self._now_ns))


def _bytes(value):
    return value if isinstance(value, bytes) else value.encode()


def unaccounted(emitted, entries):
    """What is neither in the stream nor said to be lost, and what is there and should not be."""
    left, wrong, there, behind = [*emitted], [], set(), Said(0, 0, 0)
    for entry in entries:
        match entry.event:
            case Trade(price=price, exchange_ns=ns):
                behind = Said(int(price), int(entry.s), ns)
                if behind not in emitted or behind in there:
                    wrong.append(entry.s)
                there.add(behind)
                left = [said for said in left if said != behind]
            case Gap(first_id=first, last_id=str(last)):
                lost = range(int(first), int(last) + 1)
                gone = [said for said in left if said.series == behind.series and said.id in lost]
                if len(gone) < len(lost):
                    wrong.append(f"{first}-{last}")
                left = [said for said in left if said not in gone]
            case Gap(first_id=first, to_ns=int(to_ns)):
                ended = [said for said in left if said.series == behind.series and said.id >= int(first)]
                passed = [said for said in left if said.series != behind.series and said.ns <= to_ns]
                left = [said for said in left if said not in (*ended, *passed)]
    return left, wrong


acts = st.one_of(
    st.tuples(st.just("trade"), st.booleans(), st.sampled_from((1, 1, 1, 2))),
    st.tuples(st.just("anew"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from((0.05, 0.3, 1.0, 3.0))),
)


@settings(max_examples=300)
@given(st.sampled_from([(60_000, 4_000), (60_000, 4_000, 300), (500, 400), (7, 5, 1)]), st.lists(acts, max_size=40))
def test_however_often_an_exchange_counts_anew_each_series_is_said_or_told_to_be_passed_over(begins, played):
    """It may begin again before anybody was sure that it had, and REST may answer for another series than was heard."""
    model = Anew(begins)
    for act, *how in played:
        if act == "trade":
            model.trade(heard=how[0], times=how[1])
        elif act == "anew":
            model.begin_anew(heard=how[0])
        else:
            model.wait(*how)
    model.rest()
    last = [said.id for said in model.emitted if said.series == model.emitted[-1].series]
    there = [int(entry.s) for entry in model.entries() if entry.type == "trade"]
    assert (unaccounted(model.emitted, model.entries()), there[-len(last) :]) == (([], []), last)
