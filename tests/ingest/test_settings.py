"""A worker's settings."""

import pytest

from ingest.exchanges import EXCHANGES
from ingest.settings import IngestSettings, WrongSettings, read_settings


def test_lists_are_separated_by_commas_and_symbols_are_written_either_way(monkeypatch):
    monkeypatch.setenv("INGEST_SYMBOLS", "BTC-USDT, ETH/USDT,BTC/USDT")
    assert read_settings().symbols == ("BTC/USDT", "ETH/USDT")


WRONG = {
    "INGEST_EXCHANGE": ("nyse", f"INGEST_EXCHANGE: there is no exchange 'nyse'; there are: {', '.join(EXCHANGES)}"),
    "INGEST_SYMBOLS": (
        "BTCUSDT",
        (
            "INGEST_SYMBOLS: 'BTCUSDT' is not a symbol; "
            "expected BASE/QUOTE of letters, digits, '.' and '_', as in BTC/USDT"
        ),
    ),
    "INGEST_ATTEMPTS": ("-1", "INGEST_ATTEMPTS: Input should be greater than or equal to 0"),
    "INGEST_TIMEOUT_S": (
        "soon",
        "INGEST_TIMEOUT_S: Input should be a valid number, unable to parse string as a number",
    ),
    "INGEST_REDIS_URL": ("http://h", "INGEST_REDIS_URL: URL scheme should be 'redis', 'rediss' or 'unix'"),
}


@pytest.mark.parametrize("variable", WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch, variable):
    value, line = WRONG[variable]
    monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings) as wrong:
        read_settings()
    assert str(wrong.value) == line


def test_every_wrong_setting_is_named(monkeypatch):
    for variable, (value, _) in WRONG.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings) as wrong:
        read_settings()
    assert sorted(str(wrong.value).splitlines()) == sorted(line for _, line in WRONG.values())


def test_a_channel_the_exchange_does_not_have_is_refused(monkeypatch):
    monkeypatch.setenv("INGEST_CHANNELS", "trades,funding")
    with pytest.raises(WrongSettings, match=r"binance has no channels \['funding'\]"):
        read_settings()


def test_a_password_in_a_wrong_address_is_not_shown(monkeypatch):
    monkeypatch.setenv("INGEST_REDIS_URL", "redi://user:secret@h")
    with pytest.raises(WrongSettings) as wrong:
        read_settings()
    assert "secret" not in str(wrong.value)


def test_a_secret_file_wins_over_the_variable(tmp_path):
    (tmp_path / "url").write_text("redis://:secret@bus/0\n")
    assert IngestSettings(redis_url_file=tmp_path / "url").bus() == "redis://:secret@bus/0"


def test_a_port_that_an_exchange_has_closed_is_named(monkeypatch):
    monkeypatch.setenv("INGEST_EXCHANGE", "okx")
    monkeypatch.setenv("INGEST_STREAM_URL", "wss://ws.okx.com:8443")
    with pytest.raises(WrongSettings, match="closed port 8443"):
        read_settings()
