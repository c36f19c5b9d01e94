"""One connection's conversation, as far as it is the same everywhere: topics, what they want, what REST answers."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Protocol

import msgspec

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.counted import CountedBook
from ingest.exchanges.exchange import NEVER, Fetch, FetchFailed, Locate, Output, Standing
from ingest.exchanges.known_ticker import KnownTicker
from ingest.exchanges.opaque import OpaqueTrades
from ingest.exchanges.subscriptions import Subscriptions
from ingest.exchanges.topic import Question, Topic

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError)
"""What bytes that make no sense may raise."""

_AGAIN_NS = 10_000_000_000


class Passing(ValueError):
    """REST refused whatever was asked, for a while: the same is asked again later, and nothing has failed."""


class Voice(Protocol):
    """What is particular to one exchange: how it is spoken to on one connection, and how its words are understood."""

    topics: dict[StreamKey, Topic]
    """What the streams that it carries are understood by."""
    subscriptions: Subscriptions
    """What of that stands, and what waits to be said; the voice says it."""

    def greet(self, now_ns: int) -> None:
        """The connection stands."""

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Carry these as well; a topic of each is among `topics` from now on."""

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> None:
        """Carry these no longer; frames of theirs that are still on the way fall silent."""

    def hear(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame: data, or the answer to a request. Raises ExchangeError."""

    def say(self, now_ns: int) -> Sequence[Output]:
        """What may be said by now. Raises Reconnect when the connection is of no more use."""

    def due(self) -> int:
        """When `say` next has something to say."""

    def ask(self, key: StreamKey, question: Question, now_ns: int) -> Sequence[Output]:
        """How to get what a topic wants: a Fetch with a tag by `tag_of`, or a word on the socket."""

    def answered(self, key: StreamKey, about: str, answer: bytes, now_ns: int) -> Sequence[Output]:
        """REST's answer to what was asked. Raises Passing, or what UNREADABLE names, before it has changed anything."""


def tag_of(key: StreamKey, about: str = "") -> str:
    """What a Fetch of this stream's is tagged with; `about` tells those apart that want different things."""
    return f"{key.channel} {key.symbol} {about}".rstrip()


def stand(
    topics: Mapping[StreamKey, Topic], first: Iterable[StreamKey], again: Iterable[StreamKey], now_ns: int
) -> list[Event]:
    """What is to be said when subscriptions stand: see `Stood`."""
    events = list(chain.from_iterable(topics[key].open(now_ns) for key in first))
    for key in again:
        match topics.get(key):
            case KnownTicker() as ticker:
                events += ticker.resume()
            case OpaqueTrades() as trades:
                events += trades.resume(now_ns)
    # Of all others, the next that is heard tells by its id or its time what was not.
    return events


class Talk:
    """A Conversation in some Voice."""

    def __init__(self, exchange: str, voice: Voice, streams: Sequence[StreamKey], bans: Collection[int] = ()) -> None:
        """`bans` are as of Limits."""
        self._busy = {418, 429, *bans}
        self._exchange = exchange
        self._voice = voice
        self._streams = streams
        self._asked: dict[str, Fetch] = {}
        self._again: dict[str, int] = {}

    def greet(self, now_ns: int) -> Sequence[Output]:
        """Subscribe to all."""
        self._voice.greet(now_ns)
        return self.subscribe(self._streams, now_ns)

    def subscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Take these on as well; their instruments must be known."""
        self._voice.subscribe(streams, now_ns)
        return self.tick(now_ns)

    def unsubscribe(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """Let these go."""
        self._voice.unsubscribe(streams, now_ns)
        gone = {(key.channel, key.symbol) for key in streams}
        for tag in [tag for tag in self._asked if tuple(tag.split(" ")[:2]) in gone]:
            del self._asked[tag]
            self._again.pop(tag, None)
        return self.tick(now_ns)

    def receive(self, frame: bytes, now_ns: int) -> Sequence[Output]:
        """A frame. What its topics want because of it is said by the next `tick`, which is due then."""
        return self._voice.hear(frame, now_ns)

    def fetched(self, tag: str, answer: bytes | FetchFailed, now_ns: int) -> Sequence[Output]:
        """To the topic that wanted it, unless it is let go meanwhile."""
        channel, symbol, about = (*tag.split(" "), "")[:3]
        key = StreamKey(self._exchange, channel, symbol)
        topic = self._voice.topics.get(key)
        if topic is None:
            return ()
        outputs: Sequence[Output] = ()
        try:
            outputs = self._voice.answered(key, about, self._body(answer), now_ns)
        except Passing:
            self._again[tag] = now_ns + _AGAIN_NS
        except UNREADABLE as bad:
            outputs = topic.failed(f"REST: {bad}"[:256], now_ns)
        return self._noted([*outputs, *self._wanted(now_ns)])

    def located(self, key: StreamKey, standing: Standing | None, now_ns: int) -> Sequence[Output]:
        """Where the stream stands by now, perhaps because of another writer."""
        topic = self._voice.topics.get(key)
        return self._noted([*topic.located(standing, now_ns), *self._wanted(now_ns)]) if topic else ()

    def refused(self, key: StreamKey, last: str | None, now_ns: int) -> Sequence[Output]:
        """The stream stands elsewhere: its book starts anew, its trades are fetched again."""
        topic = self._voice.topics.get(key)
        return self._noted([*topic.refused(last, now_ns), *self._wanted(now_ns)]) if topic else ()

    def closed(self, reason: str) -> Sequence[Event]:
        """Whatever does not tell by its ids what is missing says that it is not up to date any more."""
        return [event for topic in self._voice.topics.values() for event in topic.closed(reason)]

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Fetch what is due, and say what may be said."""
        ready = [tag for tag, at_ns in self._again.items() if at_ns <= now_ns]
        for tag in ready:
            del self._again[tag]
        again = [self._asked[tag] for tag in ready if tag in self._asked]
        wanted = self._wanted(now_ns)
        return self._noted([*self._voice.say(now_ns), *again, *wanted])

    def due(self) -> int:
        """When `tick` is next wanted."""
        topics = (topic.due() for topic in self._voice.topics.values())
        return min(self._voice.due(), min(self._again.values(), default=NEVER), *topics)

    def own(self, streams: Sequence[StreamKey], now_ns: int) -> Sequence[Output]:
        """These are ours to write; a book begins with what is known of it."""
        return [event for book in self._counted(streams) for event in book.own(now_ns)]

    def disown(self, streams: Sequence[StreamKey]) -> None:
        """These are another's: they are kept, and not said."""
        for book in self._counted(streams):
            book.disown()

    def acknowledged(self) -> bool:
        """Whether all subscriptions stand."""
        return not self._voice.subscriptions.open

    def positions(self) -> Mapping[StreamKey, str]:
        """Of each stream the newest that was said."""
        return {key: topic.position for key, topic in self._voice.topics.items() if topic.position is not None}

    def _wanted(self, now_ns: int) -> list[Output]:
        outputs: list[Output] = []
        for key, topic in self._voice.topics.items():
            for wanted in topic.wants(now_ns) if topic.due() <= now_ns else ():
                if isinstance(wanted, Event | Locate):
                    outputs.append(wanted)
                else:
                    outputs += self._voice.ask(key, wanted, now_ns)
        return outputs

    def _noted(self, outputs: list[Output]) -> list[Output]:
        self._asked.update((output.tag, output) for output in outputs if isinstance(output, Fetch))
        return outputs

    def _counted(self, streams: Sequence[StreamKey]) -> list[CountedBook]:
        topics = map(self._voice.topics.get, streams)
        return [topic for topic in topics if isinstance(topic, CountedBook)]

    def _body(self, answer: bytes | FetchFailed) -> bytes:
        if isinstance(answer, bytes):
            return answer
        said = f"REST answered {answer.status}: {answer.reason}"
        raise Passing(said) if answer.status in self._busy else ValueError(said)
