"""Candles built from trades, against candles that are counted up afterwards."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.events import Candle, Event, Gap, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges.built_candles import GRACE_NS, SETTLED_MS, TradeCandles
from ingest.exchanges.exchange import Locate, Standing
from ingest.exchanges.intervals import INTERVALS, begin_of
from ingest.exchanges.session import Session
from ingest.exchanges.topic import CandlePartWanted, CandlesWanted, OlderTradesWanted

MS = 1_000_000
S = 1_000_000_000
BEGIN_NS = 1_795_336_020 * S  # twelve of fifteen minutes are over
FAR_NS = 30 * S


def key(interval):
    return StreamKey("coinbase", f"candles-{interval}", "BTC/USD")


def bucket(interval):
    """As if REST had candles of ten seconds."""
    return 10_000 if interval == "15m" else None


def trade(ns, price="2", amount="1"):
    return Trade(price=price, amount=amount, side="buy", received_ns=ns, exchange_ns=ns)


def closed(events):
    return [
        (e.body.open_ns // S, e.body.open, e.body.high, e.body.low, e.body.close, Decimal(e.body.volume), e.body.trades)
        for e in events
        if isinstance(e.body, Candle) and e.body.closed
    ]


def counted(said, expected):
    """Where REST has summed up a part, nobody says how many trades that was."""
    numbers = {row[0]: row[-1] for row in expected}
    return [(*row[:-1], numbers.get(row[0]) if row[-1] is None else row[-1]) for row in said]


class Market:
    """All trades there ever were, `(id, ns, price, amount)`, and what REST says of them."""

    def __init__(self, trades):
        self.trades = trades

    def page(self, before, until_ns, size):
        rows = [(i, trade(ns, str(p), str(a))) for i, ns, p, a in self.trades if i < before and ns <= until_ns]
        return rows[-size:]

    def part(self, asked):
        """All trades of that time."""
        within = [t for t in self.trades if asked.begin_ms <= t[1] // MS < asked.end_ms]
        if not within:
            return None
        prices, amounts = [str(p) for *_, p, _ in within], [Decimal(a) for *_, a in within]
        return Candle(
            open_ns=asked.begin_ms * MS,
            open=prices[0],
            high=max(prices, key=Decimal),
            low=min(prices, key=Decimal),
            close=prices[-1],
            volume=str(sum(amounts)),
            closed=True,
            received_ns=1,
        )

    def candles(self, interval, first_ns, until_ns):
        """What closed from the interval of `first_ns` on and before `until_ns`."""
        length_ns = INTERVALS[interval] * MS
        open_ns = begin_of(interval, first_ns // MS) * MS
        found = []
        while open_ns + length_ns <= until_ns:
            within = [(str(p), Decimal(a)) for _, ns, p, a in self.trades if open_ns <= ns < open_ns + length_ns]
            before = [str(p) for _, ns, p, _ in self.trades if ns < open_ns]
            prices = [p for p, _ in within] or before[-1:]
            volume = sum((a for _, a in within), Decimal(0))
            high, low = max(prices, key=Decimal), min(prices, key=Decimal)
            found.append((open_ns // S, prices[0], high, low, prices[-1], volume, len(within)))
            open_ns += length_ns
        return found


@st.composite
def markets(draw):
    waits = draw(st.lists(st.sampled_from([0, 1, 300, 999, 1000, 2500, 61_000]), min_size=2, max_size=25))
    first_id = draw(st.sampled_from([1, 700]))
    trades, ns = [], BEGIN_NS
    if first_id > 1:  # where the beginning of all is not seen
        trades += [(first_id - 2, BEGIN_NS - 1000 * S, 3, 1), (first_id - 1, BEGIN_NS - 300 * S, 7, 2)]
    for i, wait in enumerate(waits):
        ns += wait * MS
        trades.append((first_id + i, ns, draw(st.integers(1, 5)), draw(st.integers(1, 9))))
    return Market(trades)


class Play:
    """A market as it is heard: from some trade on, with what is lost, doubled, and late on the way."""

    def __init__(self, market, intervals, size, now_ns, answers=True):
        self.market = market
        self.made = TradeCandles()
        self.topics = {each: self.made.add(key(each), Session("x"), None, bucket(each), now_ns) for each in intervals}
        self.size = size
        self.answers = answers
        self.now_ns = now_ns
        self.said = []

    def hear(self, i, ns, price, amount):
        self.said += self.made.trade(i, trade(ns, str(price), str(amount)), self.now_ns)

    def pass_to(self, until_ns):
        """Whatever is wanted is answered, on the moment or never."""
        while (due := min(topic.due() for topic in self.topics.values())) <= until_ns:
            self.now_ns = max(self.now_ns, due)
            for topic in self.topics.values():
                self._attend(topic)
        self.now_ns = until_ns

    def beat(self, ns):
        self.pass_to(ns)
        newest = max((i for i, at_ns, *_ in self.market.trades if at_ns <= ns), default=0)
        self.said += self.made.stands_at(newest, ns, ns)

    def _answered(self):
        return self.answers is True or (self.answers and self.answers.pop(0))

    def _attend(self, topic):
        for want in topic.wants(self.now_ns) if topic.due() <= self.now_ns else ():
            match want:
                case Event():
                    self.said.append(want)
                case Locate():
                    self.said += topic.located(Standing("g", 1, topic.position), self.now_ns)
                case CandlesWanted():
                    self.said += topic.failed("none", self.now_ns)
                case CandlePartWanted() as asked if self._answered():
                    assert self.now_ns >= (asked.end_ms + SETTLED_MS) * MS
                    self.said += topic.part(asked, self.market.part(asked), self.now_ns)
                case OlderTradesWanted(before=before) if self._answered():
                    self.said += topic.page(self.market.page(before, self.now_ns, self.size), self.now_ns)
                case OlderTradesWanted() | CandlePartWanted():
                    self.said += topic.failed("none", self.now_ns)

    def of(self, interval):
        return [event for event in self.said if event.key == key(interval)]


def play(market, draw, intervals, answers=True):
    """From some time on, with the newest trade before it as a beginning. How it ends, and from when to when it goes."""
    begin_ns = (
        draw(st.sampled_from([ns for _, ns, *_ in market.trades[1:]])) + draw(st.sampled_from([0, 400, 5000])) * MS
    )
    base = max(i for i, (_, ns, *_) in enumerate(market.trades) if ns <= begin_ns)
    some = Play(market, intervals, draw(st.integers(1, 7)), begin_ns, answers)
    some.hear(*market.trades[base])
    fates = st.sampled_from(["heard"] * 4 + ["lost", "twice", "late"])
    beat_ns = begin_ns // S * S + S
    late = []
    for told in market.trades[base + 1 :]:
        while beat_ns <= told[1]:
            some.beat(beat_ns)
            beat_ns += S
        some.pass_to(told[1])
        fate = draw(fates)
        if fate == "late":
            late.append(told)
            continue
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            some.hear(*told)
        while late:
            some.hear(*late.pop())
    end_ns = beat_ns + FAR_NS
    for ns in range(beat_ns, end_ns + 1, S):
        some.beat(ns)
    return some, begin_ns, end_ns - GRACE_NS


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_every_candle_is_what_its_trades_make_whole_from_the_first_and_each_once(data):
    market = data.draw(markets())
    some, first_ns, until_ns = play(market, data.draw, ("1s", "1m", "15m"))
    expected = {each: market.candles(each, first_ns, until_ns) for each in some.topics}
    assert {each: counted(closed(some.of(each)), expected[each]) for each in some.topics} == expected


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_where_trades_cannot_be_had_no_candle_is_wrong_and_each_up_to_the_last_is_there_once_or_in_a_gap(data):
    market = data.draw(markets())
    answers = data.draw(st.lists(st.booleans(), max_size=20))
    some, first_ns, until_ns = play(market, data.draw, ("1s",), answers)
    there = closed(some.of("1s"))
    gaps = [e.body for e in some.of("1s") if isinstance(e.body, Gap)]
    lost = {s for gap in gaps for s in range(gap.from_ns // S, gap.to_ns // S + 1)}
    expected = [row for row in market.candles("1s", first_ns, until_ns) if row[0] not in lost]
    assert there == expected[: len(there)]


@given(st.data())
def test_what_grows_is_newer_each_time_and_counts_what_was_heard_of_the_interval(data):
    market = data.draw(markets())
    some, *_ = play(market, data.draw, ("1m",))
    marks = {}
    for event in some.of("1m"):
        open_ns, _, mark = event.s.partition(".")
        marks.setdefault(int(open_ns), []).append(mark)
    assert list(marks) == sorted(marks)
    assert all(said[:-1] == sorted(said[:-1], key=int) for said in marks.values())


def test_an_interval_whose_trades_cannot_be_had_is_asked_for_by_rest_once_the_next_one_is_heard():
    made = TradeCandles()
    topic = made.add(key("1m"), Session("x"), str(BEGIN_NS // MS - 1), None, BEGIN_NS)
    heard = made.trade(7, trade(BEGIN_NS + 70 * S), BEGIN_NS + 70 * S)
    for i in range(4):
        assert topic.wants(BEGIN_NS + (70 + 2 * i) * S) == [OlderTradesWanted(7)]
        heard += topic.failed("none", BEGIN_NS + (70 + 2 * i) * S)
    heard += made.trade(8, trade(BEGIN_NS + 121 * S, "4"), BEGIN_NS + 121 * S)
    looks = []
    for wait in (1, 2):
        now_ns = BEGIN_NS + (121 + wait) * S
        looks += [*topic.wants(now_ns), *topic.located(Standing("g", 1, topic.position), now_ns)]
    asked = topic.wants(BEGIN_NS + 125 * S)
    assert (heard, looks, asked) == ([], [Locate(key("1m"))] * 2, [CandlesWanted(BEGIN_NS // MS)])


def test_a_candle_says_all_that_its_trades_tell():
    made = TradeCandles()
    made.add(key("1m"), Session("x"), None, None, BEGIN_NS)
    made.trade(7, trade(BEGIN_NS - S), BEGIN_NS)
    made.trade(8, trade(BEGIN_NS + S, "61250.10", "0.00420000"), BEGIN_NS + S)
    made.trade(9, trade(BEGIN_NS + 2 * S, "61249.9", "0.1"), BEGIN_NS + S)
    (said,) = made.stands_at(9, BEGIN_NS + 62 * S, BEGIN_NS + 63 * S)
    body = Candle(
        open_ns=BEGIN_NS,
        open="61250.10",
        high="61250.10",
        low="61249.9",
        close="61249.9",
        volume="0.10420000",
        closed=True,
        received_ns=BEGIN_NS + 63 * S,
        quote_volume="6382.2404200000",
        trades=2,
        exchange_ns=BEGIN_NS + 2 * S,
    )
    first = f"{BEGIN_NS // MS}-{BEGIN_NS // MS + 59_999}"
    assert said == Event(key("1m"), f"{BEGIN_NS}.closed", body, "candle", first)


def test_an_interval_that_is_asked_for_later_is_whole_from_the_first_one_too():
    made = TradeCandles()
    made.add(key("1s"), Session("x"), None, None, BEGIN_NS)
    made.trade(7, trade(BEGIN_NS - S), BEGIN_NS)
    for i in (8, 9):
        made.trade(i, trade(BEGIN_NS + i * S, str(i)), BEGIN_NS + i * S)
    topic = made.add(key("1m"), Session("x"), None, None, BEGIN_NS + 9 * S)
    wants = topic.wants(BEGIN_NS + 9 * S)
    said = topic.page([(7, trade(BEGIN_NS - S)), (8, trade(BEGIN_NS + 8 * S, "8"))], BEGIN_NS + 9 * S)
    said += made.stands_at(9, BEGIN_NS + 62 * S, BEGIN_NS + 63 * S)
    minutes = closed([event for event in said if event.key == key("1m")])
    assert (wants, minutes) == (
        [OlderTradesWanted(9)],
        [(BEGIN_NS // S, "8", "9", "8", "9", Decimal(2), 2)],
    )
