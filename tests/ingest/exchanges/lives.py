"""What an exchange's ledger says, cut where it began to count anew."""

from collections import defaultdict
from collections.abc import Iterable

from msgspec import Struct, field

from ingest.simulator.ledger import Entry, Event, Struck, Whole
from tests.chaos.exchange import Depth


class Life(Struct):
    """What it emitted while its ids went up."""

    emitted: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    depths: dict[str, Depth] = field(default_factory=dict)
    """Of each book, as it was before the first change of it."""


class Lives:
    """All of it, in order, and the faults that were played."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.lives = [Life()]
        self.struck: list[Struck] = []
        for entry in entries:
            self.note(entry)

    def note(self, entry: Entry) -> None:
        """The next line of the ledger."""
        match entry:
            case Struck():
                self.struck.append(entry)
                if entry.fault.startswith("series"):
                    self.lives.append(Life())
            case Whole(key=key):
                self.lives[-1].depths[key] = Depth(int(entry.s) - 1, dict(entry.bids), dict(entry.asks))
            case _:
                self.lives[-1].emitted[entry.key].append(entry)
