"""Consumer groups over the streams: at least once to a handler, once in effect."""

from consumers.delivery import Delivery
from consumers.group import connect
from consumers.reader import Reader

__all__ = ["Delivery", "Reader", "connect"]
