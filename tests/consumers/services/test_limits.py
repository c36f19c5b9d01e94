"""Limits: what speaks against an intent, one by one, and against all histories at once."""

from collections import defaultdict
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from msgspec.structs import replace

from consumers.services.exposure import Account, Exposure, Open
from consumers.services.limits import BadLimit, Limits, Look, by_symbol, objection
from ingest.contract.events import Fill, Intent, Order, Ticker
from ingest.contract.instruments import Listed

SECOND_NS = 1_000_000_000
NOW_NS = 1_700_000_000 * SECOND_NS
BTC = "BTC/USDT"
LIMITS = Limits(
    order_amount={BTC: Decimal(3)},
    position={BTC: Decimal(5)},
    order_notional=Decimal(400),
    exposure=Decimal(1000),
    orders_per_s=2,
    price_band=Decimal("0.05"),
    price_age_ms=1000,
)
LISTED = Listed(
    symbol=BTC,
    native="BTCUSDT",
    base="BTC",
    quote="USDT",
    status="trading",
    native_status="TRADING",
    seen_ns=0,
    tick_size="0.10",
    lot_size="0.001",
    min_notional="5",
)
TICKER = Ticker(received_ns=NOW_NS, bid="99.9", ask="100.1", last="90")
LOOK = Look(instrument=LISTED, ticker=TICKER, killed=False, now_ns=NOW_NS)


def intent(side="buy", amount="1", price=None, **more):
    fields = {"intent_id": "i", "account": "a", "bot": "b", "decided_ns": 0, "valid_until_ns": NOW_NS} | more
    fields.setdefault("order_type", "market" if price is None else "limit")
    return Intent(side=side, amount=amount, price=price, **fields)


def holding(position="0", *, open_="0", side="buy", approved_ns=()):
    opened = {"o": Open(side=side, amount=Decimal(open_))} if Decimal(open_) else {}
    return Exposure({"a": Account(Decimal(position), opened, approved_ns)})


FINE = [
    intent(),
    intent(price="95.0"),
    intent(price="105.0"),
    intent("sell", "3"),
    intent(amount="0.05"),
    intent(order_type="cancel", amount="0", cancels="o"),
]


@pytest.mark.parametrize("fine", FINE)
def test_what_keeps_to_all_limits_may_become_an_order(fine):
    assert objection(LIMITS, holding(), BTC, fine, LOOK) is None


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (intent(valid_until_ns=NOW_NS - 2_000_000), "came 2 ms after its valid_until_ns"),
        (intent(order_type="cancel", amount="0"), "a cancel that does not say of what"),
        (intent(account="a b"), "an account is letters, digits, '.', '_' and '-'"),
        (intent(amount="0.000"), "the amount is not above 0"),
        (intent(order_type="limit"), "a limit order without a price above 0"),
        (intent(price="0.0"), "a limit order without a price above 0"),
        (intent(amount="0.0505"), "off lot: 0.0505 is no multiple of 0.001"),
        (intent(price="100.05"), "off tick: 100.05 is no multiple of 0.10"),
        (intent(amount="0.049"), "below the least value: 4.9 of 5"),
        (intent(price="105.1"), "price band: 105.1 is too far from 100"),
        (intent("sell", price="94.9"), "price band: 94.9 is too far from 100"),
        (intent(amount="3.001"), "order size: 3.001 is above 3"),
    ],
)
def test_what_does_not_is_refused_with_its_reason(refused, reason):
    assert objection(LIMITS, holding(), BTC, refused, LOOK) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"killed": True}, "the kill switch is on"),
        ({"instrument": None}, "unknown symbol: BTC/USDT is not among the exchange's instruments"),
        ({"instrument": replace(LISTED, status="delisted")}, "BTC/USDT is delisted"),
        ({"ticker": None}, "no fresh price"),
        ({"ticker": Ticker(received_ns=NOW_NS)}, "no fresh price"),
        ({"ticker": replace(TICKER, received_ns=NOW_NS - 1_001_000_000)}, "no fresh price: the latest is 1001 ms old"),
        (
            {"ticker": replace(TICKER, received_ns=NOW_NS + 120 * SECOND_NS)},
            "no fresh price: the latest is -120000 ms old",
        ),
    ],
)
def test_how_things_stand_can_speak_against_it(change, reason):
    assert objection(LIMITS, holding(), BTC, intent(), replace(LOOK, **change)) == reason


@pytest.mark.parametrize(
    ("exposure", "refused", "reason"),
    [
        (holding("4.5"), intent(), "position: 5.5 is above 5"),
        (holding("-4.5"), intent("sell"), "position: 5.5 is above 5"),
        (holding("2", open_="2.5"), intent(), "position: 5.5 is above 5"),
        (holding("2", open_="2.5"), intent("sell"), None),
        (holding("9"), intent("sell"), None),
        (holding("2", open_="2"), intent(), None),
        (holding(approved_ns=(NOW_NS - SECOND_NS + 1, NOW_NS)), intent(), "more than 2 orders a second"),
        (holding(approved_ns=(NOW_NS - SECOND_NS, NOW_NS)), intent(), None),
        (holding(approved_ns=(NOW_NS + 60 * SECOND_NS,) * 2), intent(), "more than 2 orders a second"),
        (Exposure(missing=3), intent(), "3 fills are missing: nobody knows the position"),
    ],
)
def test_what_is_held_and_open_counts(exposure, refused, reason):
    assert objection(LIMITS, exposure, BTC, refused, LOOK) == reason


def test_values_are_limited_too():
    loose = replace(LIMITS, order_amount={}, position={})
    said = [
        objection(loose, holding(position), BTC, intent(amount=amount, price=price), LOOK)
        for position, amount, price in [
            ("0", "4", "100.0"),
            ("0", "4", "100.1"),
            ("0", "4", "99.9"),
            ("7", "3.001", None),
        ]
    ]
    assert said == [None, "order value: 400.4 is above 400", None, "exposure: 1000.1 is above 1000"]


def test_amounts_are_read_by_symbol():
    assert by_symbol(["BTC-USDT:0.5", "ETH/USDT:10"]) == {"BTC/USDT": Decimal("0.5"), "ETH/USDT": Decimal(10)}


@pytest.mark.parametrize("text", ["BTC/USDT", "BTC/USDT:", "BTC/USDT:-1", "BTC/USDT:NaN", "BTC/USDT:1e3"])
def test_limits_that_are_none_are_refused(text):
    with pytest.raises(BadLimit):
        by_symbol([text])


class World:
    """A risk service, and behind it a venue that fills and ends as it likes; both hear late of each other."""

    def __init__(self, forgetful=False):
        self.exposure = Exposure()
        self.forgetful = forgetful
        self.position = defaultdict(Decimal)
        self.open = {}
        self.late = {"orders": [], "fills": []}
        self.worst = Decimal(0)
        self.approved_ns = defaultdict(list)

    def want(self, account, side, amount, now_ns):
        wish = intent(side, amount, account=account, intent_id=str(len(self.open)))
        known = self.exposure
        if self.forgetful:  # what the negative control does wrong: it does not count what is open
            known = Exposure({name: replace(each, open={}) for name, each in known.accounts.items()})
        look = replace(LOOK, now_ns=now_ns, ticker=replace(TICKER, received_ns=now_ns))
        if objection(LIMITS, known, BTC, replace(wish, valid_until_ns=now_ns), look) is None:
            self.exposure = self.exposure.approve(wish, now_ns, LIMITS.orders_per_s)
            self.open[wish.intent_id] = [wish, Decimal(0), "open"]
            self.approved_ns[account].append(now_ns)
        self.look()

    def fill(self, which, share):
        alive = [each for each in self.open.values() if each[2] == "open"]
        if not alive:
            return
        order = alive[which % len(alive)]
        wish, filled, _ = order
        amount = (Decimal(wish.amount) - filled) * share / 4
        order[1] += amount
        self.position[wish.account] += amount if wish.side == "buy" else -amount
        if amount:
            self.late["fills"].append(_fill(wish, amount))
        if share == 4:
            self._end(order, "filled")
        self.look()

    def end(self, which):
        alive = [each for each in self.open.values() if each[2] == "open"]
        if alive:
            self._end(alive[which % len(alive)], "canceled")

    def _end(self, order, status):
        order[2] = status
        self.late["orders"].append(_order(*order))

    def hear(self, channel):
        if not self.late[channel]:
            return
        body = self.late[channel].pop(0)
        self.exposure = self.exposure.fill(body) if channel == "fills" else self.exposure.order(body)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(self.exposure), type=Exposure) == self.exposure

    def look(self):
        """How far things have come, or could if all that is open were filled now."""
        for account in ("a", "b"):
            mine = [each for each in self.open.values() if each[0].account == account and each[2] == "open"]
            for side, sign in (("buy", 1), ("sell", -1)):
                may_come = sum(Decimal(w.amount) - filled for w, filled, _ in mine if w.side == side)
                self.worst = max(self.worst, sign * self.position[account] + may_come)


def _fill(wish, amount):
    said = {"fill_id": "f", "order_id": "o", "fees": (), "liquidity": "taker", "exchange_ns": 0, "received_ns": 0}
    return Fill(
        intent_id=wish.intent_id, account=wish.account, side=wish.side, price="100", amount=format(amount, "f"), **said
    )


def _order(wish, filled, status):
    return Order(
        order_id="o",
        intent_id=wish.intent_id,
        account=wish.account,
        status=status,
        side=wish.side,
        order_type="market",
        amount=wish.amount,
        filled=format(filled, "f"),
        updated_ns=0,
    )


WANTED = some.tuples(
    some.just("want"),
    some.sampled_from("ab"),
    some.sampled_from(["buy", "sell"]),
    some.sampled_from(["1", "2", "3", "0.5"]),
    some.integers(0, 3).map(lambda tenths: tenths * SECOND_NS // 2),
)
FILLED = some.tuples(some.just("fill"), some.integers(0, 9), some.integers(0, 4))
ENDED = some.tuples(some.just("end"), some.integers(0, 9))
HEARD = some.tuples(some.just("hear"), some.sampled_from(["orders", "fills"]))
HISTORIES = some.lists(WANTED | FILLED | ENDED | HEARD, max_size=40)


def played(history, *, forgetful=False):
    world, now_ns = World(forgetful), NOW_NS
    for what, *how in history:
        if what == "want":
            now_ns += how.pop()
            how.append(now_ns)
        getattr(world, what)(*how)
    return world


@settings(derandomize=True, max_examples=200, deadline=None)
@given(HISTORIES)
def test_no_history_exceeds_a_limit_at_any_moment(history):
    world = played(history)
    for times in world.approved_ns.values():
        assert all(later - one >= SECOND_NS for one, later in zip(times, times[LIMITS.orders_per_s :], strict=False))
    assert world.worst <= LIMITS.position[BTC]


@settings(derandomize=True, max_examples=100, deadline=None)
@given(HISTORIES)
def test_once_all_is_heard_what_is_known_is_what_is(history):
    world = played(history)
    for channel in ("orders", "fills"):
        while world.late[channel]:
            world.hear(channel)
    alive = {each[0].intent_id: Decimal(each[0].amount) - each[1] for each in world.open.values() if each[2] == "open"}
    accounts = world.exposure.accounts
    known = {name: o.remaining for account in accounts.values() for name, o in account.open.items()}
    assert ({n: left for n, left in alive.items() if left}, {name: a.position for name, a in accounts.items()}) == (
        known,
        {name: world.position[name] for name in accounts},
    )


def test_who_does_not_count_what_is_open_exceeds_them():
    history = [("want", "a", "buy", "3", SECOND_NS)] * 3
    assert (played(history).worst, played(history, forgetful=True).worst) == (3, 9)
