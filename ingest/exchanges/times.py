"""Times as exchanges write them."""

import re
from datetime import datetime

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?Z", re.ASCII)


def nanoseconds(text: str) -> int:
    """Of a time such as 2026-11-22T08:15:30.123456789Z; 0 of one before 1970. Raises ValueError."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not a time: {text[:60]!r}")
    seconds = int(datetime.fromisoformat(match[1] + "+00:00").timestamp())
    return max(0, seconds * 1_000_000_000 + int((match[2] or "").ljust(9, "0")))
