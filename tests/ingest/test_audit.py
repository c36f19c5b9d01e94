"""The audit on a real Redis: streams written by the append script, groups as consumers leave them."""

from pathlib import Path

import pytest
from msgspec import structs
from redis.asyncio import Redis

from ingest.audit import Report, audit
from ingest.contract import keys
from ingest.contract.append import SCRIPT, batch
from ingest.contract.codec import encode
from ingest.contract.events import Event, Gap, Trade
from ingest.contract.keys import StreamKey
from ingest.simulator import ledger as ledgers
from ingest.simulator.ledger import Ledger

KEY = StreamKey("binance", "trades", "BTC/USDT")
INTENTS = StreamKey("binance", "intents", "BTC/USDT")


def trade(number: int) -> Event:
    body = Trade(price="61250.1", amount="0.1", side="buy", exchange_ns=number, received_ns=1)
    return Event(KEY, str(number), body, "dense", str(number))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Trades 100 to 109."""
    with Ledger(tmp_path / "ledger") as open_ledger:
        open_ledger.write(
            [
                ledgers.Trade(
                    key=str(KEY), s=str(n), first=str(n), price="61250.1", amount="0.1", side="buy", exchange_ns=n
                )
                for n in range(100, 110)
            ]
        )
    return tmp_path / "ledger"


async def append(redis: Redis, *events: Event) -> None:
    await redis.sadd(keys.EXCHANGES, "binance")
    await redis.eval(SCRIPT, *batch("g1", events).arguments())


async def consume(redis: Redis, read: int, acked: int, counted: int, group: str = "bot") -> None:
    """A group that was given so many entries, has acknowledged so many, and counts so many as handled."""
    await redis.hset(keys.groups("binance"), group, "ticker trades")
    await redis.xgroup_create(str(KEY), group, "0")
    ((_, entries),) = await redis.xreadgroup(group, "one", {str(KEY): ">"}, count=read)
    if acked:
        await redis.xack(str(KEY), group, *(entry_id for entry_id, _ in entries[:acked]))
    await redis.hset(keys.handled("binance", group), str(KEY), f"g1 {acked} {counted}")


def found(report: Report) -> dict[str, object]:
    """What the report says of the stream that is not nothing."""
    (stream,) = report.streams
    return {name: value for name, value in structs.asdict(stream).items() if value and name not in ("key", "examples")}


async def test_an_empty_bus_is_balanced(redis: Redis):
    assert await audit(redis, None) == Report((), ())


async def test_a_bus_that_holds_all_that_was_emitted_is_balanced(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=7, acked=4, counted=4)
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == ({"entries": 10, "emitted": 10, "in_stream": 10}, True)
    assert [structs.asdict(group) for group in report.groups] == [
        {"group": "bot", "key": str(KEY), "written": 10, "trimmed": 0, "effected": 4, "pending": 3, "unread": 3}
    ]


async def test_without_a_ledger_streams_and_groups_are_still_checked(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    report = await audit(redis, None)
    assert (found(report), report.balanced) == ({"entries": 10}, True)


async def test_registered_gaps_are_read(redis: Redis, ledger: Path):
    lost = Event(KEY, "session.1", Gap(reason="away", first_id="103", last_id="107"), "gap", "103-107")
    await append(redis, *map(trade, range(100, 103)), lost, *map(trade, (108, 109)))
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == (
        {"entries": 6, "gaps": 1, "emitted": 10, "in_stream": 5, "in_gaps": 5},
        True,
    )


async def test_a_missing_trade_unbalances(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    entries = await redis.xrange(str(KEY))
    await redis.xdel(str(KEY), entries[4][0])
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == (
        {"entries": 9, "breaks": 1, "emitted": 10, "in_stream": 9, "unaccounted": 1},
        False,
    )


async def test_a_stream_that_was_never_written_unbalances(redis: Redis, ledger: Path):
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == ({"emitted": 10, "unaccounted": 10}, False)


async def rewrite(redis: Redis, number: int, **changes: object) -> None:
    """One more entry behind those there are, as no script of ours would write it."""
    event = trade(number)
    n = await redis.xlen(str(KEY)) + 1
    data = encode(structs.replace(event.body, **changes))
    await redis.xadd(str(KEY), {"v": "1", "type": "trade", "n": n, "g": "g1", "s": event.s, "data": data})


async def test_a_duplicate_unbalances(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    await rewrite(redis, 109)
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == (
        {"entries": 11, "duplicates": 1, "emitted": 10, "in_stream": 10},
        False,
    )


async def test_an_altered_price_unbalances(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 109)))
    await rewrite(redis, 109, price="61250.2")
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == ({"entries": 10, "differs": 1, "emitted": 10, "in_stream": 10}, False)


async def test_an_acknowledgement_without_an_effect_unbalances(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=7, acked=4, counted=3)
    report = await audit(redis, None)
    assert ([group.missing for group in report.groups], report.balanced) == ([1], False)


async def test_an_effect_counted_twice_unbalances(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=10, acked=10, counted=11)
    report = await audit(redis, None)
    assert ([group.missing for group in report.groups], report.balanced) == ([-1], False)


async def test_a_group_that_has_not_come_yet_has_all_unread(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await redis.hset(keys.groups("binance"), "bot", "trades")
    report = await audit(redis, None)
    assert ([(group.unread, group.missing) for group in report.groups], report.balanced) == ([(10, 0)], True)


async def test_only_the_streams_that_a_group_needs_are_asked_of_it(redis: Redis):
    intent = structs.replace(trade(1), key=INTENTS, rule="window", first="")
    await append(redis, *map(trade, range(100, 110)), intent)
    await consume(redis, read=10, acked=10, counted=10)
    await redis.hset(keys.groups("binance"), "order", "intents")
    report = await audit(redis, None)
    assert [(group.group, group.key, group.unread) for group in report.groups] == [
        ("order", str(INTENTS), 1),
        ("bot", str(KEY), 0),
    ]


async def test_what_was_trimmed_is_accounted_for_but_cannot_be_proven_to_a_late_group(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=10, acked=10, counted=10, group="early")
    await redis.xtrim(str(KEY), maxlen=6, approximate=False)
    await consume(redis, read=6, acked=6, counted=6, group="late")
    report = await audit(redis, ledger)
    assert (found(report), report.balanced) == (
        {"entries": 6, "emitted": 10, "in_stream": 6, "before": 4},
        True,
    )
    assert [(group.group, group.trimmed, group.missing) for group in report.groups] == [("early", 4, 0), ("late", 4, 4)]


async def test_long_streams_are_read_page_by_page(redis: Redis):
    await append(redis, *map(trade, range(100, 2700)))
    await consume(redis, read=1, acked=1, counted=1)
    report = await audit(redis, None)
    assert (report.streams[0].entries, report.groups[0].unread, report.balanced) == (2600, 2599, True)
