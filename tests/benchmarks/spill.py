"""Records per second into the spill and out of it again, in the sizes in which a publisher does it."""

import tempfile
import time
from pathlib import Path
from statistics import quantiles

from ingest.spill import open_spill

RECORD_BYTES = 240
CONFIRM_RECORDS = 500


def main(records: int = 200_000) -> None:
    """Print one line for each size of batch."""
    for batch in (1, 10, 100, 500):
        with tempfile.TemporaryDirectory() as root:
            print(line(Path(root), records, batch))  # noqa: T201 - this is what the command is for


def line(root: Path, records: int, batch: int) -> str:
    """What it takes to append so many records in batches, then to read and confirm them all."""
    spill = open_spill(root, "benchmark", cap_bytes=1 << 30)
    payloads = [bytes(RECORD_BYTES)] * batch
    append_s = []
    for _ in range(records // batch):
        began_s = time.perf_counter()
        spill.append(payloads)
        append_s.append(time.perf_counter() - began_s)
    size_bytes = spill.size_bytes
    began_s = time.perf_counter()
    while read := spill.read(CONFIRM_RECORDS):
        spill.confirm(read[-1][0])
    drain_s = time.perf_counter() - began_s
    spill.close()
    percentiles = quantiles(append_s, n=100)
    return (
        f"spill, batches of {batch:3}: {records / sum(append_s):9,.0f} append/s "
        f"(p50 {percentiles[49] * 1e3:.3f} ms, p99 {percentiles[98] * 1e3:.3f} ms a batch), "
        f"{records / drain_s:9,.0f} drain/s, {size_bytes / records:.0f} bytes a record of {RECORD_BYTES}"
    )


if __name__ == "__main__":
    main()
