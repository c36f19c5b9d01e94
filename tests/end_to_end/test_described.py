"""What is really on the bus is what the AsyncAPI document says."""

import pytest
from jsonschema import Draft7Validator

from consumers import Reader, stored
from consumers.append import append
from consumers.book import Book
from consumers.services.paper import Paper
from consumers.services.venue import Desk, Ticket
from ingest.contract import keys
from ingest.contract.asyncapi import document
from ingest.contract.events import Event, Position
from ingest.contract.keys import StreamKey
from ingest.simulator.server import simulated_binance
from tests.consumers.services.scene import NOW_NS, approved, book, intent
from tests.end_to_end.running import working
from tests.eventually import eventually
from tests.ingest.contract.described import problems
from tests.ingest.contract.test_readme import TYPE_NAMES

pytestmark = pytest.mark.slow
SYMBOLS = ("BTC/USDT",)


async def entries(redis):
    return [
        (str(key), entry_id, fields)
        for key in await stored.streams(redis)
        for entry_id, fields in await redis.xrange(str(key))
    ]


def services():
    """What services write: an intent, its approval, its order, its fill, what is held then."""
    wish, whole = intent("i-1"), Book()
    whole.apply(book(1).body)
    ticket = Ticket(exchange="binance", symbol="BTC/USDT", intent=wish.body, now_ns=NOW_NS)
    held = Position(
        account="paper",
        quantity="1",
        average="101",
        realized="-0.101",
        fees=(("USDT", "0.101"),),
        fills=1,
        updated_ns=NOW_NS,
    )
    positions = StreamKey("binance", "positions", "BTC/USDT")
    placed = Paper().place(Desk(), ticket, whole)
    return [wish, approved("i-1"), *placed.events, Event(positions, "i-1", held, "window")]


async def bury(redis):
    """An entry that a group puts among its dead letters."""
    async with Reader(redis, group="fussy", channels=("intents",), block_ms=20) as reader:
        async for delivery in reader:
            delivery.bury("not to my taste")
            break


async def test_every_entry_of_a_worker_and_of_services_is_described(redis):
    async def changes():
        return await redis.xlen("md:{binance}:orderbook:BTC-USDT") > 10

    async def all_types():
        return {fields[b"type"].decode() for _, _, fields in await entries(redis)} == set(TYPE_NAMES)

    await append(redis, services())
    async with simulated_binance(symbols=SYMBOLS, rate=300) as exchange, working(redis, exchange, SYMBOLS):
        await eventually(changes)
        await exchange.drop_all()
        await eventually(all_types)

    described = document("")
    await bury(redis)
    (dead,) = await redis.xrange(keys.dead_letters("binance", "fussy"))
    told = {name.decode(): value.decode(errors="replace") for name, value in dead[1].items()}
    headers = described["components"]["messages"]["dead_letter"]["headers"]
    assert [error.message for error in Draft7Validator(headers).iter_errors(told)] == []
    assert {
        (key, entry_id): wrong
        for key, entry_id, fields in await entries(redis)
        if (wrong := problems(described, key, fields))
    } == {}
