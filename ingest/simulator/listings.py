"""What the simulated market trades: whole ticks and lots inside, decimals of eight places at the edge."""

from zlib import crc32

from msgspec import Struct

UNIT = 100_000_000
"""Sizes are in 1e-8 of their currency."""


class Listing(Struct, frozen=True):
    """One symbol. A tick times a lot is a whole number of units, so that no sum of values is ever rounded."""

    symbol: str
    """`BASE/QUOTE`"""
    tick: int
    lot: int
    opening: int
    """The price of the first trade, in ticks."""
    usual_lots: int
    """The largest amount that one of the crowd's orders commonly has."""

    @property
    def base(self) -> str:
        """What is traded."""
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        """What it is paid with."""
        return self.symbol.partition("/")[2]

    def price(self, ticks: int) -> str:
        """`61250.10000000`"""
        return decimal(ticks * self.tick)

    def amount(self, lots: int) -> str:
        """`0.00420000`"""
        return decimal(lots * self.lot)

    @property
    def price_places(self) -> int:
        """How many a tick has behind the point."""
        return len(str(UNIT // self.tick)) - 1

    def exact_price(self, ticks: int) -> str:
        """`61250.10`: with the places of a tick."""
        text = self.price(ticks)
        return text[: len(text) - 8 + self.price_places] if self.price_places else text[:-9]

    def value(self, ticks_lots: int) -> str:
        """A price times an amount, or a sum of such."""
        return decimal(ticks_lots * (self.tick * self.lot // UNIT))


def listing(symbol: str) -> Listing:
    """The listing of `BASE/QUOTE`: real proportions for the well known, something plausible for any other."""
    known = _KNOWN.get(symbol)
    if known is not None:
        return Listing(symbol, *known)
    return Listing(symbol, UNIT // 100, UNIT // 1000, 10_000 + crc32(symbol.encode()) % 100_000, 50_000)


def decimal(units: int) -> str:
    """Units as a decimal text of eight places."""
    if units < 0:
        return "-" + decimal(-units)
    digits = f"{units:09d}"
    return f"{digits[:-8]}.{digits[-8:]}"


_KNOWN = {  # tick, lot, opening price in ticks, usual lots
    "BTC/USDT": (UNIT // 100, UNIT // 100_000, 6_125_010, 100_000),
    "ETH/USDT": (UNIT // 100, UNIT // 10_000, 304_417, 100_000),
    "BNB/USDT": (UNIT // 100, UNIT // 1000, 58_140, 30_000),
    "SOL/USDT": (UNIT // 100, UNIT // 1000, 14_233, 200_000),
    "XRP/USDT": (UNIT // 10_000, UNIT // 10, 5_327, 200_000),
    "ADA/USDT": (UNIT // 10_000, UNIT // 10, 3_861, 300_000),
    "DOGE/USDT": (UNIT // 100_000, UNIT, 11_236, 300_000),
    "BTC/USD": (UNIT // 10, UNIT // 100_000, 612_501, 100_000),
    "ETH/USD": (UNIT // 100, UNIT // 10_000, 304_417, 100_000),
    "ETH/BTC": (UNIT // 100_000, UNIT // 1000, 4_970, 20_000),
}
