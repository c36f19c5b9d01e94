"""Two workers before a Kraken that plays a script: through Redis, with the books written by one of them."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from ingest.audit import audit
from ingest.contract.codec import decode
from ingest.contract.events import Gap, Snapshot, Status, Trade
from ingest.contract.keys import StreamKey
from ingest.exchanges import EXCHANGES
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.selection import Selection
from ingest.sharing import Sharing
from ingest.worker import Worker
from tests.end_to_end.running import QUICK, plenty
from tests.eventually import eventually

pytestmark = pytest.mark.slow

TRADES, BOOK, CANDLES = (StreamKey("kraken", channel, "DEMO/USD") for channel in ("trades", "orderbook", "candles-1m"))
PAIRS = {"DEMOUSD": {"altname": "DEMOUSD", "wsname": "DEMO/USD", "pair_decimals": 2, "lot_decimals": 8}}
WHOLE = (
    '{"channel":"book","type":"snapshot","data":[{"symbol":"DEMO/USD","bids":[{"price":1.25,"qty":3.00000000}],'
    '"asks":[{"price":1.26,"qty":7.50000000}],"checksum":1472024461}]}'
)
DELTA = (
    '{"channel":"book","type":"update","data":[{"symbol":"DEMO/USD","bids":[{"price":1.25,"qty":0.00000000},'
    '{"price":1.24,"qty":1.00000000}],"asks":[],"checksum":2525563957}]}'
)


def trade(i):
    return (
        f'{{"symbol":"DEMO/USD","side":"sell","price":1.25,"qty":1.00000000,"ord_type":"limit","trade_id":{i},'
        f'"timestamp":"2026-11-22T08:15:{i:02}.000000Z"}}'
    )


def trades(*ids, kind="update"):
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(map(trade, ids))}]}}'


class Script:
    """A Kraken whose trades are as many as were told, and whose book is one of two."""

    def __init__(self):
        self.sockets = []
        self.newest = 3
        self.asked = []

    async def talk(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await self.answer(socket, json.loads(message.data))
        self.sockets.remove(socket)
        return socket

    async def answer(self, socket, request):
        params = request["params"]
        for symbol in params["symbol"]:
            result = {"channel": params["channel"], "symbol": symbol}
            said = {"method": request["method"], "result": result, "success": True, "req_id": request["req_id"]}
            await socket.send_str(json.dumps(said))
        if request["method"] == "subscribe" and params["channel"] == "book":
            await socket.send_str(WHOLE)
        if request["method"] == "subscribe" and params["channel"] == "trade":
            await socket.send_str(trades(self.newest, kind="snapshot"))

    async def say(self, *frames):
        for socket in list(self.sockets):
            for frame in frames:
                await socket.send_str(frame)

    async def cut(self):
        for socket in list(self.sockets):
            await socket.close()

    async def pairs(self, _request):
        return web.json_response({"error": [], "result": PAIRS})

    async def past(self, request):
        self.asked.append(request.path)
        rows = [["1.25", "1.00000000", 1795335300 + i, "s", "l", "", i] for i in range(1, self.newest + 1)]
        return web.json_response({"error": [], "result": {"DEMOUSD": rows, "last": "1"}})


@asynccontextmanager
async def kraken():
    script, app = Script(), web.Application()
    app.add_routes(
        [
            web.get("/v2", script.talk),
            web.get("/0/public/AssetPairs", script.pairs),
            web.get("/0/public/Trades", script.past),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    script.stream_url, script.rest_url = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
    try:
        yield script
    finally:
        await runner.cleanup()


@asynccontextmanager
async def worker(redis, script, name, channels=("trades", "orderbook")):
    exchange = EXCHANGES["kraken"]()
    publisher = Publisher(redis, "kraken", writer=name)
    sharing = Sharing(redis, exchange, publisher, mode="mirror", name=name, every_s=0.1)
    limits = plenty(redis, "kraken")
    rest = Rest(script.rest_url, limits.weight)
    some = Worker(
        exchange,
        selection=Selection(redis, exchange, publisher, rest, symbols=("DEMO/USD",), channels=channels, every_s=0.1),
        stream_url=script.stream_url,
        patience=QUICK,
        publisher=publisher,
        rest=rest,
        budgets=limits,
        sharing=sharing,
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(some.run(stopping))
    some.writes = lambda: BOOK in sharing.written
    try:
        yield some
    finally:
        stopping.set()
        await running


async def entries(redis, key):
    return [decode(entry_id, fields) for entry_id, fields in await redis.xrange(str(key))]


async def bodies(redis, key, *kinds):
    return [entry for entry in await entries(redis, key) if isinstance(entry.event, kinds)]


async def test_trades_come_once_from_both_and_the_book_from_one_at_a_time(redis):
    async with kraken() as script, AsyncExitStack() as second:
        async with worker(redis, script, "one") as one:
            await eventually(one.writes)
            two = await second.enter_async_context(worker(redis, script, "two"))
            await eventually(lambda: len(script.sockets) == 2)
            await eventually(lambda: all(c.state == "CONNECTED" for each in (one, two) for c in each.connections))
            await eventually(lambda: one.writes() != two.writes())
            await eventually(lambda: bodies(redis, BOOK, Snapshot))
            script.newest = 5
            await script.say(trades(4, 5), DELTA)
            await eventually(lambda: bodies(redis, TRADES, Trade))
        await eventually(two.writes)
        await eventually(lambda: _begun(redis, 2))
        script.newest = 8
        await script.cut()
        await eventually(lambda: _trades(redis, 8))
        report = await audit(redis, [], 0)
    said = await entries(redis, TRADES)
    books = await bodies(redis, BOOK, Snapshot)
    epochs = [entry.epoch for entry in books]
    assert ([entry.s for entry in said], epochs, report.balanced) == (
        ["4", "5", "6", "7", "8"],
        list(range(1, len(books) + 1)),
        True,
    )


async def _begun(redis, sessions):
    return len(await bodies(redis, BOOK, Snapshot)) >= sessions


async def _live(redis):
    newest = (await entries(redis, BOOK))[-1].event
    return isinstance(newest, Status) and newest.state == "live"


async def _trades(redis, newest):
    return any(entry.s == str(newest) for entry in await entries(redis, TRADES))


async def test_a_book_that_is_wrong_is_subscribed_to_anew_and_the_time_is_registered(redis):
    async with kraken() as script, worker(redis, script, "one", ("orderbook",)) as one:
        await eventually(one.writes)
        await eventually(lambda: _begun(redis, 1))
        await script.say(DELTA.replace("2525563957", "1"))
        await eventually(lambda: _begun(redis, 2))
        await eventually(lambda: _live(redis))
        report = await audit(redis, [], 0)
    kinds = [type(entry.event) for entry in await entries(redis, BOOK)]
    anew = kinds.index(Gap)
    assert (kinds[anew - 1 : anew + 3], report.balanced) == ([Status, Gap, Snapshot, Status], True)
