"""Which symbols are heard: the choice itself, and a worker's, made anew while it runs."""

import signal

import pytest

from ingest.contract import keys
from ingest.contract.codec import decode
from ingest.contract.instruments import decode as decode_row
from ingest.contract.keys import control
from ingest.exchanges.exchange import FetchFailed, Instrument
from ingest.exchanges.symbols import listed
from ingest.publisher import Publisher
from ingest.selection import Choice, Selection, choose
from ingest.simulator.server import simulated_binance
from tests.chaos.child import Child
from tests.end_to_end.running import working
from tests.eventually import eventually

CONTROL = control("binance")
INSTRUMENTS = keys.instruments("binance")


def instruments(**statuses: str) -> dict[str, Instrument]:
    """By base."""
    return {
        f"{base}/USDT": Instrument(f"{base}/USDT", f"{base}USDT", status == "TRADING", status)
        for base, status in statuses.items()
    }


LISTED = instruments(BTC="TRADING", ETH="TRADING", SOL="TRADING", OLD="BREAK")


def test_without_a_word_it_is_what_was_configured():
    assert choose(["BTC/USDT", "ETH/USDT"], {}, LISTED, []) == Choice(("BTC/USDT", "ETH/USDT"), {})


def test_what_is_switched_on_comes_and_what_is_switched_off_goes_in_either_spelling():
    said = {"SOL-USDT": "on", "BTC/USDT": "off", "ETH/USDT": "on"}
    assert choose(["BTC/USDT", "ETH/USDT"], said, LISTED, []) == Choice(("ETH/USDT", "SOL/USDT"), {})


def test_what_cannot_be_is_complained_about_and_the_rest_is_as_it_was():
    said = {"BTCUSDT": "on", "ETH/USDT": "maybe", "XY/EUR": "on", "OLD/USDT": "on"}
    choice = choose(["BTC/USDT"], said, LISTED, ["BTC/USDT"])
    assert (choice.symbols, choice.complaints) == (
        ("BTC/USDT",),
        {
            "BTCUSDT": "'BTCUSDT' is not a symbol; expected BASE/QUOTE of letters, digits, '.' and '_', as in BTC/USDT",
            "ETH/USDT": "ETH/USDT is to be 'maybe', which is neither 'on' nor 'off'",
            "XY/EUR": "XY/EUR is not traded",
            "OLD/USDT": "OLD/USDT is not trading now (status BREAK)",
        },
    )


def test_what_is_halted_while_it_is_heard_is_not_let_go():
    assert choose(["OLD/USDT"], {}, LISTED, ["OLD/USDT"]) == Choice(("OLD/USDT",), {})


def test_a_list_is_one_a_line_or_separated_by_commas():
    assert listed("BTC/USDT\n\n ETH-USDT,SOL/USDT,\nBTC/USDT\n") == ("BTC/USDT", "ETH/USDT", "SOL/USDT")


@pytest.mark.parametrize("text", ["", " \n,", "BTC/USDT\nETHUSDT"])
def test_a_list_that_makes_no_sense_is_none(text):
    with pytest.raises(ValueError):
        listed(text)


class Venue:
    """An exchange, as far as its list of instruments goes."""

    name = "binance"

    def __init__(self) -> None:
        self.listed = LISTED
        self.asked = 0

    def list_instruments(self):
        return "list"

    def instruments(self, _body):
        return self.listed

    async def get(self, _fetch):
        self.asked += 1
        return b"" if self.listed else FetchFailed(500, "away")


def selection(redis, venue: Venue, *symbols: str, **options) -> tuple[Selection, Publisher]:
    publisher = Publisher(redis, "binance")
    made = Selection(redis, venue, publisher, venue, symbols=symbols, channels=("trades",), **options)
    made.instruments.update(venue.listed)
    return made, publisher


async def told(redis, publisher: Publisher) -> list[tuple[str, str]]:
    publisher.finish()
    await publisher.run()
    entries = [decode(*entry).event for entry in await redis.xrange("md:{binance}:status")]
    return [(status.state, status.reason) for status in entries]


async def test_a_complaint_is_told_once_and_the_exchange_is_asked_once_for_it(redis):
    venue = Venue()
    made, publisher = selection(redis, venue, "BTC/USDT")
    await redis.hset(CONTROL, "NEW/EUR", "on")
    made._refreshed_s -= 6
    for _ in range(3):
        await made.round()
    assert ([key.symbol for key in made.streams], venue.asked, await told(redis, publisher)) == (
        ["BTC/USDT"],
        1,
        [("refused", "NEW/EUR is not traded")],
    )


async def test_an_unknown_symbol_that_was_listed_meanwhile_is_found_at_once(redis):
    venue = Venue()
    made, publisher = selection(redis, venue, "BTC/USDT")
    venue.listed = LISTED | {"NEW/EUR": Instrument("NEW/EUR", "NEWEUR", True, "TRADING")}
    await redis.hset(CONTROL, "NEW/EUR", "on")
    made._refreshed_s -= 6
    await made.round()
    assert ([key.symbol for key in made.streams], await told(redis, publisher)) == (["BTC/USDT", "NEW/EUR"], [])


async def test_what_is_halted_or_delisted_is_still_heard_and_all_that_is_traded_is_written_down(redis):
    venue = Venue()
    made, _ = selection(redis, venue, "BTC/USDT")
    await made.round()
    heard, statuses = [], []
    rest = instruments(ETH="TRADING")
    for now in (rest | instruments(BTC="BREAK"), rest | instruments(BTC="TRADING"), rest, rest, {}):
        venue.listed = now
        made._refreshed_s -= 301
        await made.round()
        await made.round()
        heard.append([key.symbol for key in made.streams])
        statuses.append(decode_row(await redis.hget(INSTRUMENTS, "BTC/USDT")).status)
    assert (heard, statuses) == ([["BTC/USDT"]] * 5, ["halted", "trading", "delisted", "delisted", "delisted"])


async def test_a_file_is_read_anew_and_one_that_makes_no_sense_changes_nothing(redis, tmp_path):
    file = tmp_path / "symbols"
    made, publisher = selection(redis, Venue(), "BTC/USDT", symbols_file=file)
    configured = []
    for text in ("ETH/USDT\nSOL/USDT", "ETHUSDT", "", "SOL/USDT"):
        file.write_text(text)
        made.reread()
        configured.append(made.configured)
    file.unlink()
    made.reread()
    two, one = ("ETH/USDT", "SOL/USDT"), ("SOL/USDT",)
    assert ([*configured, made.configured], [state for state, _ in await told(redis, publisher)]) == (
        [two, two, two, one, one],
        ["refused"] * 3,
    )


async def length(redis, symbol: str) -> int:
    return await redis.xlen(f"md:{{binance}}:trades:{symbol}-USDT")


async def more(redis, *symbols: str, count: int = 10) -> None:
    before = {symbol: await length(redis, symbol) for symbol in symbols}

    async def came():
        return all([await length(redis, symbol) >= before[symbol] + count for symbol in symbols])

    await eventually(came)


@pytest.mark.slow
async def test_symbols_come_and_go_at_run_time_and_the_others_do_not_notice(redis):
    async with simulated_binance(symbols=("BTC/USDT", "ETH/USDT", "SOL/USDT"), rate=300) as exchange:
        async with working(redis, exchange, ("BTC/USDT", "ETH/USDT"), channels=("trades",)) as worker:
            await more(redis, "BTC", "ETH")
            await redis.hset(CONTROL, mapping={"SOL/USDT": "on", "ETH/USDT": "off", "NONE/USDT": "on"})
            await more(redis, "BTC", "SOL")
            await eventually(lambda: [len(connection.streams) for connection in worker.connections] == [2])
            await more(redis, "BTC", "SOL")
            silent = await length(redis, "ETH")
            await more(redis, "BTC", "SOL")
            assert await length(redis, "ETH") == silent
            await redis.delete(CONTROL)
            await more(redis, "BTC", "ETH")
            ids = [int(fields[b"s"]) for _, fields in await redis.xrange("md:{binance}:trades:BTC-USDT")]
            connects = [connection.counters.connects for connection in worker.connections]
            assert (connects, ids) == ([1], list(range(ids[0], ids[0] + len(ids))))


@pytest.mark.slow
async def test_sighup_has_a_worker_read_its_file_anew(redis, redis_server, tmp_path):
    file = tmp_path / "symbols"
    file.write_text("BTC/USDT\n")
    async with simulated_binance(symbols=("BTC/USDT", "ETH/USDT"), rate=300) as exchange:
        env = {
            "INGEST_SYMBOLS_FILE": str(file),
            "INGEST_CHANNELS": "trades",
            "INGEST_REDIS_URL": redis_server.url,
            "INGEST_STREAM_URL": exchange.stream_url,
            "INGEST_REST_URL": exchange.rest_url,
        }
        worker = Child("worker", tmp_path, "ingest", "run", env=env)
        worker.start()
        try:
            await more(redis, "BTC")
            file.write_text("BTC/USDT\nETH/USDT\n")
            worker.signal(signal.SIGHUP)
            await more(redis, "BTC", "ETH")
            assert await worker.end() == 0
        finally:
            worker.kill()
