"""Everything a worker can be told: INGEST_* variables, frozen, checked before anything connects."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyUrl, BeforeValidator, Field, UrlConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ingest.contract.keys import parse_symbol
from ingest.exchanges import EXCHANGES
from ingest.exchanges.symbols import listed
from ingest.shards import ShardMode
from ingest.tail import Durability

WebSocketUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["ws", "wss"], host_required=True)]
HttpUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["http", "https"], host_required=True)]
RedisUrl = Annotated[AnyUrl, UrlConstraints(allowed_schemes=["redis", "rediss", "unix"])]


def _split(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


_RETIRED_PORTS: dict[tuple[str, int | None], str] = {
    ("okx", 8443): "OKX closed port 8443 on 2026-10-31: leave the port out of INGEST_STREAM_URL"
}
"""What older examples still show."""

Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class WrongSettings(Exception):
    """Settings that cannot work; one line for each error."""


class IngestSettings(BaseSettings):
    """One worker: one exchange."""

    model_config = SettingsConfigDict(env_prefix="INGEST_", env_ignore_empty=True, frozen=True, extra="ignore")

    exchange: str = Field("binance", description="The exchange to listen to")
    symbols: Listed = Field(
        ("BTC/USDT", "ETH/USDT"), min_length=1, description="What to listen to, separated by commas"
    )
    symbols_file: Path | None = Field(
        None,
        description="A file with them instead, one a line or separated by commas; the signal SIGHUP has it read anew",
    )
    channels: Listed = Field(
        ("trades", "ticker", "orderbook", "candles-1m"),
        min_length=1,
        description="trades, ticker, orderbook, candles-1m and the exchange's other intervals",
    )
    shard_mode: ShardMode = Field(
        "mirror",
        description="How several workers of the exchange go together: `mirror`, each hears all; `lease`, they share",
    )
    redis_url: RedisUrl = Field(RedisUrl("redis://127.0.0.1:6379/0"), description="The bus; rediss:// for TLS")
    redis_url_file: Path | None = Field(
        None, description="A file with the bus's address, for secrets; wins over the variable"
    )
    stream_url: WebSocketUrl | None = Field(None, description="Another WebSocket address than the exchange's own")
    rest_url: HttpUrl | None = Field(None, description="Another REST address than the exchange's own")
    address: str = Field(
        "",
        pattern=r"^[\w.-]*$",
        description="A name for this machine's public address, where workers of several share a Redis: the exchange's "
        "limits are for each address",
    )
    timeout_s: float = Field(30, gt=0, description="For a connection to open, and for anything at all to come over it")
    ping_every_s: float = Field(30, gt=0, description="Between pings of ours")
    pong_within_s: float = Field(10, gt=0, description="For a pong, before the connection counts as dead")
    retry_first_s: float = Field(1, gt=0, description="The wait before the second attempt to connect")
    retry_most_s: float = Field(30, gt=0, description="The longest wait between attempts")
    retry_factor: float = Field(2, ge=1, description="How much longer each wait is than the one before")
    retry_jitter: float = Field(0.1, ge=0, le=1, description="The share by which a wait is longer or shorter by chance")
    attempts: int = Field(0, ge=0, description="Failures in a row before the worker ends with exit code 3; 0 for never")
    durability: Durability = Field(
        "confirmed",
        description="When what Redis confirms counts as safe and is let go here: `none` and `always` at once, "
        "`everysec` after ten seconds, `confirmed` when Redis says that it is on disk (WAITAOF), and where it cannot "
        "say so or is not to be believed, as `everysec`",
    )
    keep_seconds: float = Field(
        900,
        gt=0,
        description="Entries are trimmed once they are older and every group has acknowledged them",
    )
    spill_folder: Path | None = Field(
        None, description="Where events lie that Redis cannot take for now, beyond the buffer; unset, the sockets wait"
    )
    spill_bytes: int = Field(1 << 30, ge=1 << 20, description="How much of that disk a worker may take")
    buffer_events: int = Field(10_000, ge=1, description="Events that wait for Redis before the socket has to wait")
    max_frame_bytes: int = Field(32 << 20, ge=1024, description="A larger frame closes the connection with 1009")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Prometheus metrics on this port of 127.0.0.1, and `/readyz`; 0 for none"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is logged")

    @field_validator("exchange")
    @classmethod
    def _known(cls, exchange: str) -> str:
        if exchange not in EXCHANGES:
            raise ValueError(f"there is no exchange {exchange!r}; there are: {', '.join(EXCHANGES)}")
        return exchange

    @field_validator("symbols")
    @classmethod
    def _symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(parse_symbol, symbols)))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        offered = EXCHANGES[self.exchange].channels
        if unknown := [channel for channel in self.channels if channel not in offered]:
            raise ValueError(f"{self.exchange} has no channels {unknown}; it has {', '.join(sorted(offered))}")
        if self.stream_url and (why := _RETIRED_PORTS.get((self.exchange, self.stream_url.port))):
            raise ValueError(why)
        if self.retry_most_s < self.retry_first_s:
            raise ValueError("retry_most_s must not be less than retry_first_s")
        return self

    def listed(self) -> tuple[str, ...]:
        """The symbols, from the file if there is one. Raises OSError, ValueError."""
        return listed(self.symbols_file.read_text(encoding="utf-8")) if self.symbols_file else self.symbols

    def bus(self) -> str:
        """The address of Redis, from the file if there is one. Raises OSError."""
        return self.redis_url_file.read_text().strip() if self.redis_url_file else str(self.redis_url)


def read_settings() -> IngestSettings:
    """From the environment. Raises WrongSettings."""
    try:
        return IngestSettings()
    except ValidationError as wrong:
        raise WrongSettings("\n".join(_line(error["loc"], error["msg"]) for error in wrong.errors())) from None


def _line(place: tuple[int | str, ...], message: str) -> str:
    """The value itself is left out: it may be an address with a password."""
    variable = f"INGEST_{place[0]}".upper() if place else "INGEST_*"
    return f"{variable}: {message.removeprefix('Value error, ')}"
