import pytest

from consumers.settings import ConsumerSettings, WrongSettings, read_settings, redacted


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in ConsumerSettings.model_fields:
        monkeypatch.delenv(f"CONSUMER_{name.upper()}", raising=False)


def test_without_any_variable_there_are_settings_that_work():
    assert read_settings().model_dump(mode="json") == {
        "redis_url": "redis://127.0.0.1:6379/0",
        "redis_url_file": None,
        "group": "",
        "consumer": "",
        "exchanges": [],
        "symbols": [],
        "account": "paper",
        "fees": [],
        "latency_ms": 0,
        "max_amount": [],
        "max_position": [],
        "max_value": "10000",
        "max_exposure": "100000",
        "max_orders_per_s": 10,
        "price_band": "0.05",
        "price_age_ms": 10_000,
        "block_ms": 500,
        "count": 200,
        "claim_idle_ms": 30_000,
        "in_hand": 500,
        "lease_ms": 5_000,
        "time_limit_s": 30.0,
        "log_level": "info",
    }


def test_lists_are_separated_by_commas_and_symbols_are_written_either_way(monkeypatch):
    monkeypatch.setenv("CONSUMER_EXCHANGES", "binance, kraken")
    monkeypatch.setenv("CONSUMER_SYMBOLS", "BTC-USDT,BTC/USDT, ETH/USDT,")

    settings = read_settings()

    assert (settings.exchanges, settings.symbols) == (("binance", "kraken"), ("BTC/USDT", "ETH/USDT"))


def test_the_address_may_stand_in_a_file(monkeypatch, tmp_path):
    secret = tmp_path / "redis_url"
    secret.write_text("rediss://reader:s3cret@bus:6380/1\n")
    monkeypatch.setenv("CONSUMER_REDIS_URL_FILE", str(secret))

    assert str(read_settings().redis_url) == "rediss://reader:s3cret@bus:6380/1"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("REDIS_URL", "http://:s3cret@bus", "CONSUMER_REDIS_URL: URL scheme should be 'redis', 'rediss' or 'unix'"),
        (
            "BLOCK_MS",
            "soon",
            "CONSUMER_BLOCK_MS: Input should be a valid integer, unable to parse string as an integer",
        ),
        ("COUNT", "0", "CONSUMER_COUNT: Input should be greater than or equal to 1"),
        (
            "SYMBOLS",
            "BTC*",
            "CONSUMER_SYMBOLS: 'BTC*' is not a symbol; expected BASE/QUOTE of letters, digits, '.' and '_', as in BTC/USDT",  # noqa: E501
        ),
        ("GROUP", "a b", r"CONSUMER_GROUP: String should match pattern '^[\w.-]{0,128}$'"),
        (
            "REDIS_URL_FILE",
            "/nowhere/url",
            "CONSUMER_REDIS_URL_FILE: [Errno 2] No such file or directory: '/nowhere/url'",
        ),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch, name, value, line):
    monkeypatch.setenv(f"CONSUMER_{name}", value)

    with pytest.raises(WrongSettings) as wrong:
        read_settings()

    assert str(wrong.value) == line


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://user:s3cret@bus/0", "redis://user:***@bus/0"),
        ("redis://:s3cret@bus/0", "redis://:***@bus/0"),
    ],
)
def test_a_password_is_not_shown(url, shown):
    assert redacted(url) == shown
