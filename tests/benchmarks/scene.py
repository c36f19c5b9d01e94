"""What all stages share: the frames, the events that they mean, a Redis, and an exchange that sends the frames."""

import time
from collections import deque
from typing import NamedTuple

import msgspec
from redis.asyncio import Redis

from ingest.contract.events import Event
from ingest.contract.keys import StreamKey
from ingest.exchanges.binance import Binance
from ingest.exchanges.exchange import Conversation, Fetch, Output, Send
from tests.benchmarks.recording import CHANNELS, SYMBOLS, Recording, target
from tests.benchmarks.sender import Sender

_SECOND_NS = 1_000_000_000


class Scene(NamedTuple):
    """Of one run."""

    recording: Recording
    events: list[Event]
    redis: Redis
    sender: Sender


class _Request(msgspec.Struct):
    id: int


def conversation(recording: Recording) -> tuple[Conversation, list[Event]]:
    """One whose books are all in sync, and what it has said until then."""
    exchange = Binance()
    streams = [StreamKey("binance", channel, symbol) for symbol in SYMBOLS for channel in CHANNELS]
    listed = exchange.list_instruments()
    talk = exchange.converse(
        streams, exchange.instruments(recording.answers[target(listed.path, listed.params)]), {}, "benchmark"
    )
    now_ns = time.time_ns() - 2 * _SECOND_NS  # soon enough for no book to be due again meanwhile
    said: list[Event] = []
    todo = deque[Output](talk.greet(now_ns))
    while todo:
        now_ns += _SECOND_NS // 100
        match todo.popleft():
            case Send(text):
                answer = b'{"result":null,"id":%d}' % msgspec.json.decode(text, type=_Request).id
                todo += talk.receive(answer, now_ns)
                todo += talk.tick(now_ns := now_ns + _SECOND_NS)
            case Fetch() as fetch:
                todo += talk.fetched(fetch.tag, recording.answers[target(fetch.path, fetch.params)], now_ns)
            case Event() as event:
                said.append(event)
    return talk, said


def events(recording: Recording) -> list[Event]:
    """All that the recording means, from the first status to the last delta."""
    talk, said = conversation(recording)
    for frame in recording.frames:
        said += (output for output in talk.receive(frame, time.time_ns()) if isinstance(output, Event))
    return said
