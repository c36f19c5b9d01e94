import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ingest.simulator import peer, server
from ingest.simulator.binance.exchange import Binance
from ingest.simulator.disturbed import Disturbed
from ingest.simulator.faults import parse
from ingest.simulator.ledger import Record, Trade, read, struck
from ingest.simulator.market import Market
from ingest.simulator.server import SimulatedExchange, opened, simulate, simulated, simulated_binance
from tests.eventually import eventually

pytestmark = pytest.mark.slow

BTC = "btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/btcusdt@ticker/btcusdt@kline_1s"


@pytest.fixture
async def exchange() -> AsyncIterator[SimulatedExchange]:
    async with simulated_binance(rate=500) as exchange:
        yield exchange


async def listen(client: ClientConnection) -> list[Any]:
    """All frames until the connection ends."""
    frames = []
    try:
        while True:
            frames.append(json.loads(await client.recv()))
    except ConnectionClosed:
        return frames


async def get(exchange: SimulatedExchange, target: str) -> tuple[int, dict[str, str], Any]:
    async with aiohttp.ClientSession() as http, http.get(exchange.rest_url + target) as answer:
        return answer.status, dict(answer.headers), await answer.json()


def identity(frame: Any) -> str:
    """What the ledger calls the event of a frame."""
    data, kind = frame["data"], frame["stream"].partition("@")[2]
    match kind:
        case "trade":
            return str(data["t"])
        case "depth@100ms":
            return str(data["u"])
        case "bookTicker":
            return f"book.{data['u']}"
        case "ticker":
            return f"24hr.{data['E'] * 10**6}"
    return f"{data['k']['t'] * 10**6}.{'closed' if data['k']['x'] else data['E'] * 10**6}"


async def test_when_it_goes_away_all_that_its_ledger_holds_has_reached_the_client(tmp_path: Path):
    path = tmp_path / "ledger"
    async with simulated_binance(rate=2000, ledger=path) as exchange:
        client = await connect(f"{exchange.stream_url}/stream?streams={BTC}")
        listening = asyncio.create_task(listen(client))
        await eventually(lambda: path.read_bytes().count(b'"ticker"') > 200)
    told = [identity(frame) for frame in await listening]
    assert (told, client.close_code) == ([record.s for record in read(path)], 1001)


async def test_a_client_that_is_behind_when_it_goes_away_still_gets_all_of_it(tmp_path: Path):
    path = tmp_path / "ledger"
    sizes: list[int] = []

    def at_rest() -> bool:
        sizes.append(path.stat().st_size)
        return sizes[-4:] == [sizes[-1]] * 4

    async with simulated_binance(rate=2000, ledger=path) as exchange:
        client = await connect(f"{exchange.stream_url}/stream?streams={BTC}", max_size=None)
        client.transport.pause_reading()
        filling = asyncio.create_task(exchange.say(json.dumps("x" * (32 << 20))))
        await eventually(lambda: any(len(peer.session.outgoing) > 50 for peer in exchange._peers))
        exchange.stopping.set()
        await eventually(at_rest)
        client.transport.resume_reading()
        listening = asyncio.create_task(listen(client))
        await filling
    told = [identity(frame) for frame in await listening if "stream" in frame]
    assert (told, client.close_code) == ([record.s for record in read(path)], 1001)


async def test_a_subscription_is_answered_and_served(exchange: SimulatedExchange):
    async with connect(f"{exchange.stream_url}/stream") as client:
        await client.send('{"method":"SUBSCRIBE","params":["ethusdt@bookTicker"],"id":17}')
        frames = [json.loads(await client.recv()) for _ in range(3)]
    assert [frame.get("stream", frame) for frame in frames] == [
        {"result": None, "id": 17},
        "ethusdt@bookTicker",
        "ethusdt@bookTicker",
    ]


async def test_rest_is_served_on_the_same_port(exchange: SimulatedExchange):
    status, headers, depth = await get(exchange, "/api/v3/depth?symbol=BTCUSDT&limit=2")
    assert (status, headers["X-MBX-USED-WEIGHT-1M"], headers["Content-Type"]) == (
        200,
        "5",
        "application/json;charset=UTF-8",
    )
    assert [len(depth["bids"]), len(depth["asks"])] == [2, 2]
    status, _, error = await get(exchange, "/api/v3/depth?symbol=NOSUCH")
    assert (status, error["code"]) == (400, -1121)


async def test_there_is_nothing_elsewhere(exchange: SimulatedExchange):
    with pytest.raises(InvalidStatus, match="404"):
        await connect(f"{exchange.stream_url}/elsewhere")
    assert (await get(exchange, "/elsewhere"))[0] == 404


async def test_dropped_connections_are_cut_without_a_word_and_may_come_back(exchange: SimulatedExchange):
    target = f"{exchange.stream_url}/stream?streams=btcusdt@bookTicker"
    first, second = await connect(target), await connect(target)
    await first.recv()
    await exchange.drop_all()
    await asyncio.gather(listen(first), listen(second))
    async with connect(target) as third:
        assert (first.close_code, second.close_code, json.loads(await third.recv())["stream"]) == (
            1006,
            1006,
            "btcusdt@bookTicker",
        )


async def test_anything_can_be_said_to_everybody():
    async with simulated_binance(rate=0) as exchange:
        clients = [await connect(f"{exchange.stream_url}/stream") for _ in range(2)]
        for message in ('{"stream":', b"\x00\xff"):
            await exchange.say(message)
        heard = [[await client.recv() for _ in range(2)] for client in clients]
    assert heard == [['{"stream":', b"\x00\xff"]] * 2


async def test_a_skipped_trade_leaves_a_hole(tmp_path: Path):
    async with simulated_binance(rate=2000, ledger=tmp_path / "ledger") as exchange:
        client = await connect(f"{exchange.stream_url}/stream?streams=btcusdt@trade")
        listening = asyncio.create_task(listen(client))
        exchange.strike("gap:trades:BTC/USDT")
        await eventually(lambda: len(list(read(tmp_path / "ledger"))) > 20)
    emitted = [int(record.s) for record in read(tmp_path / "ledger")]
    told = [frame["data"]["t"] for frame in await listening]
    assert (emitted, len(set(emitted) - set(told)), len(told)) == (
        list(range(emitted[0], emitted[0] + len(emitted))),
        1,
        len(emitted) - 1,
    )


async def test_a_machine_that_was_held_up_trades_less_instead_of_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "_LATE_NS", 50_000_000)
    path = tmp_path / "ledger"
    async with simulated_binance(rate=2000, ledger=path) as exchange:
        async with connect(f"{exchange.stream_url}/stream?streams=btcusdt@trade", max_queue=None):
            await eventually(lambda: len(list(read(path))) > 5)
            time.sleep(0.2)  # noqa: ASYNC251 - the hold-up itself
            held_up = len(list(read(path)))
            await eventually(lambda: len(list(read(path))) > held_up + 5)
    times = [record.exchange_ns for record in read(path) if isinstance(record, Trade)]
    assert max(later - earlier for earlier, later in pairwise(times)) > 150_000_000


async def test_six_pings_at_once_are_too_many(exchange: SimulatedExchange):
    client = await connect(f"{exchange.stream_url}/stream", ping_interval=None)
    for _ in range(6):
        await client.ping()
    await client.wait_closed()
    assert (client.close_code, client.close_reason) == (1008, "Too many requests")


@pytest.fixture
async def stuck(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[SimulatedExchange, ClientConnection]]:
    """An exchange, and a client that does not read while more is said to it than all buffers between them hold."""
    monkeypatch.setattr(peer, "OUTGOING_FRAMES", 100)
    async with simulated_binance(rate=2000) as exchange:
        slow = await connect(f"{exchange.stream_url}/stream?streams={BTC}", max_size=None, max_queue=None)
        slow.transport.pause_reading()
        filling = asyncio.create_task(exchange.say(b"x" * (32 << 20)))
        await eventually(lambda: any(peer._closing for peer in exchange._peers))
        yield exchange, slow
        await filling
        slow.transport.abort()
        await slow.wait_closed()


async def test_a_slow_reader_is_cut_off_and_holds_up_nobody(stuck: tuple[SimulatedExchange, ClientConnection]):
    exchange, _ = stuck
    async with connect(f"{exchange.stream_url}/stream?streams={BTC}") as quick:
        heard = [await quick.recv() for _ in range(200)]
        peers = len(exchange._peers)
    await eventually(lambda: not exchange._peers)
    assert (len(heard), peers) == (200, 2)


async def test_a_slow_reader_that_comes_round_is_told_why(stuck: tuple[SimulatedExchange, ClientConnection]):
    _, slow = stuck
    slow.transport.resume_reading()
    with pytest.raises(ConnectionClosed, match="slow reader"):
        while True:
            await slow.recv()
    assert slow.close_code == 1008


async def test_what_cannot_be_recorded_is_not_said():
    ends = []

    async def listen_to_one_that_cannot_write() -> None:
        async with simulated_binance(rate=500, ledger=Path("/dev/full")) as exchange:
            client = await connect(f"{exchange.stream_url}/stream?streams=btcusdt@trade")
            ends.append((await listen(client), client.close_code))

    with pytest.raises(OSError, match="No space left"):
        await listen_to_one_that_cannot_write()
    assert ends == [([], 1006)]


class Broken(Binance):
    """A dialect with a fault."""

    def advance(self, until_ns: int) -> list[Record]:
        raise RuntimeError("a fault in the dialect")


async def test_a_market_that_breaks_down_says_so():
    ends = []

    async def listen_to_one_that_breaks_down() -> None:
        exchange = SimulatedExchange(Disturbed(Broken(Market([], rate=0, seed=1, start_ns=0), 0), 0), None)
        async with opened(exchange, 0):
            await asyncio.wait((exchange.trading,))
            ends.append(exchange.trading.done())

    with pytest.raises(RuntimeError, match="a fault in the dialect"):
        await listen_to_one_that_breaks_down()
    assert ends == [True]


async def test_it_runs_until_it_is_stopped(tmp_path: Path, unused_tcp_port: int):
    stop = asyncio.Event()
    ledger, symbols = tmp_path / "ledger", ["SOL/USDT"]
    running = asyncio.create_task(
        simulate("binance", stop, symbols=symbols, rate=500, seed=1, port=unused_tcp_port, ledger=ledger)
    )
    client = await eventually(lambda: reach(f"ws://127.0.0.1:{unused_tcp_port}/ws/solusdt@trade"))
    listening = asyncio.create_task(listen(client))
    await eventually(lambda: len(list(read(ledger))) > 5)
    stop.set()
    await running
    assert [str(trade["t"]) for trade in await listening] == [record.s for record in read(ledger)]


async def reach(address: str) -> ClientConnection | None:
    try:
        return await connect(address)
    except OSError:
        return None


async def test_a_dead_ledger_ends_the_simulation(unused_tcp_port: int):
    stop = asyncio.Event()
    running = asyncio.create_task(
        simulate(
            "binance", stop, symbols=["SOL/USDT"], rate=500, seed=1, port=unused_tcp_port, ledger=Path("/dev/full")
        )
    )
    client = await eventually(lambda: reach(f"ws://127.0.0.1:{unused_tcp_port}/ws/solusdt@trade"))
    await client.wait_closed()
    with pytest.raises(OSError, match="No space left"):
        await running


async def post(exchange: SimulatedExchange, body: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.post(f"{exchange.rest_url}/control/fault", data=body) as answer:
        return answer.status, await answer.json()


async def test_faults_are_asked_for_while_it_runs_and_stand_in_the_ledger(tmp_path: Path):
    path = tmp_path / "ledger"
    async with simulated_binance(rate=500, ledger=path, faults=[parse("garble:ticker")]) as exchange:
        answers = [
            await post(exchange, "drop@0.1s"),
            await post(exchange, '{"kind":"notice","at_s":9}'),
            await post(exchange, "gap:trades:SOL/USDT"),
            await post(exchange, "gpa"),
        ]
        client = await connect(f"{exchange.stream_url}/stream?streams=btcusdt@bookTicker")
        frames = [await client.recv()]
        with pytest.raises(ConnectionClosed):
            while True:
                frames.append(await client.recv())
    assert [status for status, _ in answers] == [200, 200, 400, 400]
    assert [said for _, said in answers[:2]] == [{"accepted": "drop@0.1s/0s"}, {"accepted": "notice@9s/0s"}]
    assert (client.close_code, not frames[0].endswith("}")) == (1006, True)
    assert [(hit.fault, hit.key) for hit in struck(path)] == [
        ("garble:ticker@0s/0s", "md:{binance}:ticker:BTC-USDT"),
        ("drop@0.1s/0s", ""),
    ]


async def test_a_half_open_connection_does_not_even_answer_pings():
    async with simulated_binance(rate=500) as exchange:
        client = await connect(f"{exchange.stream_url}/stream?streams=btcusdt@bookTicker", close_timeout=0.1)
        await client.recv()
        exchange.strike("half-open")
        await eventually(lambda: any(peer.session.mute for peer in exchange._peers))
        pong = await client.ping()
        async with connect(f"{exchange.stream_url}/stream?streams=btcusdt@bookTicker") as other:
            for _ in range(20):
                await other.recv()
        assert not pong.done()
        client.transport.abort()


async def test_a_slow_answer_comes_in_the_end(exchange: SimulatedExchange):
    exchange.strike("rest-slow:orderbook@0s/0.2s")
    await eventually(lambda: exchange._venue._playing)
    begun = time.monotonic()
    status, _, _ = await get(exchange, "/api/v3/depth?symbol=BTCUSDT")
    assert (status, time.monotonic() - begun > 0.2) == (200, True)


async def test_another_dialect_is_spoken_on_the_same_server(tmp_path: Path):
    path = tmp_path / "ledger"
    async with simulated("kraken", symbols=["BTC/USD"], rate=2000, ledger=path) as exchange:
        client = await connect(f"{exchange.stream_url}/v2")
        listening = asyncio.create_task(listen(client))
        await client.send('{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}')
        await eventually(lambda: len(list(read(path))) > 20)
        status, _, answer = await get(exchange, "/0/public/Time")
    frames = [frame for frame in await listening if frame.get("channel") == "trade"]
    told = [str(trade["trade_id"]) for frame in frames for trade in frame["data"]]
    assert (told, status, answer["error"]) == ([record.s for record in read(path)], 200, [])
