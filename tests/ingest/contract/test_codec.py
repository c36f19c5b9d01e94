"""Entries both ways, and whatever else may stand where an entry should."""

from contextlib import suppress

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.contract.codec import MAX_BYTES, Entry, UnknownVersion, UnreadableEntry, decode, encode, pairs, unpack
from ingest.contract.events import MAX_LEVELS, Delta, Fill, Snapshot, Trade
from tests.ingest.contract.bodies import ANY, TYPES

TRADE = Trade(price="64000.10", amount="0.5", side="buy", received_ns=7)
LEVEL = ["1", "2"]


def header(kind, data, **changes):
    fields = {b"v": b"1", b"type": kind.encode(), b"n": b"3", b"g": b"a1", b"s": b"9", b"data": data}
    return fields | {name.encode(): value for name, value in changes.items()}


def entry(body, **changes):
    return header(type(body).__name__.lower(), encode(body), **changes)


def present(body):
    """A body as a map, without what is absent."""
    return {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}


def trade(**changes):
    return header("trade", msgpack.packb(present(TRADE) | changes))


def unreadable(fields):
    """Whether decode says so, and keeps the bytes."""
    with pytest.raises(UnreadableEntry) as refusal:
        decode(b"1-0", fields)
    return refusal.value.fields is fields and type(refusal.value) is UnreadableEntry


@given(ANY)
@settings(derandomize=True, max_examples=100)
def test_what_is_written_is_what_is_read(body):
    assert decode(b"1-0", entry(body)) == Entry("1-0", type(body).__name__.lower(), 3, "a1", "9", body)


@given(ANY)
@settings(derandomize=True, max_examples=100)
def test_the_bytes_are_those_of_any_other_messagepack(body):
    assert (encode(body), msgpack.unpackb(encode(body), use_list=False)) == (
        msgpack.packb(present(body)),
        present(body),
    )


def test_there_is_a_name_for_every_type():
    names = ["trade", "ticker", "candle", "snapshot", "delta", "gap", "status", "intent", "order", "fill", "position"]
    assert [kind.__name__.lower() for kind in TYPES] == names


def test_books_carry_their_epoch_and_late_fills_a_mark():
    read = decode(b"1-0", entry(TRADE, epoch=b"4", late=b"1"))
    assert read == Entry("1-0", "trade", 3, "a1", "9", TRADE, epoch=4, late=True)


def test_an_unknown_field_is_ignored():
    nested = {"one": [1, {"two": [None, 2.5, b"3"]}]}
    assert decode(b"1-0", trade(**nested, x=1)).event == TRADE


def test_an_unknown_header_field_is_ignored():
    assert decode(b"1-0", entry(TRADE, later=b"x")).event == TRADE


def test_an_unknown_type_is_an_entry_without_an_event():
    assert decode(b"1-0", header("funding", b"\xc1")) == Entry("1-0", "funding", 3, "a1", "9", None)


@pytest.mark.parametrize("version", [b"2", b"", b"01", b"1\n"])
def test_an_unknown_version_is_an_error_of_its_own(version):
    with pytest.raises(UnknownVersion):
        decode(b"1-0", entry(TRADE, v=version))


@pytest.mark.parametrize("name", ["v", "type", "n", "g", "s", "data"])
def test_a_missing_header_field_is_named(name):
    fields = entry(TRADE)
    del fields[name.encode()]
    with pytest.raises(UnreadableEntry, match=f"'{name}'"):
        decode(b"1-0", fields)


@given(ANY, st.integers(0, 200), st.integers(0, 9), st.binary(max_size=9))
@settings(derandomize=True, max_examples=200)
def test_an_event_with_other_bytes_in_it_is_an_event_or_unreadable(body, place, length, other):
    whole = encode(body)
    place %= len(whole)
    kind = type(body).__name__.lower()
    try:
        read = decode(b"1-0", header(kind, whole[:place] + other + whole[place + length :]))
    except UnreadableEntry:
        return
    assert decode(b"1-0", entry(read.event)) == read


@given(st.dictionaries(st.sampled_from([b"v", b"type", b"n", b"g", b"s", b"data", b"epoch"]), st.binary(max_size=9)))
@settings(derandomize=True, max_examples=200)
def test_any_bytes_as_header_are_an_entry_or_unreadable(fields):
    with suppress(UnreadableEntry):
        decode(b"1-0", entry(TRADE) | fields)


@given(ANY, st.data())
@settings(derandomize=True, max_examples=100)
def test_a_truncated_event_is_unreadable(body, data):
    whole = encode(body)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert unreadable(header(type(body).__name__.lower(), whole[:cut]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x90",
        b"\x80",
        msgpack.packb("trade"),
        encode(TRADE) + b"\x00",
        b"\x81\xa1x\xdd\xff\xff\xff\xff",
        b"\x81\xa1x\xdf\xff\xff\xff\xff",
        b"\x81\xa1x\xdb\xff\xff\xff\xff",
        b"\x81\xa1x\xc6\xff\xff\xff\xff",
        b"\x81\xa1x\xc9\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xa1x" + b"\x91" * 100_000,
        b"\x81\xa1x" + b"\x81\xa1x" * 100_000,
    ],
    ids=lambda data: f"{len(data)} bytes {data[:8].hex()}",
)
def test_bytes_that_promise_more_than_they_hold_are_unreadable(data):
    assert unreadable(header("trade", data))


@pytest.mark.parametrize(
    "changes",
    [
        {"price": 64000},
        {"price": 64000.1},
        {"price": b"64000"},
        {"price": None},
        {"price": msgpack.ExtType(1, b"64000")},
        {"price": ""},
        {"price": "NaN"},
        {"price": "1e309"},
        {"price": "-1"},
        {"price": "1\n"},
        {"price": "١"},
        {"amount": "1_000"},
        {"side": "BUY"},
        {"received_ns": 1.5},
        {"received_ns": "1"},
        {"received_ns": True},
        {"received_ns": None},
        {"backfilled": 1},
    ],
    ids=str,
)
def test_a_field_of_another_type_is_unreadable(changes):
    assert unreadable(trade(**changes))


@pytest.mark.parametrize(
    "level", [["1"], ["1", "2", "3"], ["1", "NaN"], ["1 2", "3"], ["1", ""], ["-1", "2"], [1, 2], "12"]
)
@pytest.mark.parametrize("side", ["bids", "asks"])
def test_a_bad_level_makes_a_book_unreadable(side, level):
    book = {"bids": [LEVEL], "asks": [LEVEL], "received_ns": 1} | {side: [LEVEL, level, LEVEL]}
    assert [unreadable(header(kind, msgpack.packb(book))) for kind in ("snapshot", "delta")] == [True, True]


def test_fees_may_be_negative_and_nothing_else():
    fill = dict.fromkeys(("fill_id", "order_id", "intent_id", "account"), "x") | {
        "side": "buy",
        "price": "1",
        "amount": "1",
        "fees": [["USDT", "-0.1"]],
        "liquidity": "maker",
        "exchange_ns": 1,
        "received_ns": 1,
    }
    read = decode(b"1-0", header("fill", msgpack.packb(fill))).event
    assert (read, unreadable(header("fill", msgpack.packb(fill | {"amount": "-1"})))) == (
        msgspec.convert(fill, Fill),
        True,
    )


def test_a_book_of_fifty_thousand_levels_a_side_is_read_and_no_larger_one():
    widest = [["123456789.12345678", "123456789.12345678"]] * MAX_LEVELS
    book = {"bids": widest, "asks": widest, "received_ns": 1}
    fits = decode(b"1-0", header("snapshot", msgpack.packb(book))).event
    assert (fits, unreadable(header("snapshot", msgpack.packb(book | {"bids": [*widest, LEVEL]})))) == (
        msgspec.convert(book, Snapshot),
        True,
    )


def test_ten_megabytes_are_read_and_more_than_sixteen_are_not():
    assert (decode(b"1-0", trade(x="x" * (10 << 20))).event, unreadable(trade(x="x" * MAX_BYTES))) == (TRADE, True)


def test_a_delta_may_be_empty_on_both_sides():
    assert decode(b"1-0", entry(Delta(bids=(), asks=(), received_ns=1))).event == Delta(bids=(), asks=(), received_ns=1)


def test_a_map_of_a_type_nobody_knows_can_be_shown():
    assert unpack(msgpack.packb({"rate": "0.1", "levels": [["1", "2"]]})) == {"rate": "0.1", "levels": [["1", "2"]]}


@given(st.binary(max_size=60))
@settings(derandomize=True, max_examples=200)
def test_any_bytes_can_be_shown_or_are_a_value_error(data):
    with suppress(ValueError):
        unpack(data)


@pytest.mark.parametrize(
    "value",
    [
        1,
        [1],
        {1: 2},
        {"x": b"bytes"},
        {"x": msgpack.ExtType(1, b"x")},
        {"x": msgpack.Timestamp(1)},
        {"x": "x" * (1 << 16) + "x"},
        {"x": [0] * 50_001},
        {str(i): i for i in range(65)},
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_too_large_or_too_strange_is_not_shown(value):
    with pytest.raises(ValueError):
        unpack(msgpack.packb(value))


def test_nesting_without_end_is_not_shown():
    with pytest.raises(ValueError):
        unpack(b"\x81\xa1x" + b"\x91" * 1_000_000)


def test_redis_lists_names_and_values_in_turn():
    assert pairs([b"v", b"1", b"type", b"trade"]) == {b"v": b"1", b"type": b"trade"}
