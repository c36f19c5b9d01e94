"""A spill for the length of a `with`, and all that it holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.spill import Spill, open_spill

CAP_BYTES = 1 << 20


@contextmanager
def spilling(root: Path, cap_bytes: int = CAP_BYTES) -> Iterator[Spill]:
    spill = open_spill(root, "binance", cap_bytes=cap_bytes)
    try:
        yield spill
    finally:
        spill.close()


def drained(spill: Spill) -> list[tuple[int, bytes]]:
    """Everything that is still to be read."""
    records: list[tuple[int, bytes]] = []
    while more := spill.read(7):
        records += more
    return records
