"""What every command is given: settings, Redis, an exchange; and the codes that it may end with."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ingest.contract.keys import parse_symbol
from ingest.exchanges import EXCHANGES
from ingest.exchanges.exchange import Exchange
from ingest.limits import budgets
from ingest.process import end
from ingest.rest import Rest
from ingest.settings import IngestSettings, WrongSettings, read_settings

FAILED = 1
WRONG_SETTINGS = 2
ATTEMPTS_USED_UP = 3


def settings() -> IngestSettings:
    """Those of INGEST_* variables; wrong ones end the command."""
    try:
        given = read_settings()
        given.bus()
    except WrongSettings as wrong:
        end(str(wrong), WRONG_SETTINGS)
    except OSError as unreadable:
        end(f"INGEST_REDIS_URL_FILE: {unreadable}", WRONG_SETTINGS)
    try:
        given.listed()
    except (OSError, ValueError) as wrong:
        end(f"INGEST_SYMBOLS_FILE: {wrong}", WRONG_SETTINGS)
    return given


def exchange_of(name: str) -> Exchange:
    """The exchange of that name; none ends the command."""
    if name not in EXCHANGES:
        end(f"there is no exchange {name!r}; there are: {', '.join(EXCHANGES)}", WRONG_SETTINGS)
    return EXCHANGES[name]()


def redis_at(url: str) -> Redis:
    """A client that never retries on its own: a silent second try could double what the first one did."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5, socket_connect_timeout=5)


def rest_of(given: IngestSettings, exchange: Exchange, redis: Redis) -> Rest:
    """REST within the limits that all processes share."""
    limits = budgets(redis, exchange.name, exchange.limits, given.address)
    return Rest(address(given.rest_url, exchange.rest_url), limits.weight)


def address(override: object, own: str) -> str:
    """The exchange's own, unless another is set."""
    return str(override).rstrip("/") if override else own


def symbols_in(text: str) -> Sequence[str]:
    """Those of a list with commas. Raises BadName."""
    return [parse_symbol(symbol.strip()) for symbol in text.split(",") if symbol.strip()]
