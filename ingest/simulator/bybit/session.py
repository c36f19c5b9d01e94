"""One connection's requests: subscribe, unsubscribe, ping; one answer to each, and one bad topic refuses them all."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ingest.simulator import hearers
from ingest.simulator.bybit.depth import EVERY_NS
from ingest.simulator.bybit.frames import INTERVALS, Listed, encode
from ingest.simulator.venue import CUT, Close, Frame

ARGS: Final = 10
"""Of one request."""
ARGS_LENGTH: Final = 21_000
"""Characters of all topics of a connection."""
IDLE_NS: Final = 60_000_000_000
"""Without a ping for so long a connection is cut; the exchange asks for one every 20 seconds."""


class Topic(NamedTuple):
    """What can be subscribed to: `tickers.BTCUSDT`, `orderbook.50.BTCUSDT`."""

    kind: str
    detail: str
    symbol: str

    def __str__(self) -> str:
        return ".".join(part for part in self if part)


class _Refused(Exception):
    """The whole request, in the exchange's words."""


class Hearers(hearers.Hearers[Topic, "Session"]):
    """All symbols, and who hears what of them."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        super().__init__(self.stream)
        self.listed: Mapping[str, Listed] = {each.native: each for each in listed}

    def stream(self, topic: Topic) -> str:
        """Ours, that it belongs to."""
        listed = self.listed[topic.symbol]
        match topic.kind:
            case "publicTrade":
                return listed.trades
            case "kline":
                return listed.candles[topic.detail]
            case "orderbook" if topic.detail != "1":
                return listed.book
        return listed.ticker

    def find(self, name: str) -> Topic:
        """The topic of this name. Raises _Refused."""
        kind, *rest = name.split(".")
        detail, symbol = ("", *rest) if len(rest) == 1 else rest if len(rest) == 2 else ("", "")
        topic = Topic(kind, detail, symbol)
        details = {"publicTrade": ("",), "tickers": ("",), "orderbook": map(str, EVERY_NS), "kline": INTERVALS}
        if detail not in details.get(kind, ()) or symbol != symbol.upper():
            raise _Refused(f"error:handler not found,topic:{name}")
        if symbol not in self.listed or self.stream(topic) in self.refused:
            raise _Refused(f"Invalid symbol :[{name}]")
        return topic


class Session:
    """One connection."""

    def __init__(self, known: Hearers, number: int, now_ns: int) -> None:
        self.outgoing: deque[Frame] = deque()
        self.ending: Close | None = None
        self.mute = False
        self.topics: dict[Topic, None] = {}
        self._hearers = known
        self._conn_id = f"0b7e41d2-5c19-4a6f-9e30-{number:012x}"
        self._pinged_ns = now_ns

    def leave(self) -> None:
        """It hears nothing any more."""
        self._leave(tuple(self.topics))

    def beat(self, now_ns: int) -> Close | None:
        """Pings of the protocol are answered, and count for nothing."""
        return None

    def second(self, now_ns: int) -> None:
        """A second has passed."""
        if now_ns - self._pinged_ns >= IDLE_NS:
            self.ending = Close(CUT, "no ping")

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """A request; its answer goes out at once."""
        self.outgoing.append(Frame(encode(self._answer(message, now_ns))))
        return None

    def _answer(self, message: str | bytes, now_ns: int) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = None
        if not isinstance(request, dict):
            return self._said(f"Failed to decode incoming data:{message!r:.80}", "")
        op = request.get("op")
        known = {"req_id": request["req_id"]} if isinstance(request.get("req_id"), str) else {}
        if op == "ping":
            self._pinged_ns = now_ns
            return {"success": True, "ret_msg": "pong", "conn_id": self._conn_id, **known, "op": "ping"}
        if op not in ("subscribe", "unsubscribe"):
            return {**self._said("error:invalid op", str(op)), **known}
        try:
            self._change(op, request.get("args"))
        except _Refused as refused:
            return {**self._said(str(refused), op), **known}
        return {"success": True, "ret_msg": op, "conn_id": self._conn_id, **known, "op": op}

    def _change(self, op: str, names: object) -> None:
        """All of them, or none. Raises _Refused."""
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _Refused("error:request")
        if len(names) > ARGS:
            raise _Refused(f"args size >{ARGS}")
        if op == "unsubscribe":
            self._leave([topic for topic in self.topics if str(topic) in names])
            return
        topics = [self._hearers.find(name) for name in names]
        for i, topic in enumerate(topics):
            if topic in self.topics or topic in topics[:i]:
                raise _Refused(f"error:already subscribed,topic:{topic}")
        if sum(len(str(topic)) for topic in (*self.topics, *topics)) > ARGS_LENGTH:
            raise _Refused(f"args length >{ARGS_LENGTH}")
        for topic in topics:
            self.topics[topic] = None
            self._hearers.join(self, topic)

    def _leave(self, topics: Sequence[Topic]) -> None:
        self._hearers.leave(self, topics)
        for topic in topics:
            del self.topics[topic]

    def _said(self, words: str, op: str) -> dict[str, Any]:
        return {"success": False, "ret_msg": words, "conn_id": self._conn_id, "op": op}
