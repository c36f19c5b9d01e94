"""What an audit found, in numbers and as a table."""

from collections.abc import Sequence

from msgspec import Struct, structs


class StreamReport(Struct, frozen=True, kw_only=True):
    """One stream. What has no ledger to be compared with is 0."""

    key: str
    entries: int = 0
    gaps: int = 0
    """Registered."""
    breaks: int = 0
    """Where `n` does not go on by one, or starts a generation at something else than 1."""
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
    examples: tuple[str, ...] = ()
    """The first few things wrong, in words."""

    @property
    def balanced(self) -> bool:
        """Whether nothing is lost, doubled, turned round, altered or invented."""
        wrong = (self.breaks, self.unreadable, self.duplicates, self.disorder, self.invented, self.differs)
        return not any(wrong) and not self.unaccounted


class GroupReport(Struct, frozen=True, kw_only=True):
    """One group on one stream that it needs."""

    group: str
    key: str
    written: int
    """Entries that the stream has ever had."""
    trimmed: int
    """Of these, gone by age."""
    effected: int
    pending: int
    unread: int

    @property
    def missing(self) -> int:
        """Entries that nobody answers for; negative if more were effected than there were."""
        return self.written - self.effected - self.pending - self.unread

    @property
    def balanced(self) -> bool:
        """Whether none is missing but what may have been trimmed before the group came: of that nothing is known."""
        return 0 <= self.missing <= self.trimmed


class Report(Struct, frozen=True):
    """All streams of all exchanges, and all groups on them."""

    streams: tuple[StreamReport, ...]
    groups: tuple[GroupReport, ...]

    @property
    def balanced(self) -> bool:
        """Whether both equations hold everywhere."""
        return all(stream.balanced for stream in self.streams) and all(group.balanced for group in self.groups)

    def __str__(self) -> str:
        """Two tables and a verdict. Columns of faults stand there only if there are any."""
        counts = [field.name for field in structs.fields(StreamReport) if field.type is int]
        shown = [name for name in counts if name in _ALWAYS or any(getattr(stream, name) for stream in self.streams)]
        streams = [
            (stream.key, *(str(getattr(stream, name)) for name in shown), _verdict(balanced=stream.balanced))
            for stream in self.streams
        ]
        lines = _table(("stream", *(name.replace("_", " ") for name in shown), ""), streams)
        lines += [f"  {stream.key}: {example}" for stream in self.streams for example in stream.examples]
        if self.groups:
            lines += ["", *_table(_GROUP_HEAD, [_group_row(group) for group in self.groups])]
        return "\n".join([*lines, "", _verdict(balanced=self.balanced)])


_ALWAYS = ("entries", "emitted", "in_stream", "in_gaps", "unaccounted")
_GROUP_HEAD = ("group", "written", "effected", "pending", "unread", "missing", "")


def _group_row(group: GroupReport) -> Sequence[str]:
    counts = (group.written, group.effected, group.pending, group.unread, group.missing)
    unknown = group.balanced and group.missing
    verdict = "not provable: trimmed" if unknown else _verdict(balanced=group.balanced)
    return f"{group.group} {group.key}", *map(str, counts), verdict


def _verdict(*, balanced: bool) -> str:
    return "balanced" if balanced else "NOT BALANCED"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned: the words at both ends to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return ["  ".join(_cells(row, widths)).rstrip() for row in (head, *rows)]


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *numbers, last = row
    aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
    return [first.ljust(widths[0]), *aligned, last]
