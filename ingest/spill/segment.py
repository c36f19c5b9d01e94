"""The form of a segment file: numbered records, each of which shows by itself whether it is whole."""

import io
from struct import Struct
from typing import BinaryIO
from zlib import crc32

_HEAD = Struct(">QI")  # sequence, length of the payload
_SUMS = Struct(">II")  # of the head, and of head and payload
_HEADER_BYTES = _HEAD.size + _SUMS.size


class Damaged(Exception):
    """Here stands no record as it was written."""


def pack(sequence: int, payload: bytes) -> bytes:
    """One record."""
    head = _HEAD.pack(sequence, len(payload))
    # The head has a sum of its own: otherwise a changed length would pass for a record that was cut off.
    head_sum = crc32(head)
    return head + _SUMS.pack(head_sum, crc32(payload, head_sum)) + payload


def read(file: BinaryIO, sequence: int) -> bytes | None:
    """The payload of the next record, which is this one; None if the file ends before or within it. Raises Damaged."""
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return None
    found, length, head_sum, whole_sum = _header(header, 0)
    if found != sequence:
        raise Damaged
    payload = file.read(length)
    if len(payload) < length:
        return None
    if crc32(payload, head_sum) != whole_sum:
        raise Damaged
    return payload


def measure(data: bytes, first: int) -> tuple[int, int]:
    """The number behind a segment's last record, and where that record ends: what follows was being written.

    Of a damaged segment nothing is cut; its records count up to the last whose header is intact.
    """
    file, sequence, end = io.BytesIO(data), first, 0
    try:
        while read(file, sequence) is not None:
            sequence, end = sequence + 1, file.tell()
    except Damaged:
        return _last(data, end, sequence) + 1, len(data)
    return sequence, end


def _header(data: bytes, at: int) -> tuple[int | None, int, int, int]:
    """Sequence, length and the two sums; no sequence if the head is damaged."""
    sequence, length = _HEAD.unpack_from(data, at)
    head_sum, whole_sum = _SUMS.unpack_from(data, at + _HEAD.size)
    intact = crc32(data[at : at + _HEAD.size]) == head_sum
    return sequence if intact else None, length, head_sum, whole_sum


def _last(data: bytes, damaged: int, sequence: int) -> int:
    """The number of the last record; `damaged` is where a damaged one begins, and `sequence` its number."""
    for at in range(len(data) - _HEADER_BYTES, damaged - 1, -1):
        found, length, _, _ = _header(data, at)
        # What happens to look like a header may stand within a payload.
        if found is not None and sequence <= found <= sequence + (at - damaged) // _HEADER_BYTES:
            torn = at + _HEADER_BYTES + length > len(data)
            return found - 1 if torn else found
    return sequence
