"""A place in streams as a person names it: `start`, an entry's id, a time, or so long ago. Pure."""

import re
from datetime import UTC, datetime

START = "0-0"
_ID = re.compile(r"\d{1,19}(-\d{1,19})?", re.ASCII)
_AGO = re.compile(r"-(\d{1,9})([smhd])", re.ASCII)
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class BadPlace(ValueError):
    """A text that names no place; says what would."""


def parse_place(text: str, now_ms: int) -> str:
    """What XRANGE takes as either end: an id, or a time in ms, which as an end has all of that ms. Raises BadPlace."""
    if text == "start":
        return START
    if _ID.fullmatch(text):
        return text
    if ago := _AGO.fullmatch(text):
        return str(max(0, now_ms - int(ago[1]) * _UNITS_MS[ago[2]]))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadPlace(
            f"{text!r} is no place in a stream; expected an entry's id as in 1767225600000-0, "
            "a time as in 2026-01-01T00:00 (UTC), -15m (s, m, h, d) or start"
        ) from None
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime.fromtimestamp(0, UTC)
    return str(max(0, round(since.total_seconds() * 1000)))


def parts(entry_id: str) -> tuple[int, int]:
    """An id as numbers, to be compared; a time in ms is the first id of that ms."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence or 0)
