"""A report as a person reads it: tables, what is wrong in words, and a verdict."""

from collections.abc import Iterable, Sequence

from ingest.audit.report import FAULTS, GroupReport, Report, StreamReport, WriterReport

_SEEN = ("gaps", "ids_lost", "late", "trimmed", "tail", "durable_n")
_FAULTS = tuple(name for name in FAULTS if name not in ("breaks", "unaccounted"))
_LEDGER = ("emitted", "in_stream", "in_gaps", "before", "superseded", "unaccounted")
_GROUP = ("written", "effected", "pending", "unread", "missing")
_LOST_TO_GROUP = ("dead", "told", "gone", "untold")
_WRITER = ("queued", "unconfirmed", "tail", "spilled")
_WORDS = {
    "ids_lost": "ids lost",
    "durable_n": "safe to n",
    "gone": "trimmed while pending",
    "told": "told as lost",
    "spilled": "on its disk",
}


def table(report: Report) -> str:
    """A column stands there only if there is something in it; the first ones always do."""
    lines = _streams(report.streams)
    lines += [f"  {stream.key}: {example}" for stream in report.streams for example in stream.examples]
    if report.groups:
        lines += ["", *_groups(report.groups)]
    if report.writers:
        lines += ["", *_writers(report.writers)]
    if report.streams:
        counted = ", ".join(f"{count} {verdict}" for verdict, count in report.verdicts.items())
        lines += ["", f"{len(report.streams)} streams: {counted}"]
    if report.under_way:
        lines += [f"under way: {report.under_way} events are with their writers, and not in Redis yet"]
    return "\n".join([*lines, "", "balanced" if report.balanced else "NOT BALANCED"])


def _streams(streams: Sequence[StreamReport]) -> list[str]:
    shown = _used((*_SEEN, *_FAULTS, *_LEDGER), streams)
    anew = any(stream.generations > 1 for stream in streams)
    rows = [
        (
            stream.key,
            str(stream.entries),
            _dense(stream),
            *([str(stream.generations)] if anew else []),
            *(str(getattr(stream, name) or "-") for name in shown),
            stream.verdict,
        )
        for stream in streams
    ]
    return _table(("stream", "entries", "n", *(["generations"] if anew else []), *map(_word, shown), ""), rows)


def _dense(stream: StreamReport) -> str:
    if stream.breaks:
        return f"{stream.breaks} breaks"
    return "dense" if stream.entries else "-"


def _groups(groups: Sequence[GroupReport]) -> list[str]:
    shown = [*_GROUP, *_used(_LOST_TO_GROUP, groups)]
    rows = [
        (f"{group.group} {group.key}", *(str(getattr(group, name)) for name in shown), group.verdict)
        for group in groups
    ]
    return _table(("group", *map(_word, shown), ""), rows)


def _writers(writers: Sequence[WriterReport]) -> list[str]:
    shown = [*_WRITER, *_used(("lost_on_disk",), writers)]
    rows = [
        (f"{each.exchange} {each.writer}", *(str(getattr(each, name)) for name in shown), each.verdict)
        for each in writers
    ]
    return _table(("writer", *map(_word, shown), ""), rows)


def _used(names: Iterable[str], reports: Iterable[object]) -> list[str]:
    reports = list(reports)
    return [name for name in names if any(getattr(report, name) for report in reports)]


def _word(name: str) -> str:
    return _WORDS.get(name, name.replace("_", " "))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned: the words at both ends to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return ["  ".join(_cells(row, widths)).rstrip() for row in (head, *rows)]


def _cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *numbers, last = row
    aligned = [number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True)]
    return [first.ljust(widths[0]), *aligned, last]
