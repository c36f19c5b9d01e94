"""Everything a consumer can be told: CONSUMER_* variables, frozen, checked before anything connects."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AnyUrl,
    BeforeValidator,
    Field,
    UrlConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from consumers.services.fees import fees as parsed_fees
from consumers.services.limits import by_symbol
from ingest.contract.keys import check_name, parse_symbol

RedisUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["redis", "rediss", "unix"])]
Name = Annotated[str, Field(pattern=r"^[\w.-]{0,128}$")]


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class WrongSettings(Exception):
    """Settings that cannot work; one line for each error."""


class ConsumerSettings(BaseSettings):
    """One consumer: a service, or a person who looks on."""

    model_config = SettingsConfigDict(env_prefix="CONSUMER_", env_ignore_empty=True, frozen=True, extra="ignore")

    redis_url: RedisUrl = Field(RedisUrl("redis://127.0.0.1:6379/0"), description="The bus; rediss:// for TLS")
    redis_url_file: Path | None = Field(
        None, description="A file with the bus's address, for secrets; wins over the variable"
    )
    group: Name = Field("", description="The consumer group; the service's own name unless set")
    consumer: Name = Field("", description="The process's name, unlike any other in its group; the host's unless set")
    exchanges: Listed = Field((), description="Whose streams to read, separated by commas; all unless set")
    symbols: Listed = Field((), description="Which symbols to read, separated by commas; all unless set")
    account: Name = Field("paper", min_length=1, description="The account that the bot's intents are for")
    fees: Listed = Field(
        (),
        description="On paper: EXCHANGE:MAKER:TAKER, separated by commas, as shares of the cost; else the first tier",
    )
    latency_ms: int = Field(
        0, ge=0, le=5_000, description="How long after its decision an intent reaches the paper exchange"
    )
    max_amount: Listed = Field((), description="Of an order: SYMBOL:AMOUNT, separated by commas, as in BTC/USDT:0.5")
    max_position: Listed = Field(
        (), description="To either side, with all that is open filled: SYMBOL:AMOUNT, separated by commas"
    )
    max_value: Decimal = Field(Decimal(10_000), gt=0, description="Of an order, in its quote currency")
    max_exposure: Decimal = Field(
        Decimal(100_000), gt=0, description="What the position could be worth with all that is open filled"
    )
    max_orders_per_s: int = Field(10, ge=1, le=1_000, description="Of an account in a symbol")
    price_band: Decimal = Field(
        Decimal("0.05"), gt=0, le=1, description="How far a limit may be from the price of the moment, as a share of it"
    )
    price_age_ms: int = Field(
        10_000, ge=1, le=600_000, description="A ticker that is older, or further ahead of our clock, is no price"
    )
    block_ms: int = Field(500, ge=1, le=4000, description="How long one read waits for something new")
    count: int = Field(200, ge=1, le=2000, description="Entries of each stream in one read, at most")
    claim_idle_ms: int = Field(
        30_000,
        ge=100,
        description="How long after a reader's death others take over what it had, where readers compete",
    )
    in_hand: int = Field(
        500, ge=1, le=5000, description="Entries read and not yet acknowledged, at which no more is read"
    )
    lease_ms: int = Field(
        5_000, ge=500, description="How long what a process owns stays its own without a word from it"
    )
    time_limit_s: float = Field(30, gt=0, description="For one attempt to handle an entry; then it has failed")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged")

    @model_validator(mode="before")
    @classmethod
    def _secret(cls, values: dict[str, Any]) -> dict[str, Any]:
        name = values.get("redis_url_file")
        if not name:
            return values
        try:
            return {**values, "redis_url": Path(name).read_text(encoding="utf-8").strip()}
        except (OSError, UnicodeDecodeError) as unreadable:
            raise ValueError(f"CONSUMER_REDIS_URL_FILE: {unreadable}") from None

    @field_validator("exchanges")
    @classmethod
    def _exchanges(cls, exchanges: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(check_name, exchanges)))

    @field_validator("fees")
    @classmethod
    def _fees(cls, said: tuple[str, ...]) -> tuple[str, ...]:
        parsed_fees(said)
        return said

    @field_validator("max_amount", "max_position")
    @classmethod
    def _amounts(cls, said: tuple[str, ...]) -> tuple[str, ...]:
        by_symbol(said)
        return said

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(parse_symbol, symbols)))


def read_settings() -> ConsumerSettings:
    """From the environment. Raises WrongSettings."""
    try:
        return ConsumerSettings()
    except ValidationError as wrong:
        raise WrongSettings("\n".join(_line(error["loc"], error["msg"]) for error in wrong.errors())) from None


def _line(place: tuple[int | str, ...], message: str) -> str:
    """The value itself is left out: it may be an address with a password."""
    said = message.removeprefix("Value error, ")
    return f"CONSUMER_{place[0]}: ".upper() + said if place else said


def redacted(url: str) -> str:
    """The address without its password, to be shown."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url
