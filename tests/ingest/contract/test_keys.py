"""Keys both ways, and the names that could bend a key or a pattern."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.keys import BadName, StreamKey, check_name, is_needed, parse_key, parse_symbol

TOKENS = st.text(st.characters(categories=["L", "Nd"], include_characters="._"), min_size=1, max_size=20)
NAMES = st.from_regex(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", fullmatch=True)
KEYS = st.builds(StreamKey, NAMES, NAMES, st.just("") | st.builds("{}/{}".format, TOKENS, TOKENS))
BTC = StreamKey("binance", "trades", "BTC/USDT")


@given(KEYS)
@settings(derandomize=True)
def test_a_key_is_read_as_it_was_written(key):
    assert parse_key(str(key)) == key


@given(st.text(st.sampled_from("md:{}binance-tradesBTC/USDT._*\n 1é"), max_size=40))
@settings(derandomize=True)
def test_whatever_is_read_as_a_key_is_written_the_same(text):
    for candidate in (text, f"md:{{binance}}:{text}", f"md:{{binance}}:trades:{text}"):
        try:
            key = parse_key(candidate)
        except BadName:
            continue
        assert str(key) == candidate.replace("/", "-")


@given(TOKENS, TOKENS)
@settings(derandomize=True)
def test_a_symbol_may_be_typed_either_way(base, quote):
    assert parse_symbol(f"{base}/{quote}") == parse_symbol(f"{base}-{quote}") == f"{base}/{quote}"


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "BTC",
        "/",
        "-",
        "BTC/",
        "/USDT",
        "BTC//USDT",
        "BTC/USDT/EUR",
        "BTC-USDT-EUR",
        "BTC/USD-T",
        "BTC USDT",
        "BTC /USDT",
        " BTC/USDT",
        "BTC/USDT ",
        "BTC/USDT\n",
        "BTC\n/USDT",
        "BTC:USDT",
        "BTC/US:DT",
        "{BTC}/USDT",
        "BTC/{USDT",
        "BTC/USDT}",
        "*/USDT",
        "BTC/*",
        "BTC/USD?",
        "BTC/[USDT]",
        "BTC/USDT\x00",
        "BTC/US\u200bDT",
        "BTC/USDT\u2028",
    ],
)
def test_a_symbol_that_could_bend_a_key_is_refused_and_named(symbol):
    with pytest.raises(BadName) as bad:
        parse_symbol(symbol)
    assert repr(symbol) in str(bad.value)


@pytest.mark.parametrize(
    "symbol", ["BTC/USDT", "币安人生/USDT", "ÅÐÅ/ΕΥΡΩ", "1000SATS/USDT", "BTC_PERP/USD.D", "ЁЖ/РУБ"]
)
def test_letters_of_every_script_are_symbols(symbol):
    assert parse_symbol(symbol) == symbol


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        "a-",
        "-a",
        "a--b",
        "a b",
        "a:b",
        "{a",
        "a}",
        "a*",
        "a?",
        "[a]",
        "a\n",
        "a/b",
        "a.b",
        "a_b",
        "ä",
        "\u212a",
        "\u017f",
    ],
)
def test_a_bad_name_of_an_exchange_or_channel_is_refused_and_named(name):
    with pytest.raises(BadName) as bad:
        check_name(name)
    assert repr(name) in str(bad.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "md:binance:trades:BTC-USDT",
        "md:{binance}",
        "md:{binance}:",
        "md:{}:trades:BTC-USDT",
        "md:{binance}::BTC-USDT",
        "md:{binance}:trades:",
        "md:{binance}:trades:BTC-USDT:state",
        "md:{binance}:trades:BTC-USDT\n",
        "md:{binance}:trades:BTC",
        "md:{bin{ance}}:trades:BTC-USDT",
        "md:{binance}}:trades:BTC-USDT",
        "md:{binance}:trades:*-USDT",
        " md:{binance}:trades:BTC-USDT",
        "dlq:{binance}:bot",
    ],
)
def test_what_is_not_a_stream_key_is_refused_and_named(text):
    with pytest.raises(BadName) as bad:
        parse_key(text)
    assert bad.value.args[0]


def test_everything_of_a_stream_lies_beside_it():
    assert [str(BTC), BTC.state, BTC.gaps, BTC.ids, BTC.snap] == [
        "md:{binance}:trades:BTC-USDT",
        "md:{binance}:trades:BTC-USDT:state",
        "md:{binance}:trades:BTC-USDT:gaps",
        "md:{binance}:trades:BTC-USDT:ids",
        "md:{binance}:trades:BTC-USDT:snap",
    ]


def test_only_candles_have_an_interval():
    channels = ("candles-1m", "candles-1mo", "trades", "status")
    assert [StreamKey("binance", channel).interval for channel in channels] == ["1m", "1mo", None, None]


@pytest.mark.parametrize(
    ("needs", "needed"),
    [
        ("", []),
        ("trades", ["trades:BTC-USDT", "trades:ETH-USDT"]),
        ("trades:BTC-USDT", ["trades:BTC-USDT"]),
        ("ticker:BTC-USDT candles", ["candles-1m:BTC-USDT"]),
        ("candles:ETH-USDT candles-1m:BTC-USDT", ["candles-1m:BTC-USDT"]),
        ("status:BTC-USDT", ["status"]),
    ],
)
def test_a_group_needs_what_it_has_registered(needs, needed):
    there = ("candles-1m:BTC-USDT", "status", "trades:BTC-USDT", "trades:ETH-USDT")
    streams = {name: parse_key("md:{binance}:" + name) for name in there}
    assert [name for name, key in streams.items() if is_needed(key, needs.split())] == needed
