"""One connection's requests: subscribe, unsubscribe, ping; answered symbol by symbol, each error in its words."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ingest.simulator import hearers
from ingest.simulator.allowance import Window
from ingest.simulator.kraken.frames import MINUTES, Listed, encode
from ingest.simulator.texts import at
from ingest.simulator.venue import Close, Frame

MESSAGES_PER_SECOND: Final = 20
"""The exchange publishes no number."""
DEPTHS: Final = (10, 25, 100, 500, 1000)
_SECOND_NS: Final = 1_000_000_000
_IDLE_NS: Final = 60 * _SECOND_NS
_HEARTBEAT: Final = Frame(b'{"channel":"heartbeat"}')
_INTERVALS: Final = {minutes: interval for interval, minutes in MINUTES.items()}


class Topic(NamedTuple):
    """What can be subscribed to; `detail` is a depth, an interval in minutes, or what triggers a ticker."""

    channel: str
    symbol: str = ""
    detail: int | str = ""


class _Refused(Exception):
    """The whole request."""


class Hearers(hearers.Hearers[Topic, "Session"]):
    """All symbols, and who hears what of them."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        super().__init__(self.stream)
        self.listed: Mapping[str, Listed] = {each.symbol: each for each in listed}

    def stream(self, topic: Topic) -> str:
        """Ours, that carries it; empty if none does."""
        if topic.channel == "instrument":
            return ""
        listed = self.listed[topic.symbol]
        if topic.channel == "ohlc":
            return listed.candles[_INTERVALS[int(topic.detail)]]
        return {"trade": listed.trades, "ticker": listed.ticker, "book": listed.book}[topic.channel]


class Session:
    """One connection. It begins with a word on the exchange's state."""

    def __init__(self, known: Hearers, status: bytes, now_ns: int) -> None:
        self.outgoing: deque[Frame] = deque((Frame(status),))
        self.ending: Close | None = None
        self.mute = False
        self.topics: set[Topic] = set()
        self.unwhole: set[Topic] = set()
        """What it wants to hear of from now on, without what is known already."""
        self._hearers = known
        self._heard = Window(MESSAGES_PER_SECOND, _SECOND_NS)
        self._heard_ns = self._said_ns = now_ns

    def leave(self) -> None:
        """It hears nothing any more."""
        self._leave(tuple(self.topics))

    def beat(self, now_ns: int) -> Close | None:
        """Pings and pongs of the protocol are not counted."""
        return None

    def say(self, frame: Frame, now_ns: int) -> None:
        """Tell this."""
        self.outgoing.append(frame)
        self._said_ns = now_ns

    def second(self, now_ns: int) -> None:
        """A second has passed: nobody waits longer for a sign of life, and who wants nothing goes."""
        if self.topics and now_ns - self._said_ns >= _SECOND_NS:
            self.say(_HEARTBEAT, now_ns)
        if not self.topics and now_ns - self._heard_ns >= _IDLE_NS:
            self.ending = Close(1001, "idle")

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """A request; its answers go out at once. What comes too fast is dropped, and that is said."""
        self._heard_ns = now_ns
        times = {"time_in": at(now_ns), "time_out": at(now_ns)}
        for answer in self._answers(message) if self._heard.take(now_ns) else [_error("Exceeded msg rate")]:
            self.say(Frame(encode({**answer, **times})), now_ns)
        return None

    def _answers(self, message: str | bytes) -> list[dict[str, Any]]:
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_error("Malformed request", method="error")]
        if not isinstance(request, dict):
            return [_error("Malformed request", method="error")]
        known = {"req_id": request["req_id"]} if _is_id(request.get("req_id")) else {}
        method = request.get("method")
        if method == "ping":
            return [{"method": "pong", **known}]
        if method not in ("subscribe", "unsubscribe"):
            return [{**_error("Event(s) not found", method="error"), **known}]
        try:
            topics, told = _topics(request.get("params"))
        except _Refused as refused:
            return [{**_error(str(refused), method=method), **known}]
        change = self._subscribe if method == "subscribe" else self._unsubscribe
        return [{**change(topic, told), "method": method, **known} for topic in topics]

    def _subscribe(self, topic: Topic, told: dict[str, Any]) -> dict[str, Any]:
        if topic.channel != "instrument" and topic.symbol not in self._hearers.listed:
            return _error(f"Currency pair not supported {topic.symbol}", symbol=topic.symbol)
        if self._hearers.stream(topic) in self._hearers.refused:
            return _error("EService:Unavailable", symbol=topic.symbol)
        # Of candles there may be several intervals; of a book, one depth.
        if any(topic == each or (topic[:2] == each[:2] and topic.channel != "ohlc") for each in self.topics):
            return _error("Already subscribed", symbol=topic.symbol)
        self.topics.add(topic)
        if not told["snapshot"]:
            self.unwhole.add(topic)
        self._hearers.join(self, topic)
        return {"result": {**told, **({"symbol": topic.symbol} if topic.symbol else {})}, "success": True}

    def _unsubscribe(self, topic: Topic, told: dict[str, Any]) -> dict[str, Any]:
        if topic not in self.topics:
            return _error("Subscription not found", symbol=topic.symbol)
        self._leave((topic,))
        told = {name: value for name, value in told.items() if name != "snapshot"}
        return {"result": {**told, **({"symbol": topic.symbol} if topic.symbol else {})}, "success": True}

    def _leave(self, topics: Collection[Topic]) -> None:
        self._hearers.leave(self, topics)
        self.topics.difference_update(topics)
        self.unwhole.difference_update(topics)


def _topics(params: object) -> tuple[list[Topic], dict[str, Any]]:
    """What a request is about, and what its answers repeat. Raises _Refused."""
    if not isinstance(params, dict):
        raise _Refused("Malformed request")
    channel = params.get("channel")
    snapshot = params.get("snapshot", channel != "trade")
    if channel not in ("trade", "ticker", "book", "ohlc", "instrument") or not isinstance(snapshot, bool):
        raise _Refused("Malformed request")
    told: dict[str, Any] = {"channel": channel, "snapshot": snapshot}
    if channel == "instrument":
        return [Topic("instrument")], told
    symbols = params.get("symbol")
    if not isinstance(symbols, list):
        raise _Refused("Symbol field must be an array")
    if not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise _Refused("Malformed request")
    detail: int | str = ""
    if channel == "book":
        told["depth"] = detail = _one_of(params.get("depth", 10), DEPTHS, "Subscription depth not supported")
    elif channel == "ohlc":
        wrong = "Subscription ohlc interval not supported"
        told["interval"] = detail = _one_of(params.get("interval", 1), tuple(_INTERVALS), wrong)
    elif channel == "ticker":
        triggers = ("trades", "bbo")
        told["event_trigger"] = detail = _one_of(params.get("event_trigger", "trades"), triggers, "Malformed request")
    return [Topic(channel, symbol, detail) for symbol in symbols], told


def _one_of(value: Any, values: tuple[Any, ...], otherwise: str) -> Any:
    if isinstance(value, bool) or value not in values:
        raise _Refused(otherwise)
    return value


def _error(text: str, **more: str) -> dict[str, Any]:
    return {"error": text, "success": False, **more}


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << 31) <= value < 1 << 31
