"""What is heard of tickers comes out a moment later: the first of a source waits behind the word `silence`."""

from collections.abc import Iterable

from ingest.contract.events import Event
from ingest.exchanges.exchange import Conversation, Output
from ingest.exchanges.topic import HOLD_NS


def tickers(talk: Conversation, *frames: bytes, now_ns: int) -> list[Event]:
    """All tickers that come of these frames, by the time that none of them waits any more."""
    said = [output for frame in frames for output in talk.receive(frame, now_ns)]
    return tickers_of([*said, *talk.tick(now_ns + HOLD_NS)])


def tickers_of(outputs: Iterable[Output]) -> list[Event]:
    """Those among them."""
    return [output for output in outputs if isinstance(output, Event) and output.rule == "ticker"]
