"""Consumer groups over the streams: at least once to a handler, once in effect."""

from consumers.book import LiveBook
from consumers.client import connect
from consumers.delivery import Delivery, Taken
from consumers.latest import Latest, latest_ticker
from consumers.reader import Reader
from consumers.replay import Live, Replay, Replayed

__all__ = [
    "Delivery",
    "Latest",
    "Live",
    "LiveBook",
    "Reader",
    "Replay",
    "Replayed",
    "Taken",
    "connect",
    "latest_ticker",
]
