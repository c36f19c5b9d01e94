"""A spill beside a list: whatever is done to it, and however it dies, it holds what the list holds."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import ingest.spill
from ingest.spill import Full, open_spill

pytestmark = pytest.mark.slow

CAP_BYTES = 1500


class SpillMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(ingest.spill, "SEGMENT_BYTES", 200)
        self.patch.setattr(ingest.spill, "READ_BYTES", 100)
        self.folder = tempfile.TemporaryDirectory()
        self.lives = 0
        self.payloads: list[bytes] = []
        self.read_to = self.confirmed = 0
        self.open()

    @property
    def root(self):
        return Path(self.folder.name) / str(self.lives)

    def open(self):
        self.spill = open_spill(self.root, "binance", cap_bytes=CAP_BYTES)
        self.read_to = self.confirmed

    @rule(payloads=st.lists(st.binary(max_size=60), max_size=6))
    def append(self, payloads):
        numbers = range(len(self.payloads) + 1, len(self.payloads) + len(payloads) + 1)
        size = sum(20 + len(payload) for payload in payloads)
        try:
            assert self.spill.append(payloads) == numbers
        except Full:
            assert self.spill.size_bytes + size > CAP_BYTES
        else:
            assert self.spill.size_bytes <= CAP_BYTES
            self.payloads += payloads

    @rule(limit=st.integers(0, 8))
    def read(self, limit):
        records = self.spill.read(limit)
        expected = list(enumerate(self.payloads, 1))[self.read_to : self.read_to + len(records)]
        waiting = limit > 0 and self.read_to < len(self.payloads)
        assert (records, bool(records), len(records) <= limit) == (expected, waiting, True)
        self.read_to += len(records)

    @rule(share=st.floats(0, 1))
    def confirm(self, share):
        sequence = self.confirmed + round(share * (self.read_to - self.confirmed))
        self.spill.confirm(sequence)
        self.confirmed = sequence

    @rule()
    def start_again(self):
        self.spill.close()
        self.open()
        assert self.spill.durable == len(self.payloads)

    @rule(torn=st.binary(max_size=30))
    def die(self, torn):
        """What is in the files at this moment is all that is left, and perhaps half a record."""
        before = self.root
        self.lives += 1
        shutil.copytree(before, self.root)
        last = max((self.root / "binance/0").glob("*.seg"))
        following = ingest.spill.segment.pack(len(self.payloads) + 1, torn)
        with last.open("ab") as file:
            file.write(following[: len(torn)])
        self.spill.close()
        self.open()

    @invariant()
    def it_is_as_the_list(self):
        assert (self.spill.depth, self.spill.take_losses()) == (len(self.payloads) - self.confirmed, [])
        assert self.spill.durable <= len(self.payloads)

    def teardown(self):
        while self.read_to < len(self.payloads):
            self.read(5)
        self.confirm(1)
        assert self.spill.depth == 0
        self.spill.close()
        self.folder.cleanup()
        self.patch.undo()


TestSpill = SpillMachine.TestCase
TestSpill.settings = settings(max_examples=25, stateful_step_count=40, derandomize=True, deadline=None)
