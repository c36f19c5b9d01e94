import contextlib
import errno
import os
import resource
from pathlib import Path

import pytest

import ingest.spill
from ingest.spill import CannotSpill, Full, adopt, open_spill, slot, syncer
from tests.eventually import eventually
from tests.ingest.spilling import CAP_BYTES, drained, spilling


@pytest.fixture
def root(tmp_path):
    return tmp_path / "spill"


@contextlib.contextmanager
def no_file_beyond(size):
    """As if the disk were full there: a write that goes beyond is cut short, and the next one refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_appended_is_read_in_order_and_once(root):
    with spilling(root) as spill:
        numbers = [spill.append([b"a", b"b"]), spill.append([]), spill.append([b""])]
        reads = [spill.read(2), spill.read(2), spill.read(2)]
    assert (numbers, reads) == ([range(1, 3), range(3, 3), range(3, 4)], [[(1, b"a"), (2, b"b")], [(3, b"")], []])


def test_a_read_ends_where_enough_bytes_are_read(root, monkeypatch):
    monkeypatch.setattr(ingest.spill, "READ_BYTES", 3)
    with spilling(root) as spill:
        spill.append([b"12", b"34", b"56"])
        reads = [spill.read(9), spill.read(0), spill.read(9)]
    assert reads == [[(1, b"12"), (2, b"34")], [], [(3, b"56")]]


def test_what_was_read_and_not_confirmed_comes_again_after_a_start(root):
    with spilling(root) as spill:
        spill.append([b"a", b"b", b"c"])
        spill.read(3)
        spill.confirm(1)
        spill.confirm(1)
    with spilling(root) as spill:
        depth = spill.depth
        assert (depth, spill.append([b"d"]), drained(spill)) == (2, range(4, 5), [(2, b"b"), (3, b"c"), (4, b"d")])


def test_what_was_not_read_cannot_be_confirmed(root):
    with spilling(root) as spill:
        spill.append([b"a", b"b"])
        spill.read(1)
        with pytest.raises(ValueError, match="record 2 is not read yet"):
            spill.confirm(2)


def test_segments_go_once_everything_in_them_is_confirmed(root, monkeypatch):
    monkeypatch.setattr(ingest.spill, "SEGMENT_BYTES", 50)
    with spilling(root) as spill:
        for payload in (b"1", b"2", b"3", b"4", b"5"):
            spill.append([payload])
        drained(spill)
        spill.confirm(3)
        after_three = names(root / "binance/0")
        drained(spill)
        spill.confirm(5)
        spill.append([b"6"])
        assert (after_three, names(root / "binance/0"), spill.size_bytes) == (
            ["00000000000000000003.cursor", "00000000000000000003.seg", "00000000000000000005.seg"],
            ["00000000000000000005.cursor", "00000000000000000006.seg"],
            21,
        )


def test_a_batch_that_exceeds_the_cap_is_refused_whole_and_what_is_drained_makes_room(root):
    with spilling(root, cap_bytes=100) as spill:
        spill.append([bytes(60)])
        with pytest.raises(Full, match="binance/0: the cap of 100 bytes"):
            spill.append([b"", b""])
        refused = (spill.depth, spill.size_bytes)
        drained(spill)
        spill.confirm(1)
        assert (refused, spill.append([b"", b""]), drained(spill)) == ((1, 80), range(2, 4), [(2, b""), (3, b"")])


@pytest.mark.parametrize("room", [0, 1, 21, 30])
def test_a_full_disk_leaves_everything_as_it_was(root, room):
    with spilling(root) as spill:
        spill.append([b"a"])
        with no_file_beyond(spill.size_bytes + room), pytest.raises(Full, match=r"binance/0: .*; make room there"):
            spill.append([b"b", b"c"])
        refused = (spill.depth, spill.size_bytes, (root / "binance/0/00000000000000000001.seg").stat().st_size)
        assert (refused, spill.append([b"d"]), drained(spill)) == ((1, 21, 21), range(2, 3), [(1, b"a"), (2, b"d")])


def test_what_is_spilled_can_be_read_and_confirmed_while_the_disk_is_full(root):
    with spilling(root) as spill:
        spill.append([b"a", b"b"])
        with no_file_beyond(0):
            read = drained(spill)
            spill.confirm(2)
        assert (read, spill.depth) == ([(1, b"a"), (2, b"b")], 0)


def test_half_a_batch_that_cannot_be_cut_off_ends_the_appending_but_not_the_reading(root, monkeypatch):
    def fails(descriptor, size):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    spill = open_spill(root, "binance", cap_bytes=CAP_BYTES)
    spill.append([b"a"])
    with monkeypatch.context() as patch, no_file_beyond(spill.size_bytes + 30):
        patch.setattr(os, "ftruncate", fails)
        with pytest.raises(CannotSpill, match="Input/output error"):
            spill.append([b"b", b"c"])
    for fails_now in (lambda: spill.append([b"d"]), spill.close):
        with pytest.raises(CannotSpill, match=r"binance/0: .*; check the disk"):
            fails_now()
    with spilling(root) as spill:
        spill.append([b"e"])
        assert (drained(spill), spill.take_losses()) == ([(1, b"a"), (2, b"b"), (3, b"e")], [])


async def test_what_is_written_is_on_disk_soon_and_after_a_start_at_once(root):
    with spilling(root) as spill:
        spill.append([b"a", b"b"])
        await eventually(lambda: spill.durable == 2)
        spill.append([b"c"])
    closed = spill.durable
    with spilling(root) as spill:
        assert (closed, spill.durable) == (3, 3)


def test_what_a_dead_process_left_is_on_disk_once_the_slot_is_taken(root, monkeypatch):
    with spilling(root) as spill:
        spill.append([b"a"])
    left = [root / "binance/0", *(root / "binance/0").glob("*.seg")]
    synced = set()
    monkeypatch.setattr(slot, "fdatasync", lambda file: synced.add(os.fstat(file).st_ino))
    monkeypatch.setattr(os, "fsync", lambda file: synced.add(os.fstat(file).st_ino))
    with spilling(root):
        assert synced == {path.stat().st_ino for path in left}


def test_what_is_durable_survives_a_power_loss(root, tmp_path, monkeypatch):
    """It leaves the names that the folder had at its last sync, and of each file what it had at its own."""
    fdatasync, fsync = syncer.fdatasync, os.fsync
    folder = root / "binance/0"
    sizes, listings = {}, []

    def sync_file(file):
        before = os.fstat(file)
        fdatasync(file)
        sizes[before.st_ino] = before.st_size

    def sync_folder(descriptor):
        before = names(folder)
        fsync(descriptor)
        listings.append(before)

    monkeypatch.setattr(ingest.spill, "SEGMENT_BYTES", 50_000)
    durable = [0]
    with spilling(root, cap_bytes=1 << 30) as spill, monkeypatch.context() as patch:
        patch.setattr(syncer, "fdatasync", sync_file)
        patch.setattr(os, "fsync", sync_folder)
        for loss in range(1, 6):
            while spill.durable == durable[-1]:
                spill.append([b"a", b"record"] * 5)
            durable.append(spill.durable)
            (tmp_path / f"{loss}/binance/0").mkdir(parents=True)
            for name in listings[-1]:
                size = sizes.get((folder / name).stat().st_ino, 0)
                (tmp_path / f"{loss}/binance/0" / name).write_bytes((folder / name).read_bytes()[:size])
    for loss in range(1, 6):
        with spilling(tmp_path / str(loss), cap_bytes=1 << 30) as spill:
            expected = [(number, (b"record", b"a")[number % 2]) for number in range(1, durable[loss] + 1)]
            assert drained(spill)[: durable[loss]] == expected


async def test_files_are_closed_once_they_are_on_disk(root, monkeypatch):
    def open_files():
        return len(names(Path("/dev/fd")))

    before = open_files()
    monkeypatch.setattr(ingest.spill, "SEGMENT_BYTES", 1)
    with spilling(root) as spill:
        for _ in range(50):
            spill.append([b"a"])
        await eventually(lambda: open_files() == before + 3)
        assert (len(drained(spill)), adopt(root, "binance", cap_bytes=CAP_BYTES)) == (50, None)
        during = open_files()
    assert (during, open_files()) == (before + 3, before)


async def test_a_disk_that_fails_to_sync_is_noticed_by_the_next_append(root, monkeypatch):
    def fails(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def refused():
        with contextlib.suppress(CannotSpill):
            return not spill.append([b"b"])
        return True

    spill = open_spill(root, "binance", cap_bytes=CAP_BYTES)
    monkeypatch.setattr(syncer, "fdatasync", fails)
    spill.append([b"a"])
    await eventually(refused)
    assert spill.durable == 0
    with pytest.raises(CannotSpill, match=r"binance/0: .*Input/output error; check the disk"):
        spill.close()


def test_a_closed_spill_takes_nothing(root):
    spill = open_spill(root, "binance", cap_bytes=CAP_BYTES)
    spill.close()
    with pytest.raises(CannotSpill, match="nothing is synced"):
        spill.append([b"a"])


def test_two_workers_never_share_a_slot(root):
    with spilling(root) as first, spilling(root) as second:
        first.append([b"first"])
        second.append([b"second"])
        assert (drained(first), drained(second)) == ([(1, b"first")], [(1, b"second")])
        assert sorted(path.name for path in (root / "binance").iterdir()) == ["0", "1"]


def test_a_start_takes_the_slot_that_a_dead_worker_left_records_in(root):
    with spilling(root), spilling(root) as second:
        second.append([b"left"])
    with spilling(root) as spill:
        assert drained(spill) == [(1, b"left")]


def test_the_slots_of_the_dead_are_adopted_one_by_one_and_those_of_the_living_are_not(root):
    with spilling(root) as living:
        living.append([b"living"])
        with spilling(root) as one, spilling(root) as two:
            one.append([b"one"])
            two.append([b"two"])
        found = []
        while orphan := adopt(root, "binance", cap_bytes=CAP_BYTES):
            found += drained(orphan)
            orphan.confirm(1)
            orphan.close()
    assert sorted(found) == [(1, b"one"), (1, b"two")]


def test_a_living_worker_adopts_what_its_dead_twin_left(root):
    with spilling(root), contextlib.ExitStack() as twin:
        twin.enter_context(spilling(root)).append([b"a"])
        nothing = adopt(root, "binance", cap_bytes=CAP_BYTES)
        twin.close()
        orphan = adopt(root, "binance", cap_bytes=CAP_BYTES)
        assert (nothing, orphan and drained(orphan)) == (None, [(1, b"a")])
        orphan.close()


def test_each_exchange_has_slots_of_its_own(root):
    with spilling(root) as spill:
        spill.append([b"a"])
    assert adopt(root, "kraken", cap_bytes=CAP_BYTES) is None


def test_a_place_that_is_no_folder_is_named_with_the_remedy(root):
    root.write_text("")
    with pytest.raises(CannotSpill, match=r"spill/binance/0: .*; name a folder on a sound disk"):
        open_spill(root, "binance", cap_bytes=CAP_BYTES)


def test_a_slot_that_could_not_be_opened_can_be_once_it_is_mended(root):
    in_the_way = root / "binance/0/00000000000000000001.seg"
    in_the_way.mkdir(parents=True)
    with pytest.raises(CannotSpill, match=r"Is a directory: .*/binance/0/0{19}1\.seg"):
        open_spill(root, "binance", cap_bytes=CAP_BYTES)
    in_the_way.rmdir()
    with spilling(root):
        assert names(root / "binance") == ["0"]
