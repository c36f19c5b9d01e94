"""What comes out of segments that were cut off, or whose bytes were changed: nothing wrong, and no loss untold."""

import io
import os
import tempfile
from bisect import bisect_right
from itertools import accumulate, pairwise
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import ingest.spill
from ingest.spill import segment
from ingest.spill.segment import Damaged
from tests.ingest.spilling import drained, spilling

pytestmark = pytest.mark.slow

PAYLOADS = (b"", b"first", b"", b"\x00" * 9, b"sixth", segment.pack(700, b"a record in a record"))

quick = settings(max_examples=100, derandomize=True, deadline=None)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch):
    monkeypatch.setattr(ingest.spill, "SEGMENT_BYTES", 100)


def numbered(payloads, first=1):
    return list(enumerate(payloads, first))


def written(payloads):
    return b"".join(segment.pack(number, payload) for number, payload in numbered(payloads))


def whole(payloads, position):
    """How many of the records end at this byte or before."""
    return bisect_right(list(accumulate(20 + len(payload) for payload in payloads)), position)


def flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def read_all(data):
    """The payloads up to the end or to the first damage, and whether there is any."""
    file, payloads = io.BytesIO(data), []
    try:
        while (payload := segment.read(file, len(payloads) + 1)) is not None:
            payloads.append(payload)
    except Damaged:
        return payloads, True
    return payloads, False


def every_changed_bit_is_noticed():
    data = written(PAYLOADS)
    for bit in range(len(data) * 8):
        changed = flipped(data, bit)
        assert (read_all(changed), segment.measure(changed, 1)) == (
            (list(PAYLOADS[: whole(PAYLOADS, bit // 8)]), True),
            (len(PAYLOADS) + 1, len(data)),
        )


def test_every_changed_bit_is_noticed_and_every_record_counted():
    every_changed_bit_is_noticed()


def test_without_the_sums_changed_bits_would_pass(monkeypatch):
    monkeypatch.setattr(segment, "crc32", lambda data, start=0: 0)
    with pytest.raises(AssertionError):
        every_changed_bit_is_noticed()


def test_without_a_sum_of_the_head_a_changed_length_would_pass_for_a_record_cut_off(monkeypatch):
    monkeypatch.setattr(segment, "crc32", lambda data, start=0: crc32(data, start) if start else 1)
    with pytest.raises(AssertionError):
        every_changed_bit_is_noticed()


def test_a_record_in_another_ones_place_is_damage():
    assert (read_all(segment.pack(2, b"a")), segment.measure(segment.pack(2, b"a"), 1)) == (([], True), (2, 21))


@quick
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.data())
def test_a_damaged_stretch_is_counted_whole_if_a_record_behind_it_is_intact(payloads, data):
    intact = written(payloads)
    begin = data.draw(st.integers(0, len(intact) - 1))
    end = data.draw(st.integers(begin + 1, len(intact)))
    changed = intact[:begin] + bytes(byte ^ 0xFF for byte in intact[begin:end]) + intact[end:]
    behind = written([*payloads, b"intact"])[len(intact) :]
    assert segment.measure(changed + behind, 1) == (len(payloads) + 2, len(changed + behind))


@quick
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.data())
def test_a_damaged_segment_that_was_being_written_is_counted_without_the_torn_record(payloads, data):
    intact = written(payloads)
    bit = data.draw(st.integers(0, len(intact) * 8 - 1))
    torn = written([*payloads, b"torn"])[len(intact) : -1]
    kept = torn[: data.draw(st.integers(0, len(torn)))]
    assert segment.measure(flipped(intact, bit) + kept, 1)[0] == len(payloads) + 1


def filled(root, payloads):
    """The segments, several of them, that a spill's owner left at its death."""
    with spilling(root) as spill:
        for payload in payloads:
            spill.append([payload])
    return sorted((root / "binance/0").glob("*.seg"))


def a_cut_costs_what_it_cuts_and_nothing_else(root, cut):
    last = filled(root, PAYLOADS)[-1]
    before = PAYLOADS[: int(last.stem) - 1]
    kept = PAYLOADS[: len(before) + whole(PAYLOADS[len(before) :], cut)]
    last.write_bytes(last.read_bytes()[:cut])
    for more in (b"more", b"and more"):
        with spilling(root) as spill:
            spill.append([more])
    with spilling(root) as spill:
        assert (drained(spill), spill.take_losses()) == (numbered([*kept, b"more", b"and more"]), [])


def test_wherever_the_last_segment_is_cut_its_whole_records_come_out_and_new_ones_behind_them(tmp_path):
    size = filled(tmp_path / "whole", PAYLOADS)[-1].stat().st_size
    for cut in range(size + 1):
        a_cut_costs_what_it_cuts_and_nothing_else(tmp_path / str(cut), cut)


def test_without_the_cutting_of_a_torn_tail_new_records_would_be_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "truncate", lambda path, size: None)
    with pytest.raises(AssertionError):
        a_cut_costs_what_it_cuts_and_nothing_else(tmp_path, 5)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=9), st.data())
def test_a_changed_bit_costs_the_rest_of_its_segment_and_the_loss_is_told_exactly(payloads, data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        paths = filled(root, payloads)
        confirmed = data.draw(st.integers(0, len(payloads)))
        with spilling(root) as spill:
            drained(spill)
            spill.confirm(confirmed)
        segments = pairwise([*(int(path.stem) for path in paths), len(payloads) + 1])
        path, (first, behind) = data.draw(st.sampled_from(list(zip(paths, segments, strict=True))))
        lost = range(0)
        if path.exists():
            bit = data.draw(st.integers(0, path.stat().st_size * 8 - 1))
            path.write_bytes(flipped(path.read_bytes(), bit))
            damaged = first + whole(payloads[first - 1 : behind - 1], bit // 8)
            lost = range(max(damaged, confirmed + 1), behind)
        kept = [record for record in numbered(payloads)[confirmed:] if record[0] not in lost]
        for _ in range(2):  # as long as nothing behind it is confirmed, it is told at each start
            with spilling(root) as spill:
                assert (drained(spill), spill.take_losses()) == (kept, [lost] if lost else [])


def test_a_damaged_segment_is_kept_and_its_loss_told_until_what_is_behind_it_is_confirmed(tmp_path):
    paths = filled(tmp_path, [b"a" * 40, b"b" * 20, b"c" * 40, b"d" * 40])
    paths[0].write_bytes(flipped(paths[0].read_bytes(), 500))
    with spilling(tmp_path) as spill:
        told = [(drained(spill), spill.take_losses(), spill.take_losses(), spill.depth)]
        spill.confirm(2)
        told.append(([], [], [], spill.depth))
    with spilling(tmp_path) as spill:
        told.append((drained(spill), spill.take_losses(), [], spill.depth))
    c_and_d = [(3, b"c" * 40), (4, b"d" * 40)]
    assert told == [([(1, b"a" * 40), *c_and_d], [range(2, 3)], [], 4), ([], [], [], 2), (c_and_d, [], [], 2)]
    assert paths[0].with_suffix(".bad").exists()


def test_a_loss_is_told_before_what_lies_behind_it(tmp_path):
    paths = filled(tmp_path, [b"a" * 40, b"b" * 20, b"c" * 40])
    paths[0].write_bytes(flipped(paths[0].read_bytes(), 500))
    with spilling(tmp_path) as spill:
        told = [(spill.read(9), spill.take_losses()), (spill.read(9), spill.take_losses())]
    assert told == [([(1, b"a" * 40)], []), ([(3, b"c" * 40)], [range(2, 3)])]


def test_a_segment_that_is_gone_is_a_loss(tmp_path):
    paths = filled(tmp_path, [b"a" * 40, b"b" * 40, b"c" * 40])
    for path in paths[:2]:
        path.unlink()
    with spilling(tmp_path) as spill:
        assert (drained(spill), spill.take_losses()) == ([(3, b"c" * 40)], [range(1, 3)])


def test_a_cursor_beyond_what_a_power_loss_has_left_is_believed(tmp_path):
    with spilling(tmp_path) as spill:
        spill.append([b"a", b"b", b"c"])
        drained(spill)
        spill.confirm(2)
    os.truncate(tmp_path / "binance/0/00000000000000000001.seg", 30)
    with spilling(tmp_path) as spill:
        assert (spill.depth, spill.append([b"d"]), drained(spill)) == (0, range(3, 4), [(3, b"d")])


def test_damage_to_the_segment_that_is_being_written_is_noticed_and_writing_goes_on(tmp_path):
    with spilling(tmp_path) as spill:
        spill.append([b"a", b"b"])
        (path,) = (tmp_path / "binance/0").glob("*.seg")
        path.write_bytes(flipped(path.read_bytes(), 0))
        told = [(drained(spill), spill.take_losses())]
        spill.append([b"c"])
        told.append((drained(spill), spill.take_losses()))
        spill.confirm(3)
        assert (told, spill.depth) == ([([], [range(1, 3)]), ([(3, b"c")], [])], 0)


def test_a_sector_that_cannot_be_read_is_damage(tmp_path, monkeypatch):
    def fails(file, sequence):
        raise OSError(5, os.strerror(5))

    with spilling(tmp_path) as spill:
        spill.append([b"a"])
        with monkeypatch.context() as patch:
            patch.setattr(segment, "read", fails)
            lost = (spill.read(9), spill.take_losses())
        spill.append([b"b"])
        assert (lost, drained(spill)) == (([], [range(1, 2)]), [(2, b"b")])


@quick
@given(st.binary(max_size=200))
@example(bytes(64))
def test_a_file_of_any_bytes_is_opened_and_what_is_appended_then_comes_out(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        slot = root / "binance/0"
        slot.mkdir(parents=True)
        (slot / f"{1:020d}.seg").write_bytes(data)
        with spilling(root) as spill:
            (number,) = spill.append([b"new"])
            records = drained(spill)
            assert (records, spill.take_losses()) == ([(number, b"new")], [range(1, number)] if number > 1 else [])
