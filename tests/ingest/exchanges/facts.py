"""What is peculiar to each exchange, as far as tests that hold for all of them must know it.

A new exchange brings one row here, besides its line in `EXCHANGES` and the one in `DIALECTS`. Each departure from what
holds for the others is a fact of the exchange, with its reason.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

Told = Mapping[str, list[str]]
"""By channel, what readers of a symbol are told besides data: states, gaps, and new beginnings."""

AGAIN = ["suspect", "gap", "live"]
"""A book that was found wrong."""
CUT = ["stale", "syncing", "gap", "live"]
"""A book whose connection was lost."""
LOST: Told = {"orderbook": CUT, "ticker": ["stale"]}
"""What a lost connection costs: trades and candles are fetched."""


class Outcome(NamedTuple):
    """What comes of a fault."""

    told: Told
    ends: int = 0
    """How often a connection ends by it."""
    notices: tuple[str, ...] = ()
    """What is told of subscriptions, and of the exchange itself."""


class Otherwise(NamedTuple):
    """That something else comes of a fault than elsewhere."""

    outcome: Outcome
    why: str


class Facts(Struct, frozen=True, kw_only=True):
    """Of one exchange."""

    symbols: tuple[str, str]
    """What is played with."""
    closes_within_s: float = 0
    """So long after its end a candle may close, where the exchange does not say that it is closed."""
    closes_as_heard: bool = False
    """Whether one closes as it was heard last, once a later one is: what was kept back in between is missing in it."""
    coarse_tickers: bool = False
    """Whether tickers have a time and no name: we tell those of one microsecond apart by the last three digits."""
    numbers_trades: bool = True
    """Whether the ids of trades follow one another, so that they tell what is missing."""
    proves_books: bool = True
    """Whether a book that lacks a change is found out by the next: by an id or a checksum."""
    needs_rest: bool = False
    """Whether REST is asked for candles also while all goes well, so that every symbol notices when it fails."""
    cannot: Mapping[str, str] = {}
    """Kinds of faults, and channels, that there are none of, and why."""
    otherwise: Mapping[str, Otherwise] = {}
    """By fault, as the table of the tests names it."""

    def lack(self, what: str) -> str | None:
        """Why there is no such fault here: `gap:candles` is one of `candles`, too. None if there is."""
        return next((why for kind, why in self.cannot.items() if kind in (what, *what.split(":"))), None)


_NO_OTHER_SIGN = "that trades are lost is all that tells that changes of its books may be, too"
_FOUND_LATER = "nothing tells of a change that is lost alone but the best prices, every two minutes"

FACTS: Mapping[str, Facts] = {
    "binance": Facts(
        symbols=("BTC/USDT", "ETH/USDT"),
        cannot={"checksum": "its books have ids and no checksums"},
    ),
    "bybit": Facts(
        symbols=("BTC/USDT", "ETH/USDT"),
        closes_within_s=10,
        numbers_trades=False,
        cannot={
            "checksum": "its books have ids and no checksums",
            "stale-snapshot": "snapshots come by the socket, with the changes that follow them",
            "notice": "it never says that a server goes down",
        },
        otherwise={
            "silent:ticker": Otherwise(
                Outcome({"ticker": ["stale"]}, notices=("silent",)),
                "best prices come again if they do not change, so that silence is told, and it is subscribed to again",
            ),
            "refuse": Otherwise(
                Outcome({"orderbook": CUT + CUT, "ticker": ["stale", "stale"], "trades": ["gap"]}, 2, ("refused",)),
                "REST has the newest sixty trades and no others",
            ),
            **{
                fault: Otherwise(Outcome(told), "by then the newest sixty trades, all that REST has, are others")
                for fault, told in (
                    ("silent:trades", {"trades": ["gap"]}),
                    ("rest-429", {"trades": ["gap"], "orderbook": AGAIN}),
                    ("rest-418", {"trades": ["gap"], "orderbook": AGAIN}),
                    ("rest-slow", {"trades": ["gap"], "orderbook": AGAIN}),
                )
            },
            "series": Otherwise(
                Outcome({"ticker": ["stale"], "orderbook": ["suspect", "anew", "live"]}),
                "the ids of its trades have no order, so that none is too low",
            ),
            "series and drop": Otherwise(
                Outcome(
                    {
                        "ticker": ["stale", "stale"],
                        "orderbook": ["suspect", "stale", "syncing", "anew", "live"],
                    },
                    1,
                ),
                "likewise; and it says itself that its books begin anew, before it is cut",
            ),
        },
    ),
    "coinbase": Facts(
        symbols=("BTC/USD", "ETH/USD"),
        closes_within_s=5,
        proves_books=False,
        cannot={
            "checksum": "its books have neither ids nor checksums",
            "stale-snapshot": "snapshots come by the socket, with the changes that follow them",
            "candles": "they are made of its trades, and of what strikes those",
        },
        otherwise={
            "gap:trades": Otherwise(Outcome({"orderbook": AGAIN}), _NO_OTHER_SIGN),
            "garble:trades": Otherwise(Outcome({"orderbook": AGAIN}), _NO_OTHER_SIGN),
            "gap:orderbook": Otherwise(Outcome({}), _FOUND_LATER),
            "reorder:orderbook": Otherwise(Outcome({}), _FOUND_LATER),
            "silent:trades": Otherwise(
                Outcome({"orderbook": AGAIN * 4}, notices=("silent",) * 4),
                "its heartbeat tells that there were trades; they and the candles come of the same. " + _NO_OTHER_SIGN,
            ),
            "silent:ticker": Otherwise(
                Outcome({"ticker": ["stale"]}, notices=("silent",) * 2),
                "its heartbeat tells that there were trades, and so tickers; it is subscribed to again",
            ),
            "refuse": Otherwise(
                Outcome({"orderbook": CUT + CUT, "ticker": ["stale", "stale"]}, 2, ("refused", "refused")),
                "trades and candles come of the same subscription",
            ),
            "series": Otherwise(
                Outcome({"trades": ["anew"], "ticker": ["stale"]}), "a book without ids is the same book in any series"
            ),
            "series and drop": Otherwise(
                Outcome({"trades": ["anew"], **LOST, "candles": ["gap"]}, ends=1),
                "and of trades of two series nobody can tell whether some are missing between, so no candle is made",
            ),
        },
    ),
    "kraken": Facts(
        symbols=("BTC/USD", "ETH/USD"),
        closes_within_s=10,
        closes_as_heard=True,
        coarse_tickers=True,
        cannot={"stale-snapshot": "snapshots come by the socket, with the changes that follow them"},
        otherwise={
            "notice": Otherwise(
                Outcome({}, notices=("MAINTENANCE",)),
                "it says the state of the whole exchange: another connection would hear the same",
            ),
            "refuse": Otherwise(
                Outcome({"orderbook": CUT + CUT, "ticker": ["stale", "stale"]}, 2),
                "it says for how long it refuses: for now, so that it is asked again on the same connection",
            ),
            "rest-500": Otherwise(
                Outcome({"orderbook": AGAIN, "trades": ["gap"]}),
                "a candle closes as it was heard last, so that no closing one can be missed",
            ),
            "series": Otherwise(Outcome({"trades": ["anew"]}), "only its trades have ids"),
            "series and drop": Otherwise(
                Outcome({"trades": ["anew"], **LOST}, ends=1), "a book without ids is the same book in any series"
            ),
        },
    ),
    "okx": Facts(
        symbols=("BTC/USDT", "ETH/USDT"),
        closes_within_s=12,
        needs_rest=True,
        cannot={"checksum": "its checksums are always 0"},
        otherwise={
            "rest-500": Otherwise(
                Outcome({"orderbook": AGAIN, "trades": ["gap"], "candles": ["gap", "gap"]}),
                "nothing is told of an interval without trades: without REST it is as good as missed",
            ),
            "series": Otherwise(
                Outcome({"trades": ["anew"], "orderbook": ["suspect", "anew", "live"]}),
                "its tickers are known by their time",
            ),
            "series and drop": Otherwise(
                Outcome(
                    {"trades": ["anew"], "ticker": ["stale"], "orderbook": ["stale", "syncing", "anew", "live"]}, 1
                ),
                "its tickers are known by their time",
            ),
        },
    ),
}
