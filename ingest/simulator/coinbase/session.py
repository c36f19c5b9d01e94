"""One connection's requests: each is answered with the whole list of subscriptions, or refused as a whole."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ingest.simulator import hearers
from ingest.simulator.allowance import Window
from ingest.simulator.coinbase.frames import Listed, encode
from ingest.simulator.venue import CUT, Close, Frame

MESSAGES_PER_SECOND: Final = 100
SUBSCRIBED_WITHIN_NS: Final = 5_000_000_000
MOST_OF_ONE: Final = 10
"""Subscriptions to one channel of one product, over all connections."""
CHANNELS: Final = {"matches": "matches", "ticker": "ticker", "level2_batch": "level2_50", "heartbeat": "heartbeat"}
"""What can be subscribed to without a key, and what it is called in the answer."""
_SIGNED: Final = frozenset({"level2", "level3", "full", "user"})
_SECOND_NS: Final = 1_000_000_000
_TOO_FAST: Final = encode({"type": "error", "message": "ErrSlowRead"})


class Topic(NamedTuple):
    """What can be subscribed to."""

    channel: str
    product: str


class _Channel(msgspec.Struct):
    name: str
    product_ids: list[str] | None = None
    """If there are any of its own."""


class _Request(msgspec.Struct):
    channels: list[str | _Channel]
    product_ids: list[str] = []


class _Refused(Exception):
    """The whole request."""


class Hearers(hearers.Hearers[Topic, "Session"]):
    """All products, and who hears what of them."""

    def __init__(self, listed: Iterable[Listed]) -> None:
        super().__init__(self.stream)
        self.listed: Mapping[str, Listed] = {each.product: each for each in listed}
        self.messages = Window(MESSAGES_PER_SECOND, _SECOND_NS)

    def stream(self, topic: Topic) -> str:
        """Ours, that carries it; empty if none does."""
        listed = self.listed[topic.product]
        streams = {"matches": listed.trades, "ticker": listed.ticker, "level2_batch": listed.book}
        return streams.get(topic.channel, "")

    def count(self, topic: Topic) -> int:
        """How many subscriptions to it there are."""
        return len(self.of.get(topic, ())) + sum(each == topic for _, each in self._fresh)


class Session:
    """One connection."""

    def __init__(self, known: Hearers, now_ns: int) -> None:
        self.outgoing: deque[Frame] = deque()
        self.ending: Close | None = None
        self.mute = False
        self.gone = False
        self.topics: dict[Topic, None] = {}
        self._hearers = known
        self._born_ns = now_ns
        self._asked = False

    def leave(self) -> None:
        """It hears nothing any more."""
        self._hearers.leave(self, self.topics)
        self.gone = True

    def beat(self, now_ns: int) -> Close | None:
        """Pings and pongs are not counted."""
        return None

    def second(self, now_ns: int) -> None:
        """A second has passed: who has not subscribed by now goes."""
        if not self._asked and now_ns - self._born_ns >= SUBSCRIBED_WITHIN_NS:
            self.ending = Close(CUT, "")
            self.gone = True

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """A request, and its answer. Who says too much hears why, and is cut off."""
        if not self._hearers.messages.take(now_ns):
            self.outgoing.append(Frame(_TOO_FAST))
            self.ending = Close(CUT, "")
            return None
        try:
            self._obey(message)
        except _Refused as refused:
            reason = str(refused)
            self.outgoing.append(Frame(encode({"type": "error", "message": "Failed to subscribe", "reason": reason})))
            if "authentication" not in reason:
                return None
        self.outgoing.append(Frame(self._subscriptions()))
        return None

    def _obey(self, message: str | bytes) -> None:
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _Refused("Malformed JSON") from None
        kind = request.get("type") if isinstance(request, dict) else None
        if kind not in ("subscribe", "unsubscribe"):
            raise _Refused(f"Type {kind!s:.40} is not valid")
        topics = self._topics(request, leaving=kind == "unsubscribe")
        if kind == "unsubscribe":
            self._hearers.leave(self, topics)
            for topic in topics:
                self.topics.pop(topic, None)
            return
        news = [topic for topic in topics if topic not in self.topics]
        if any(self._hearers.count(topic) >= MOST_OF_ONE for topic in news):
            raise _Refused("subscription limit exceeded")
        self._asked = True
        self.topics.update(dict.fromkeys(news))
        for topic in news:
            self._hearers.join(self, topic)

    def _topics(self, request: dict[str, Any], *, leaving: bool) -> list[Topic]:
        """All that a request names; to leave, a channel alone is enough. Raises _Refused."""
        if not request.get("channels"):
            raise _Refused("No channels provided")
        try:
            asked = msgspec.convert(request, _Request)
        except msgspec.ValidationError:
            raise _Refused("Malformed JSON") from None
        topics: list[Topic] = []
        for each in asked.channels:
            channel = _Channel(each) if isinstance(each, str) else each
            products = asked.product_ids if channel.product_ids is None else channel.product_ids
            if leaving and not products:
                products = [topic.product for topic in self.topics if topic.channel == channel.name]
            topics += self._of_channel(channel.name, products, leaving=leaving)
        return topics

    def _of_channel(self, name: str, products: Iterable[str], *, leaving: bool) -> list[Topic]:
        if name in _SIGNED:
            raise _Refused("level2, level3, and full channels now require authentication.")
        if name not in CHANNELS:
            raise _Refused(f"{name} is not a valid channel")
        topics = [Topic(name, product) for product in products]
        if not topics and not leaving:
            raise _Refused(" is not a valid product")
        for topic in topics:
            if topic.product not in self._hearers.listed:
                raise _Refused(f"{topic.product} is not a valid product")
            if not leaving and self._hearers.stream(topic) in self._hearers.refused:
                raise _Refused(f"{topic.channel} is not available for {topic.product}")
        return topics

    def _subscriptions(self) -> bytes:
        """All that it is subscribed to by now."""
        products: dict[str, list[str]] = {}
        for topic in self.topics:
            products.setdefault(CHANNELS[topic.channel], []).append(topic.product)
        channels = [{"name": name, "product_ids": of, "account_ids": None} for name, of in products.items()]
        return encode({"type": "subscriptions", "channels": channels})
