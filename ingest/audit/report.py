"""What an audit found, in numbers; table.py makes it readable."""

from collections import Counter

import msgspec
from msgspec import Struct, structs

EXAMPLES = 5
"""Of what is wrong in one stream, in words."""

FAULTS = (
    "breaks",
    "astray",
    "removed",
    "holes",
    "unfounded",
    "unreadable",
    "duplicates",
    "disorder",
    "invented",
    "differs",
    "unaccounted",
)
"""Each of these unbalances a stream."""


class Finding(Struct, frozen=True):
    """Something wrong: in which of the columns it counts, how much, and what it is."""

    column: str
    count: int
    words: str


class StreamReport(Struct, frozen=True, kw_only=True):
    """One stream. What has no ledger to be compared with is 0."""

    key: str
    entries: int = 0
    g: str = ""
    """The generation of the newest entry."""
    oldest_n: int = 0
    generations: int = 0
    """Of which there are entries."""
    trimmed: int = 0
    """By the janitor."""
    gaps: int = 0
    """Registered."""
    ids_lost: int = 0
    """That they still hold open; 0 where they are spans of time."""
    late: int = 0
    """Entries that have filled a part of a gap."""
    tail: int = 0
    """Entries that living writers keep, because they may not be on Redis's disk yet."""
    durable_n: int = 0
    """Up to this number of the newest generation a writer counts all as safe (see Durability); 0 if none says so."""
    unprovable: str = ""
    """Why it cannot be proven that nothing is missing, in one or two words."""

    breaks: int = 0
    """Where `n` does not go on by one, starts a generation at something else than 1, or starts one untold."""
    astray: int = 0
    """1 if the newest entry is not where the script's state stands: somebody else has written or deleted."""
    removed: int = 0
    """Entries that were there, and were not trimmed by the janitor."""
    holes: int = 0
    """Ids, or for candles milliseconds, between two entries that no gap answers for."""
    unfounded: int = 0
    """Ranges that only the entries, or only the registry, say are lost; and gaps and late fills in the wrong place."""
    unreadable: int = 0
    duplicates: int = 0
    disorder: int = 0
    """Entries behind one that is newer than they are."""
    invented: int = 0
    """Trades and deltas that the exchange never emitted."""
    differs: int = 0
    """Entries that say something else than the exchange did."""

    emitted: int = 0
    in_stream: int = 0
    in_gaps: int = 0
    before: int = 0
    """Emitted before the oldest trade, or before the oldest snapshot or delta, that the stream has."""
    superseded: int = 0
    """Tickers and candles that never came; what came after them says more."""
    unaccounted: int = 0
    """Emitted, and neither in the stream nor in a gap."""
    examples: tuple[str, ...] = ()
    """The first few things wrong, in words."""

    @property
    def balanced(self) -> bool:
        """Whether nothing is lost, doubled, turned round, altered or invented."""
        return not any(getattr(self, fault) for fault in FAULTS)

    @property
    def verdict(self) -> str:
        """In words: `proven` is said of all between the oldest and the newest entry."""
        if not self.balanced:
            return "NOT BALANCED"
        if self.unprovable:
            return f"not provable: {self.unprovable}"
        return "proven" if self.oldest_n <= 1 else f"proven since n={self.oldest_n}"


class GroupReport(Struct, frozen=True, kw_only=True):
    """One group on one stream that it needs."""

    group: str
    key: str
    written: int
    """Entries that the stream has ever had."""
    trimmed: int
    """Of these, gone by now."""
    effected: int
    dead: int = 0
    """Put among the group's dead letters."""
    pending: int
    """Of those that are still there."""
    unread: int
    gone: int = 0
    """Trimmed while they were pending."""
    untold: int = 0
    """Of these, those of which nothing was told on `md:{EX}:status`, although it would be there still."""
    told: int = 0
    """Entries that the group was told to have lost, without those that are pending."""

    @property
    def missing(self) -> int:
        """Entries that nobody answers for; negative if more were effected than there were."""
        return self.written - self.effected - self.dead - self.pending - self.gone - self.unread

    @property
    def balanced(self) -> bool:
        """Whether none is missing but what may have been trimmed before the group came: of that nothing is known."""
        return 0 <= self.missing <= self.trimmed and not self.untold

    @property
    def verdict(self) -> str:
        """In words: losses of which the group was told are accounted for."""
        if not self.balanced:
            return "NOT BALANCED"
        return "balanced" if self.missing <= self.told else "not provable: trimmed"


class WriterReport(Struct, frozen=True, kw_only=True):
    """What one writer last said of itself."""

    exchange: str
    writer: str
    silent_s: float
    """How long ago, by its clock and ours."""
    ended: bool
    """Whether that was its last word."""
    living: bool
    queued: int
    """Events in memory that were not sent yet."""
    unconfirmed: int
    """Sent, and no reply yet."""
    tail: int
    """Confirmed, and kept because they may not be on Redis's disk yet."""
    spilled: int
    """On the writer's own disk."""
    lost_on_disk: int
    """Records that disk has lost."""

    @property
    def under_way(self) -> int:
        """Events that are not in Redis yet."""
        return self.queued + self.unconfirmed + self.spilled

    @property
    def verdict(self) -> str:
        """Whether it is there still."""
        if self.living:
            return "living"
        return "ended" if self.ended else f"last heard {self.silent_s:.0f} s ago"


class Report(Struct, frozen=True):
    """All streams of all exchanges, all groups on them, and all writers of the last day."""

    streams: tuple[StreamReport, ...]
    groups: tuple[GroupReport, ...]
    writers: tuple[WriterReport, ...] = ()

    @property
    def balanced(self) -> bool:
        """Whether both equations hold everywhere."""
        return all(stream.balanced for stream in self.streams) and all(group.balanced for group in self.groups)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many streams of which verdict, those out of balance and the proven ones first."""
        counted = Counter(stream.verdict.partition(" since")[0] for stream in self.streams)
        return dict(sorted(counted.items(), key=lambda each: (each[0].startswith("not provable"), each[0])))

    @property
    def under_way(self) -> int:
        """Events that living writers have and Redis has not."""
        return sum(writer.under_way for writer in self.writers if writer.living)

    def json(self) -> bytes:
        """All of it, with the verdicts."""
        said = {
            "balanced": self.balanced,
            "under_way": self.under_way,
            "streams": [_whole(each) for each in self.streams],
            "groups": [_whole(each) | {"missing": each.missing} for each in self.groups],
            "writers": [_whole(each) for each in self.writers],
        }
        return msgspec.json.encode(said)


def _whole(report: StreamReport | GroupReport | WriterReport) -> dict[str, object]:
    return structs.asdict(report) | {"verdict": report.verdict}
