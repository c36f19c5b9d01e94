"""One connection's requests: subscribe, unsubscribe, and the text `ping`; each argument is answered for itself.

https://www.okx.com/docs-v5/en/#overview-websocket
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ingest.simulator import hearers
from ingest.simulator.allowance import Window
from ingest.simulator.okx.frames import Listed, encode
from ingest.simulator.venue import Close, Frame

PUBLIC: Final = "/ws/v5/public"
BUSINESS: Final = "/ws/v5/business"
REQUESTS_AN_HOUR: Final = 480
LONGEST_REQUEST: Final = 64 * 1024
_SECOND_NS: Final = 1_000_000_000
_HOUR_NS: Final = 3600 * _SECOND_NS
_IDLE_NS: Final = 30 * _SECOND_NS
_IDLE: Final = Close(4004, "No data received in 30s.")
_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}\Z")


class Topic(NamedTuple):
    """What can be subscribed to."""

    channel: str
    native: str

    @property
    def path(self) -> str:
        """Where that is told."""
        business = self.channel == "trades-all" or self.channel.startswith("candle")
        return BUSINESS if business else PUBLIC


class _Arg(msgspec.Struct):
    channel: str
    instId: str  # noqa: N815 - the exchange's name


class Hearers(hearers.Hearers[Topic, "Session"]):
    """All symbols, and who hears what of them."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        super().__init__(self.stream)
        self.listed: Mapping[str, Listed] = {each.native: each for each in listed}

    def stream(self, topic: Topic) -> str:
        """Ours, that carries it; empty if there is no such thing."""
        listed = self.listed.get(topic.native)
        return listed.streams.get(topic.channel, "") if listed else ""


class Session:
    """One connection, to one of the two paths."""

    def __init__(self, known: Hearers, path: str, name: str, now_ns: int) -> None:
        self.outgoing: deque[Frame] = deque()
        self.ending: Close | None = None
        self.mute = False
        self.topics: set[Topic] = set()
        self._hearers = known
        self._path = path
        self._name = name
        self._requests = Window(REQUESTS_AN_HOUR, _HOUR_NS)
        self._lively_ns = now_ns

    def leave(self) -> None:
        """It hears nothing any more."""
        self._hearers.leave(self, self.topics)

    def beat(self, now_ns: int) -> Close | None:
        """Pings of the protocol keep nothing open."""
        return None

    def say(self, frame: Frame, now_ns: int) -> None:
        """Tell this."""
        self.outgoing.append(frame)
        self._lively_ns = now_ns

    def second(self, now_ns: int) -> None:
        """A second has passed: who has heard nothing for long, and did not ask, goes."""
        if now_ns - self._lively_ns >= _IDLE_NS:
            self.ending = _IDLE

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """A request; its answers go out at once."""
        if len(message) > LONGEST_REQUEST:
            return Close(1009, "frame too long")
        if message in ("ping", b"ping"):
            self.say(Frame(b"pong"), now_ns)
            return None
        for answer in self._answers(message, now_ns):
            self.outgoing.append(Frame(encode({**answer, "connId": self._name})))
        return None

    def _answers(self, message: str | bytes, now_ns: int) -> list[dict[str, Any]]:
        text = message if isinstance(message, str) else message.decode(errors="replace")
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [_error({}, "60012", f"Invalid request: {text}")]
        if not isinstance(request, dict):
            return [_error({}, "60012", f"Invalid request: {text}")]
        known = {"id": request["id"]} if _is_id(request.get("id")) else {}
        op, topics = request.get("op"), _topics(request.get("args"))
        if op not in ("subscribe", "unsubscribe") or topics is None or known.keys() != request.keys() & {"id"}:
            return [_error(known, "60012", f"Invalid request: {text}")]
        if not self._requests.take(now_ns):
            return [_error(known, "60014", "Requests too frequent")]
        change = self._subscribe if op == "subscribe" else self._unsubscribe
        return [{**known, **change(topic, now_ns)} for topic in topics]

    def _subscribe(self, topic: Topic, now_ns: int) -> dict[str, Any]:
        stream = self._hearers.stream(topic)
        if not stream or topic.path != self._path or stream in self._hearers.refused:
            # The argument is nowhere but in the words.
            about = f"channel:{topic.channel},instId:{topic.native}"
            return _error(
                {},
                "60018",
                f"Subscribe failed, wrong URL or {about} doesn't exist. Please use the correct URL, channel and"
                " parameters referring to API document.",
            )
        self._lively_ns = now_ns
        # Once more is acknowledged once more, and changes nothing.
        if topic not in self.topics:
            self.topics.add(topic)
            self._hearers.join(self, topic)
        return {"event": "subscribe", "arg": {"channel": topic.channel, "instId": topic.native}}

    def _unsubscribe(self, topic: Topic, _: int) -> dict[str, Any]:
        self.topics.discard(topic)
        self._hearers.leave(self, (topic,))
        return {"event": "unsubscribe", "arg": {"channel": topic.channel, "instId": topic.native}}


def _topics(args: object) -> list[Topic] | None:
    """What a request is about; None if that makes no sense."""
    if not isinstance(args, list) or not args:
        return None
    try:
        return [Topic(arg.channel, arg.instId) for arg in msgspec.convert(args, list[_Arg])]
    except msgspec.ValidationError:
        return None


def _error(known: Mapping[str, Any], code: str, words: str) -> dict[str, Any]:
    return {**known, "event": "error", "code": code, "msg": words}


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.match(value) is not None
