"""What is traded under faults: the limits that hold, the commands of the services, and what they are told."""

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from consumers.services.limits import Limits
from tests.chaos.trading_bots import UNITS

_QUOTES = ("USDT", "USD")

LIMITS = Limits(
    order_amount={f"{base}/{quote}": unit * Decimal("2.1") for base, unit in UNITS.items() for quote in _QUOTES},
    position={f"{base}/{quote}": unit * 6 for base, unit in UNITS.items() for quote in _QUOTES},
    order_notional=Decimal(1250),
    exposure=Decimal(3600),
    orders_per_s=6,
    price_band=Decimal("0.01"),
    price_age_ms=3_000,
)
"""Each of them is met time and again."""


def _said(amounts: Mapping[str, Decimal]) -> str:
    return ",".join(f"{symbol}:{amount}" for symbol, amount in amounts.items())


_TOLD = {
    "CONSUMER_LEASE_MS": "1000",
    "CONSUMER_BLOCK_MS": "100",
    "CONSUMER_LATENCY_MS": "30",
    "CONSUMER_MAX_AMOUNT": _said(LIMITS.order_amount),
    "CONSUMER_MAX_POSITION": _said(LIMITS.position),
    "CONSUMER_MAX_VALUE": str(LIMITS.order_notional),
    "CONSUMER_MAX_EXPOSURE": str(LIMITS.exposure),
    "CONSUMER_MAX_ORDERS_PER_S": str(LIMITS.orders_per_s),
    "CONSUMER_PRICE_BAND": str(LIMITS.price_band),
    "CONSUMER_PRICE_AGE_MS": str(LIMITS.price_age_ms),
}
_BOTS = {
    account: (
        "bot",
        *("--strategy", f"{account}-restless=tests.chaos.trading_bots:Restless"),
        *("--strategy", f"{account}-leaning=tests.chaos.trading_bots:Leaning"),
    )
    for account in ("alpha", "beta")
}


class Setting(Struct, frozen=True, kw_only=True):
    """What is played."""

    seed: int = 1
    exchanges: tuple[str, ...] = ("binance", "kraken")
    symbols: int = 2
    """Of each exchange."""
    rate: int = 30
    """Market actions a second over all symbols of one exchange."""
    copies: int = 2
    """Processes of each service but bots."""
    instead: Mapping[str, tuple[str, ...]] = {}
    """Other commands than `consume run`: of "bot", "risk", "order" or "position"."""
    told: Mapping[str, str] = {}
    """Other settings of services."""
    server: str | None = None


def commands(setting: Setting) -> list[tuple[str, tuple[str, ...], dict[str, str]]]:
    """Name, command and settings of each service's processes."""
    usual = {**_TOLD, **setting.told}

    def run(kind: str) -> tuple[str, ...]:
        return setting.instead.get(kind, ("consumers", "run"))

    bots = [
        (f"bot-{account}", (*run("bot"), *words), {**usual, "CONSUMER_ACCOUNT": account})
        for account, words in _BOTS.items()
    ]
    others = [
        (f"{kind}-{i}", (*run(kind), kind), usual)
        for kind in ("risk", "order", "position")
        for i in range(setting.copies)
    ]
    return bots + others
