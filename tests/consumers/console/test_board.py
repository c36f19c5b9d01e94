import io
from decimal import Decimal

import pytest
from msgspec.structs import replace
from rich.console import Console

from consumers.console.board import plain, render
from consumers.console.figures import Figures, GroupLag, PositionFigures, StreamFigures, collect, watch
from ingest.contract import keys
from ingest.contract.keys import StreamKey
from tests.consumers.producing import BTC, ETH, GROUP, entry_id, put, reader, take

POSITION = PositionFigures(
    exchange="binance",
    account="paper",
    symbol="BTC/USDT",
    quantity=Decimal("-0.01500000"),
    average_price=Decimal("64000.123456789012"),
    mark=Decimal("64123.40000000"),
    realized_pnl=Decimal("-12.3456"),
    unrealized_pnl=Decimal("1000.5"),
    fills=12_345,
)
FIELDS = (
    "account",
    "symbol",
    "quantity",
    "average_price",
    "mark",
    "realized_pnl",
    "unrealized_pnl",
    "fills",
)


def group(name: str, **more: int) -> GroupLag:
    figures = {"entries": 12, "handled": 1_234_567, "readers": 1, "holes": 0, "lost": 0, "unreadable": 0}
    latencies = {"latency_p50_us": 850, "latency_p99_us": 12_345}
    return GroupLag(exchange="binance", group=name, **{**figures, **latencies, **more})


def stream(channel: str, price: str = "", *, dense: bool | None = True) -> StreamFigures:
    key = StreamKey("binance", channel, "BTC/USDT")
    return StreamFigures(key=key, n=12_345, per_second=1234.5, price=price, price_ns=len(price), dense=dense)


FIGURES = Figures(
    at_ns=1_767_225_600_000_000_000,
    streams=(
        stream("candles-1m", "64123.40000000"),
        *(stream(channel) for channel in ("fills", "intents", "orderbook", "orders", "ticker")),
        stream("trades", "64000.1", dense=None),
    ),
    lags=(group("bot"), group("order"), group("position", readers=0)),
    positions=(POSITION,),
)


def printed(width: int, figures: Figures = FIGURES) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(figures))
    return console.export_text()


async def test_figures_are_what_lies_in_redis(redis):
    await put(redis, BTC, range(1, 11))
    await put(redis, ETH, range(1, 5))
    await redis.xtrim(str(BTC), maxlen=9, approximate=False)
    async with reader(redis) as trades:
        await take(trades, 10)
    await redis.xdel(str(ETH), await entry_id(redis, ETH, 2))
    fields = {name: str(getattr(POSITION, name)) for name in FIELDS}
    await redis.hset(keys.position("binance", "paper", "BTC/USDT"), mapping=fields)
    await redis.sadd(keys.positions("binance"), keys.position("binance", "paper", "BTC/USDT"))

    figures = await collect(redis)

    assert figures.streams == (
        StreamFigures(key=BTC, n=10, per_second=3.0, price="64000.10", price_ns=10, dense=True),
        StreamFigures(key=ETH, n=4, per_second=4 / 3, price="64000.10", price_ns=4, dense=False),
    )
    (lag,) = figures.lags
    assert (lag.exchange, lag.group, lag.entries, lag.handled, lag.readers) == ("binance", GROUP, 3, 10, 1)
    assert figures.positions == (POSITION,)


async def test_an_empty_bus_has_no_figures(redis):
    async for figures in watch(redis, every_seconds=0):
        assert (figures.streams, figures.lags, figures.positions) == ((), (), ())
        break


@pytest.mark.parametrize("width", [80, 140])
def test_the_board_fits_the_terminal_and_cuts_nothing_off(width):
    shown = printed(width)

    words = shown.split()
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    for expected in (
        "64,123.4",
        "1,234.5",
        "12,345",
        "1,234,567",
        "12.3",
        "-0.015",
        "64,000.123",
        "+1,000.50",
        "(away)",
    ):
        assert expected in words


def test_the_board_is_wide_where_there_is_room():
    assert len(printed(140).splitlines()) < len(printed(80).splitlines())


def test_a_plain_line_says_what_matters():
    (line,) = plain(FIGURES)

    assert line.split("  ") == [
        "00:00:00",
        "7 streams",
        "8,642 entries/s",
        "n without a hole",
        "BTC/USDT 64,123.4",
        *(f"{name} lag 12 p50 850 µs p99 12.3 ms" for name in ("bot", "order", "position")),
        "PnL +988.15 USDT",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_of_several_exchanges_each_price_and_position_says_of_which(width):
    exchanges = ("binance", "coinbase")
    several = replace(
        FIGURES,
        streams=tuple(
            replace(each, key=StreamKey(exchange, each.key.channel, each.key.symbol))
            for exchange in exchanges
            for each in FIGURES.streams
        ),
        positions=tuple(replace(POSITION, exchange=exchange) for exchange in exchanges),
    )
    shown, (line,) = printed(width, several), plain(several)
    names = [f"BTC/USDT {exchange}" for exchange in exchanges]
    assert [shown.count(name) for name in names] == [2, 2]
    assert line.split("  ")[4:6] == [f"{name} 64,123.4" for name in names]


def test_holes_and_losses_stand_out():
    figures = Figures(
        at_ns=0, streams=(stream("trades", dense=False),), lags=(group("bot", lost=3, holes=1),), positions=()
    )

    assert plain(figures)[0].split("  ")[3:] == [
        "holes in n: md:{binance}:trades:BTC-USDT",
        "bot lag 12 p50 850 µs p99 12.3 ms lost 3",
    ]
