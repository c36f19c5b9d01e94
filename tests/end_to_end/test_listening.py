"""Streams that come and go while their connections run, on a simulated exchange."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

import ingest.exchanges.binance
import ingest.exchanges.subscriptions
from ingest.contract.codec import decode
from ingest.contract.keys import StreamKey
from ingest.exchanges.binance import Binance
from ingest.exchanges.exchange import Instrument
from ingest.listening import Listening
from ingest.publisher import Publisher
from ingest.rest import Rest
from ingest.simulator.server import simulated_binance
from tests.end_to_end.running import QUICK, plenty
from tests.eventually import eventually

pytestmark = pytest.mark.slow

SYMBOLS = ("BTC/USDT", "ETH/USDT", "SOL/USDT")
BTC, ETH, SOL = ([StreamKey("binance", channel, symbol) for channel in ("trades", "orderbook")] for symbol in SYMBOLS)


@asynccontextmanager
async def listening(redis, rate=300, stream_url=None):
    """A Listening that hears nothing yet, and its exchange."""
    async with simulated_binance(symbols=SYMBOLS, rate=rate) as exchange:
        binance, publisher, stopping = Binance(), Publisher(redis, "binance"), asyncio.Event()
        limits = plenty(redis)
        async with Rest(exchange.rest_url, limits.weight) as rest:
            found = Listening(
                binance,
                binance.instruments(await rest.get(binance.list_instruments())),
                stream_url=stream_url or exchange.stream_url,
                patience=QUICK,
                publisher=publisher,
                rest=rest,
                budgets=limits,
                stopping=stopping,
            )
            writing, hearing = asyncio.create_task(publisher.run()), asyncio.create_task(found.run())
            try:
                yield found, exchange
            finally:
                stopping.set()
                await hearing
                publisher.finish()
                await writing


async def more_of(redis, keys, count=5):
    """So many more entries in each of the streams."""
    before = {key: await redis.xlen(str(key)) for key in keys}

    async def came():
        return all([await redis.xlen(str(key)) >= before[key] + count for key in keys])

    await eventually(came)


async def trade_ids(redis, key):
    return [int(fields[b"s"]) for _, fields in await redis.xrange(str(key))]


async def epochs(redis, key):
    return {e.epoch for e in (decode(*entry) for entry in await redis.xrange(str(key))) if e.epoch}


async def test_what_is_added_comes_over_the_same_socket_and_the_others_do_not_notice(redis):
    async with listening(redis) as (heard, _):
        await heard.hear(BTC)
        await more_of(redis, BTC)
        await heard.hear([*BTC, *ETH])
        await more_of(redis, [*BTC, *ETH])
        (connection,) = heard.connections
        ids = await trade_ids(redis, BTC[0])
        assert (connection.counters.connects, ids, await epochs(redis, BTC[1])) == (
            1,
            list(range(ids[0], ids[0] + len(ids))),
            {1},
        )


async def test_what_is_let_go_falls_silent_and_the_others_go_on(redis):
    async with listening(redis) as (heard, _):
        await heard.hear([*BTC, *ETH])
        await more_of(redis, [*BTC, *ETH])
        await heard.hear(ETH)
        await more_of(redis, ETH, 10)  # by then nothing of the other is on the way any more
        before = [await redis.xlen(str(key)) for key in BTC]
        await more_of(redis, ETH, 20)
        after = [await redis.xlen(str(key)) for key in BTC]
        assert (after, [connection.counters.connects for connection in heard.connections]) == (before, [1])


async def test_what_comes_back_goes_on_without_a_hole(redis):
    async with listening(redis) as (heard, _):
        for wanted in ([*BTC, *ETH], ETH, [*BTC, *ETH]):
            await heard.hear(wanted)
            await more_of(redis, wanted, 10)
        ids = await trade_ids(redis, BTC[0])
        assert (ids, await epochs(redis, BTC[1])) == (list(range(ids[0], ids[0] + len(ids))), {1, 2})


async def test_after_a_cut_it_converses_about_what_is_wanted_then(redis):
    async with listening(redis) as (heard, exchange):
        await heard.hear([*BTC, *ETH])
        await more_of(redis, [*BTC, *ETH])
        await exchange.drop_all()
        await heard.hear([*ETH, *SOL])
        await more_of(redis, [*ETH, *SOL])
        assert [set(connection.streams) for connection in heard.connections] == [{*ETH, *SOL}]


async def test_with_nothing_left_its_connection_ends_and_another_one_comes_when_needed(redis):
    async with listening(redis) as (heard, _):
        await heard.hear(BTC)
        await more_of(redis, BTC)
        (first,) = heard.connections
        await heard.hear([])
        await eventually(lambda: first.state == "DISCONNECTED")
        assert heard.connections == ()
        await heard.hear(ETH)
        await more_of(redis, ETH)
        assert [connection.name for connection in heard.connections] == ["binance-2"]


async def test_what_is_added_fills_connections_up_before_it_opens_others(redis, monkeypatch):
    monkeypatch.setattr(ingest.exchanges.binance, "_STREAMS_PER_CONNECTION", 3)
    async with listening(redis) as (heard, _):
        for wanted in (BTC, [*BTC, *ETH], [*ETH], [*ETH, *SOL]):
            await heard.hear(wanted)
        await more_of(redis, [*ETH, *SOL])
        assert {connection.name: set(connection.streams) for connection in heard.connections} == {
            "binance-1": {ETH[0], *SOL},
            "binance-2": {ETH[1]},
        }


async def test_streams_flow_once_something_of_them_was_said_and_not_while_the_socket_is_away(redis):
    async with listening(redis) as (heard, exchange):
        await heard.hear(BTC)
        before = heard.flowing()
        await eventually(lambda: heard.flowing() == set(BTC))
        await exchange.drop_all()
        await eventually(lambda: heard.flowing() != set(BTC))
        await eventually(lambda: heard.flowing() == set(BTC))
        assert before == set()


async def test_a_quiet_stream_flows_once_its_subscription_has_stood_for_a_while(redis):
    async with listening(redis, rate=0) as (heard, _):
        await heard.hear([*BTC, *ETH])
        await eventually(lambda: heard.flowing() == {BTC[1], ETH[1]})  # the books are whole
        await eventually(lambda: heard.flowing() == {*BTC, *ETH})


async def test_an_exchange_that_asks_for_a_pause_before_the_next_connection_is_obeyed(redis):
    attempts: list[float] = []

    def refuse(_connection, _request):
        attempts.append(time.monotonic())
        return Response(429, "Too Many Requests", Headers({"Retry-After": "1"}), b"")

    async with serve(lambda _: None, "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        async with listening(redis, stream_url=f"ws://127.0.0.1:{port}") as (heard, _):
            await heard.hear(BTC)
            await eventually(lambda: len(attempts) == 2)
    assert attempts[1] - attempts[0] >= 0.99


async def told(redis):
    """What was said of subscriptions: the stream and its state."""
    entries = [decode(*entry) for entry in await redis.xrange("md:{binance}:status")]
    return [(entry.event.stream, entry.event.state) for entry in entries if entry.event.stream]


def with_another(instruments, symbol, native):
    return {**instruments, symbol: Instrument(symbol, native, True, "TRADING")}


async def test_one_bad_topic_does_not_silence_the_others_and_is_told(redis):
    bad = [StreamKey("binance", channel, "BAD/USDT") for channel in ("trades", "orderbook")]
    async with listening(redis) as (heard, _):
        heard._instruments = with_another(heard._instruments, "BAD/USDT", "BAD-USDT")  # no name for a stream
        await heard.hear([*BTC, *bad, *ETH])
        await more_of(redis, [*BTC, *ETH])
        await eventually(lambda: heard.flowing() == {*BTC, *bad, *ETH})  # nobody waits for them
        (connection,) = heard.connections
        assert (connection.counters.connects, sorted(await told(redis))) == (
            1,
            sorted((str(key), "refused") for key in bad),
        )


async def test_a_topic_that_never_delivers_is_told_resubscribed_and_in_the_end_another_connection_tried(
    redis, monkeypatch
):
    monkeypatch.setattr(ingest.exchanges.binance, "_SILENT_NS", 1_500_000_000)
    monkeypatch.setattr(ingest.exchanges.subscriptions, "LOOK_EVERY_NS", 100_000_000)
    mute = StreamKey("binance", "candles-1m", "MUTE/USDT")
    async with listening(redis) as (heard, _):
        heard._instruments = with_another(heard._instruments, "MUTE/USDT", "MUTEUSDT")  # unknown names say nothing
        await heard.hear([*BTC, mute])

        async def told_often(times):
            return len(await told(redis)) == times

        await eventually(lambda: told_often(4))  # twice on each connection
        ids = await trade_ids(redis, BTC[0])
        assert (await told(redis), [connection.name for connection in heard.connections], ids) == (
            [(str(mute), "silent")] * 4,
            ["binance-2"],
            list(range(ids[0], ids[0] + len(ids))),
        )
