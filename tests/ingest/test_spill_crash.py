"""A writer that is killed again and again: whatever `append` has returned is there."""

import random
import subprocess
import sys

import pytest

from tests.ingest.spilling import drained, spilling

WRITER = """
import os, random, sys
from pathlib import Path
import ingest.spill
from ingest.spill import open_spill

ingest.spill.SEGMENT_BYTES = 1 << 16
dice = random.Random(int(sys.argv[2]))
spill = open_spill(Path(sys.argv[1]), "binance", cap_bytes=1 << 30)
next_number = int(sys.argv[3])
while True:
    payloads = [b"%d " % number * (number % 50) for number in range(next_number, next_number + dice.randrange(1, 200))]
    next_number = spill.append(payloads).stop
    os.write(1, b"appended %d\\n" % (next_number - 1))
    for number, _ in spill.read(dice.randrange(150))[-1:]:
        os.write(1, b"confirming %d\\n" % number)
        spill.confirm(number)
"""


@pytest.mark.slow
def test_whatever_was_appended_comes_out_after_each_of_many_kills(tmp_path):
    dice = random.Random(1)
    said = {b"appended": 0, b"confirming": 0}
    behind = 1
    for life in range(20):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(life), str(behind)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            lines = [writer.stdout.readline() for _ in range(dice.randrange(5, 400))]
            writer.kill()
            lines += writer.stdout.readlines()
        said |= {word: int(number) for word, number in map(bytes.split, lines)}
        with spilling(tmp_path, cap_bytes=1 << 30) as spill:
            behind = spill.append([]).start
            numbers = range(behind - spill.depth, behind)
            assert drained(spill) == [(number, b"%d " % number * (number % 50)) for number in numbers]
            assert (behind > said[b"appended"], numbers.start <= said[b"confirming"] + 1) == (True, True)
            assert spill.take_losses() == []
    assert [path.name for path in (tmp_path / "binance").iterdir()] == ["0"]
