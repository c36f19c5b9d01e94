"""What a seat stands on: the terms of its bot, and the notes that are kept of it from one entry to the next."""

import msgspec
from msgspec import Struct

from consumers.services.strategy import Strategy, frozen, thawed


class Place(Struct, frozen=True):
    """The last entry of a stream that was shown."""

    g: str = ""
    n: int = 0
    id: str = "0-0"


class Notes(Struct, frozen=True):
    """What is kept of a seat: whoever takes it goes on as if nobody had left."""

    kind: str = ""
    """The class of the strategy."""
    strategy: bytes = b""
    """What it remembers."""
    clock_ns: int = 0
    """When the newest of what it was shown was received."""
    alarms: dict[str, tuple[int, int]] = {}
    """When it wants to be woken, by name; and after how many ms that is."""
    places: dict[str, Place] = {}
    """How far it was shown each channel."""
    failures: int = 0
    """Calls of it that failed."""

    def fits(self, kind: type[Strategy]) -> bool:
        """Whether it is this strategy that has kept them, and can read them."""
        if self.kind != _name(kind):
            return False
        try:
            thawed(kind, self.strategy)
        except msgspec.ValidationError:
            return False
        return True


class Terms(Struct, frozen=True, kw_only=True):
    """What all seats of a bot have in common."""

    bot: str
    kind: type[Strategy]
    account: str = "paper"
    live_within_ms: int = 10_000
    """What was older when it was received is warm-up: it is shown, and what is wished upon it is let go."""
    valid_ms: int = 5_000
    limit_s: float = 1.0
    """Of the processor's time, for one call."""

    def owns(self, intent_id: str) -> bool:
        """Whether the intent is one of this bot's: of any of its seats, as an order may be for another symbol."""
        return intent_id.startswith(f"{self.bot}/")


def fresh(kind: type[Strategy]) -> Notes:
    """Of a strategy that was shown nothing yet."""
    return Notes(kind=_name(kind), strategy=frozen(kind()))


def _name(kind: type[Strategy]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
