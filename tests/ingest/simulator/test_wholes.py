"""Whole books in the ledger: whoever follows the changes from there has the exchange's book."""

from decimal import Decimal

import pytest

from ingest.simulator.dialects import DIALECTS
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.ledger import Change, Delta, Struck, Whole
from ingest.simulator.listings import listing
from ingest.simulator.market import Market
from ingest.simulator.wholes import Wholes
from tests.ingest.exchanges.facts import FACTS

SECOND = 1_000_000_000
START_NS = 1_795_335_330 * SECOND
SUBSCRIBE = {
    # Its changes come in batches, and it has no ids that could begin anew.
    "coinbase": ("/", '{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2_batch"]}'),
    "binance": ("/stream?streams=btcusdt@depth@100ms", ""),
    "kraken": ("/v2", '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"]}}'),
}


@pytest.mark.parametrize("name", SUBSCRIBE)
def test_a_book_is_noted_before_its_first_change_and_again_when_ids_begin_anew(name: str):
    market = Market([listing(FACTS[name].symbols[0])], rate=100, seed=1, start_ns=START_NS)
    venue, wholes = Disturbed(DIALECTS[name](market, START_NS), START_NS), Wholes(name, market)
    venue.strike(parse("series@4s"))
    target, request = SUBSCRIBE[name]
    session = venue.connect(target)
    if request:
        session.receive(request, START_NS)
    entries = []
    for step in range(1, 80):
        wholes.look()
        entries += wholes.among(venue.advance(START_NS + step * SECOND // 10))
    sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
    for entry in entries:
        if isinstance(entry, Whole):
            assert sides in (({}, {}), (numbers(entry.bids), numbers(entry.asks)))
        if isinstance(entry, Whole | Delta | Change):
            both = zip(sides, (entry.bids, entry.asks), strict=True)
            bids, asks = ({**side, **numbers(levels)} for side, levels in both)
            sides = {p: a for p, a in bids.items() if a}, {p: a for p, a in asks.items() if a}
    pair = market.pairs[0]
    levels = (side.levels(len(side)) for side in (pair.book.bids, pair.book.asks))
    truth = [numbers((pair.listing.price(p), pair.listing.amount(a)) for p, a in side) for side in levels]
    said = [type(entry) for entry in entries if isinstance(entry, Whole | Struck)]
    assert (list(sides), said) == (truth, [Whole, Struck, *([] if name == "coinbase" else [Whole])])


def numbers(levels) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(amount) for price, amount in levels}
