import json

import msgspec
import pytest

from consumers.console.lines import Seen, as_json, as_line
from ingest.contract.codec import encode
from ingest.contract.events import Candle, Delta, Fill, Gap, Intent, Order, Position, Snapshot, Status, Ticker, Trade
from ingest.contract.keys import StreamKey

ID = "1767225600123-0"
HEADER = {b"v": b"1", b"n": b"7", b"g": b"9f", b"s": b"42"}
TRADE = Trade(price="64000.10", amount="0.50", side="buy", received_ns=5)


def seen(channel: str, kind: str, data: bytes, **more: bytes) -> Seen:
    fields = {**HEADER, b"type": kind.encode(), b"data": data, **{name.encode(): more[name] for name in more}}
    return Seen(StreamKey("binance", channel, "BTC/USDT"), ID, fields)


@pytest.mark.parametrize(
    ("channel", "body", "gist"),
    [
        ("trades", TRADE, "buy 0.50 @ 64000.10"),
        ("ticker", Ticker(received_ns=5, bid="1", bid_amount="2", ask="3"), "1 x 2 | 3 x -  last -"),
        (
            "candles-1m",
            Candle(open_ns=1, open="1", high="4", low="0.5", close="2", volume="9", closed=True, received_ns=5),
            "o 1 h 4 l 0.5 c 2 v 9 closed=True",
        ),
        ("orderbook", Snapshot(bids=(("9", "1"),), asks=(), received_ns=5), "bids    1 9 x 1 | asks    0 - x -"),
        ("orderbook", Delta(bids=(), asks=(("10", "0"),), received_ns=5), "bids    0 - x - | asks    1 10 x 0"),
        ("trades", Gap(reason="restart", first_id="3", last_id="4"), "reason=restart first_id=3 last_id=4"),
        ("status", Status(state="CONNECTED", reason="start"), "state=CONNECTED reason=start"),
        (
            "intents",
            Intent(
                intent_id="i",
                account="paper",
                bot="ma",
                side="sell",
                order_type="market",
                amount="2",
                decided_ns=1,
                valid_until_ns=2,
            ),
            "paper ma sell 2 market",
        ),
        (
            "orders",
            Order(
                order_id="o",
                intent_id="i",
                account="paper",
                status="filled",
                side="sell",
                order_type="market",
                amount="2",
                filled="2",
                updated_ns=1,
            ),
            "paper filled sell 2/2 market",
        ),
        (
            "fills",
            Fill(
                fill_id="f",
                order_id="o",
                intent_id="i",
                account="paper",
                side="sell",
                price="3",
                amount="2",
                fees=(),
                liquidity="taker",
                exchange_ns=1,
                received_ns=1,
            ),
            "paper sell 2 @ 3 taker",
        ),
        (
            "positions",
            Position(account="paper", quantity="-2", average="3", realized="0", fees=(), fills=1, updated_ns=1),
            "paper -2 at 3, realized 0",
        ),
    ],
)
def test_every_event_is_a_line_with_what_it_is_about(channel, body, gist):
    kind = type(body).__name__.lower()

    assert as_line(seen(channel, kind, encode(body))).plain == (
        f"00:00:00.123  binance  {channel:<10} BTC/USDT   {kind:<8} s=42  {gist}"
    )


@pytest.mark.parametrize(
    ("kind", "data", "gist"),
    [
        ("funding", msgspec.msgpack.encode({"rate": "0.01"}), "rate=0.01"),
        ("snapshot", msgspec.msgpack.encode({"bids": 5}), "bids=5"),
        ("trade", b"\xc1", "unreadable: not MessagePack"),
        ("trade", b"\x05", "unreadable: a map was expected, not int"),
    ],
)
def test_what_is_not_as_the_contract_has_it_is_shown_too(kind, data, gist):
    assert as_line(seen("trades", kind, data)).plain.partition("s=42  ")[2] == gist


def test_json_has_all_that_is_in_the_entry():
    assert json.loads(as_json(seen("orderbook", "trade", encode(TRADE), epoch=b"3"))) == {
        "stream": "md:{binance}:orderbook:BTC-USDT",
        "id": ID,
        "v": "1",
        "type": "trade",
        "n": "7",
        "g": "9f",
        "s": "42",
        "epoch": "3",
        "data": {"price": "64000.10", "amount": "0.50", "side": "buy", "received_ns": 5},
    }


def test_json_says_why_there_is_no_data():
    assert json.loads(as_json(Seen(StreamKey("binance", "trades"), ID, {b"v": b"2"}))) == {
        "stream": "md:{binance}:trades",
        "id": ID,
        "v": "2",
        "unreadable": "no data",
    }
