"""Consumer groups over the streams: at least once to a handler, once in effect."""

from consumers.delivery import Delivery
from consumers.group import connect
from consumers.reader import Reader
from consumers.replay import Live, Replay, Replayed

__all__ = ["Delivery", "Live", "Reader", "Replay", "Replayed", "connect"]
