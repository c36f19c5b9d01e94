"""Numbers are text on the bus: the exchange's own digits, and nothing that is not a plain decimal."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from msgspec import Meta

_DIGITS = r"[0-9]{1,30}(?:\.[0-9]{1,30})?"

# \Z and not $: `$` would let a trailing newline through.
Number = Annotated[str, Meta(pattern=rf"\A{_DIGITS}\Z")]
"""A price or an amount: digits, at most one point, trailing zeros as the exchange wrote them."""

Signed = Annotated[str, Meta(pattern=rf"\A-?{_DIGITS}\Z")]
"""The same with a sign, where one makes sense: fees, profit and loss."""

# Possessive throughout: a bad number fails at once instead of trying every split.
_ALL = re.compile(r"(?:[0-9]{1,30}+(?:\.[0-9]{1,30}+)?+ )*+")
_EXPONENT = re.compile(r"[0-9]{1,30}(?:\.[0-9]{1,30})?[eE][+-]?[0-9]{1,2}", re.ASCII)
_EARLIEST_NS = 1_262_304_000_000_000_000  # 2010-01-01
_DAY_NS = 86_400_000_000_000


class BadNumber(ValueError):
    """A text that is not a number of the bus."""


def check(texts: Iterable[str]) -> None:
    """Raise BadNumber unless all of them are numbers. One match for many texts: a tenth of the cost of one each."""
    every = [*texts, ""]
    joined = " ".join(every)
    # The count finds a text with a blank in it, which would pass as two numbers.
    if _ALL.fullmatch(joined) is None or joined.count(" ") != len(every) - 1:
        raise BadNumber(f"not plain decimals: {joined[:200]!r}")


def plain(number: object) -> str:
    """The text of a JSON number, exponent expanded, digits and trailing zeros kept. Raises BadNumber."""
    text = str(number) if type(number) is int else number
    if type(text) is not str:
        raise BadNumber(f"not a number: {text!r:.200}")
    if _EXPONENT.fullmatch(text):
        text = format(Decimal(text), "f")
    return text


def exchange_time(exchange_ns: int, received_ns: int) -> int | None:
    """`exchange_ns`, or None where it cannot be true: before 2010, or more than a day ahead of us."""
    return exchange_ns if _EARLIEST_NS <= exchange_ns <= received_ns + _DAY_NS else None
