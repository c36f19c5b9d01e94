"""A symbol's trades without a hole, for whoever counts them up: what is missing is fetched, or said to be unknown."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import structs

from ingest.contract.events import Trade
from ingest.exchanges.exchange import NEVER
from ingest.exchanges.topic import HOLD_NS, OlderTradesWanted

FETCHED_TRADES = 10_000
"""The longest hole that is filled by REST, and how far back a beginning is looked for."""
_ATTEMPTS = 4
_RETRY_NS = 2_000_000_000
_NEAR = 1_000


class Counted(NamedTuple):
    """A trade in its turn."""

    id: int
    ns: int
    """Its time, which never goes back from one trade to the next."""
    trade: Trade
    joined: bool
    """Whether the one before it is known, too, or it is the first of all."""


class WholeTrades:
    """Trades by consecutive ids, whatever stands on the bus. Who counts them begins somewhere in the past.

    The first that is heard waits, with all behind it, until a trade is known that is older than the time from which on
    they are wanted. Later on each hole is filled the same way, from its upper end downwards. What cannot be had is
    passed over: the next trade is not `joined`.
    """

    def __init__(self) -> None:
        self.last: int | None = None
        """The newest in turn; None while the beginning is looked for."""
        self._from_ns = 0
        self._had_some = False
        self._ns = 0
        self._newest: tuple[int, Trade] | None = None
        self._waiting: dict[int, Trade] = {}
        self._told = 0
        """What the exchange says that there is, beyond what has come."""
        self._doubted = 0
        self._joined = False
        self._ask_at = NEVER
        self._asked = False
        self._attempts = 0
        self._fetched = 0

    def due(self) -> int:
        """When something is next wanted."""
        return NEVER if self._asked else self._ask_at

    def wants(self, now_ns: int) -> list[OlderTradesWanted]:
        """The trades right below those that wait."""
        if self.due() > now_ns:
            return []
        upper, self._ask_at = self._upper(), NEVER
        self._asked = upper is not None
        return [] if upper is None else [OlderTradesWanted(upper)]

    def unanswered(self, now_ns: int) -> None:
        """Nobody waits for an answer any more."""
        if self._asked:
            self._asked, self._ask_at = False, now_ns

    def begin(self, from_ns: int, now_ns: int, *, known: bool) -> None:
        """They are wanted from then on, perhaps once more. `known` if there certainly were some before."""
        self.last = None
        self._from_ns = from_ns
        self._had_some = known or self._newest is not None
        self._ns = self._told = 0
        if self._newest:
            self._waiting.setdefault(*self._newest)
            self._ask_at = now_ns

    def trade(self, trade_id: int, trade: Trade, now_ns: int) -> list[Counted]:
        """A live one; what is now in turn."""
        if self.last is not None and trade_id <= self.last:
            if _time(trade) <= self._ns:
                return []
            self.last = None  # newer under an older id: the exchange has begun to count anew
            self._from_ns, self._had_some = self._ns, True
            self._waiting.clear()
            self._told = 0
        self._waiting.setdefault(trade_id, trade)
        if self._newest is None or _time(trade) >= _time(self._newest[1]):
            self._newest = trade_id, trade
        if len(self._waiting) > 2 * FETCHED_TRADES:
            return self._pass_over(now_ns)
        return self._turn(now_ns)

    def stands_at(self, trade_id: int, now_ns: int) -> bool:
        """The exchange says that this is its newest trade: whether all up to it have had their turn."""
        if self.last is None:
            return False
        if trade_id <= self.last:
            self._doubted = 0
            return trade_id > self.last - _NEAR
        if 0 < self._doubted <= trade_id and self._doubted > self.last and not self._waiting:
            self._told = self._doubted  # it had all the time to come
            self._ask_at = min(self._ask_at, now_ns)
        self._doubted = trade_id
        return False

    def page(self, rows: Sequence[tuple[int, Trade]], now_ns: int) -> list[Counted]:
        """Trades below those that wait, oldest first."""
        self._asked = False
        upper = self._upper()
        if upper is None:
            return []
        before = upper
        for trade_id, trade in reversed(rows):
            if trade_id == upper - 1 and trade_id > (self.last or 0):
                self._waiting[trade_id] = structs.replace(trade, backfilled=True)
                upper = trade_id
        if upper == before:
            nothing_older = self.last is None and not rows and not self._had_some
            return self._pass_over(now_ns, joined=True) if nothing_older else self.failed(now_ns)
        self._attempts = 0
        self._fetched += before - upper
        if self._fetched >= FETCHED_TRADES and upper - 1 != self.last:
            return self._pass_over(now_ns)
        return self._turn(now_ns, again_ns=0)

    def failed(self, now_ns: int) -> list[Counted]:
        """No usable answer came: try again later, and in the end go on without."""
        self._asked = False
        self._attempts += 1
        if self._attempts >= _ATTEMPTS:
            return self._pass_over(now_ns)
        self._ask_at = now_ns + _RETRY_NS
        return []

    def _upper(self) -> int | None:
        """Below this something is missing."""
        if self._waiting:
            return min(self._waiting)
        return self._told + 1 if self.last is not None and self._told > self.last else None

    def _pass_over(self, now_ns: int, *, joined: bool = False) -> list[Counted]:
        """Go on with what waits, whatever was before it; or if `joined`, because nothing was."""
        self._told = self._attempts = self._fetched = 0
        self._ask_at = NEVER
        if not self._waiting:
            return []
        self._joined = joined
        self.last = min(self._waiting) - 1
        return self._turn(now_ns)

    def _turn(self, now_ns: int, again_ns: int = HOLD_NS) -> list[Counted]:
        """What waited and now follows. For the rest is asked in a while: it may be on its way."""
        first = self._upper()
        if self.last is None and first and _time(self._waiting[first]) < self._from_ns:
            self.last, self._joined = first - 1, False
        counted: list[Counted] = []
        while self.last is not None and (trade := self._waiting.pop(self.last + 1, None)):
            self.last += 1
            self._ns = max(self._ns, _time(trade))
            counted.append(Counted(self.last, self._ns, trade, self._joined))
            self._joined = True
        if self._upper() is None:
            self._ask_at, self._attempts, self._fetched = NEVER, 0, 0
        elif self._ask_at == NEVER and not self._asked:
            self._ask_at = now_ns + (0 if self.last is None else again_ns)
        return counted


def _time(trade: Trade) -> int:
    """The exchange's; ours where it says none that can be true."""
    return trade.received_ns if trade.exchange_ns is None else trade.exchange_ns
