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
from ingest.retention import Janitor
from ingest.simulator import ledger as ledgers
from ingest.simulator.ledger import Ledger

KEY = StreamKey("binance", "trades", "BTC/USDT")
NOW_NS = 1_800_000_000_000_000_000
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
    """What the report says of the stream that is not nothing, and not so of every sound stream."""
    (stream,) = report.streams
    usual = {"oldest_n": 1, "generations": 1}
    said = structs.asdict(stream).items()
    return {n: value for n, value in said if value and n not in ("key", "examples", "g") and usual.get(n) != value}


async def trim(redis: Redis) -> None:
    """As the janitor does it: what nobody needs, however young."""
    await Janitor(redis, owner="one", keep_s=0).round()


async def test_an_empty_bus_is_balanced(redis: Redis):
    assert await audit(redis, [], NOW_NS) == Report((), ())


async def test_a_bus_that_holds_all_that_was_emitted_is_balanced(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=7, acked=4, counted=4)
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == ({"entries": 10, "emitted": 10, "in_stream": 10}, True)
    assert [structs.asdict(group) for group in report.groups] == [
        {"group": "bot", "key": str(KEY), "written": 10, "trimmed": 0, "effected": 4, "pending": 3, "unread": 3}
        | {"dead": 0, "gone": 0, "untold": 0, "told": 0}
    ]


async def test_without_a_ledger_streams_and_groups_are_still_checked(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    report = await audit(redis, [], NOW_NS)
    assert (found(report), report.balanced) == ({"entries": 10}, True)


async def test_registered_gaps_are_read(redis: Redis, ledger: Path):
    lost = Event(KEY, "session.1", Gap(reason="away", first_id="103", last_id="107"), "gap", "103-107")
    await append(redis, *map(trade, range(100, 103)), lost, *map(trade, (108, 109)))
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == (
        {"entries": 6, "gaps": 1, "ids_lost": 5, "emitted": 10, "in_stream": 5, "in_gaps": 5},
        True,
    )


async def test_a_missing_trade_unbalances(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    entries = await redis.xrange(str(KEY))
    await redis.xdel(str(KEY), entries[4][0])
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == (
        {"entries": 9, "breaks": 1, "removed": 1, "holes": 1, "emitted": 10, "in_stream": 9, "unaccounted": 1},
        False,
    )


async def test_a_stream_that_was_never_written_unbalances(redis: Redis, ledger: Path):
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == (
        {"emitted": 10, "unaccounted": 10, "unprovable": "empty"},
        False,
    )


async def rewrite(redis: Redis, number: int, **changes: object) -> None:
    """One more entry behind those there are, as no script of ours would write it."""
    event = trade(number)
    n = await redis.xlen(str(KEY)) + 1
    data = encode(structs.replace(event.body, **changes))
    await redis.xadd(str(KEY), {"v": "1", "type": "trade", "n": n, "g": "g1", "s": event.s, "data": data})


async def test_a_duplicate_unbalances(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    await rewrite(redis, 109)
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == (
        {"entries": 11, "astray": 1, "duplicates": 1, "emitted": 10, "in_stream": 10},
        False,
    )


async def test_an_altered_price_unbalances(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 109)))
    await rewrite(redis, 109, price="61250.2")
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == (
        {"entries": 10, "astray": 1, "differs": 1, "emitted": 10, "in_stream": 10},
        False,
    )


async def test_an_acknowledgement_without_an_effect_unbalances(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=7, acked=4, counted=3)
    report = await audit(redis, [], NOW_NS)
    assert ([group.missing for group in report.groups], report.balanced) == ([1], False)


async def test_an_effect_counted_twice_unbalances(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=10, acked=10, counted=11)
    report = await audit(redis, [], NOW_NS)
    assert ([group.missing for group in report.groups], report.balanced) == ([-1], False)


async def test_a_group_that_has_not_come_yet_has_all_unread(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await redis.hset(keys.groups("binance"), "bot", "trades")
    report = await audit(redis, [], NOW_NS)
    assert ([(group.unread, group.missing) for group in report.groups], report.balanced) == ([(10, 0)], True)


async def test_only_the_streams_that_a_group_needs_are_asked_of_it(redis: Redis):
    intent = structs.replace(trade(1), key=INTENTS, rule="window", first="")
    await append(redis, *map(trade, range(100, 110)), intent)
    await consume(redis, read=10, acked=10, counted=10)
    await redis.hset(keys.groups("binance"), "order", "intents")
    report = await audit(redis, [], NOW_NS)
    assert [(group.group, group.key, group.unread) for group in report.groups] == [
        ("order", str(INTENTS), 1),
        ("bot", str(KEY), 0),
    ]


async def test_what_was_trimmed_is_accounted_for_but_cannot_be_proven_to_a_late_group(redis: Redis, ledger: Path):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=4, acked=4, counted=4, group="early")
    await trim(redis)
    await redis.xreadgroup("early", "one", {str(KEY): ">"}, noack=True)
    await redis.hset(keys.handled("binance", "early"), str(KEY), "g1 10 10")
    await consume(redis, read=6, acked=6, counted=6, group="late")
    report = await audit(redis, [ledger], NOW_NS)
    assert (found(report), report.balanced) == (
        {"entries": 6, "oldest_n": 5, "trimmed": 4, "emitted": 10, "in_stream": 6, "before": 4},
        True,
    )
    assert [(group.group, group.trimmed, group.missing) for group in report.groups] == [("early", 4, 0), ("late", 4, 4)]


async def test_a_janitor_that_overtakes_the_audit_does_not_unbalance_it(redis: Redis):
    class Overtaken(Redis):
        trimmed = False

        async def execute_command(self, *words, **options):
            if words[0] == "XRANGE" and not self.trimmed:
                self.trimmed = True
                await trim(redis)
            return await super().execute_command(*words, **options)

    await append(redis, *map(trade, range(100, 2700)))
    overtaken = Overtaken(connection_pool=redis.connection_pool)
    report = await audit(overtaken, [], NOW_NS)
    assert (overtaken.trimmed, report.streams[0].verdict) == (True, "proven since n=2600")


async def test_long_streams_are_read_page_by_page(redis: Redis):
    await append(redis, *map(trade, range(100, 2700)))
    await consume(redis, read=1, acked=1, counted=1)
    report = await audit(redis, [], NOW_NS)
    assert (report.streams[0].entries, report.groups[0].unread, report.balanced) == (2600, 2599, True)


async def test_what_is_trimmed_by_hand_is_nobodys_to_excuse(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await redis.xtrim(str(KEY), maxlen=6, approximate=False)
    report = await audit(redis, [], NOW_NS)
    assert (found(report), report.balanced) == ({"entries": 6, "oldest_n": 5, "removed": 4}, False)


LOST = Event(KEY, "session.1", Gap(reason="away", first_id="103", last_id="107"), "gap", "103-107")


async def test_a_gap_and_its_late_fill_are_proven_and_a_registry_that_forgets_is_found(redis: Redis):
    await append(redis, *map(trade, range(100, 103)), LOST, *map(trade, (108, 109, 105)))
    sound = await audit(redis, [], NOW_NS)
    await redis.zrem(KEY.gaps, "103-104")
    spoilt = await audit(redis, [], NOW_NS)
    counts = {"entries": 7, "late": 1}
    assert [(each.streams[0].verdict, found(each)) for each in (sound, spoilt)] == [
        ("proven", counts | {"gaps": 2, "ids_lost": 4}),
        ("NOT BALANCED", counts | {"gaps": 1, "ids_lost": 2, "unfounded": 1}),
    ]


async def test_a_lost_state_and_what_begins_without_a_word_behind_it_are_found(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await redis.delete(KEY.state)
    lost = found(await audit(redis, [], NOW_NS))
    await redis.eval(SCRIPT, *batch("g2", [trade(110)]).arguments())
    anew = found(await audit(redis, [], NOW_NS))
    assert (lost, anew) == ({"entries": 10, "astray": 1}, {"entries": 11, "generations": 2, "breaks": 1})


async def test_a_stream_that_was_deleted_alone_is_found_in_all_it_had(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await redis.delete(str(KEY))
    report = await audit(redis, [], NOW_NS)
    assert (found(report), report.balanced) == ({"removed": 10, "unprovable": "empty"}, False)


async def test_the_ledgers_of_several_exchanges_are_one(redis: Redis, ledger: Path, tmp_path: Path):
    other = StreamKey("kraken", "trades", "BTC/USDT")
    with Ledger(tmp_path / "other") as open_ledger:
        open_ledger.write(
            [ledgers.Trade(key=str(other), s="1", first="1", price="1", amount="1", side="buy", exchange_ns=1)]
        )
    await append(redis, *map(trade, range(100, 110)))
    report = await audit(redis, [ledger, tmp_path / "other"], NOW_NS)
    assert [(each.key, each.in_stream, each.unaccounted) for each in report.streams] == [
        (str(KEY), 10, 0),
        (str(other), 0, 1),
    ]


async def test_what_goes_while_it_is_pending_is_not_pending_and_has_to_be_told(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=7, acked=2, counted=2)
    await redis.xtrim(str(KEY), maxlen=5, approximate=False)
    (group,) = (await audit(redis, [], NOW_NS)).groups
    assert (group.pending, group.gone, group.untold, group.missing, group.verdict) == (2, 3, 3, 0, "NOT BALANCED")


async def told(redis: Redis, *words: object) -> None:
    """The janitor has told this, and after an hour or so the oldest of that is trimmed in its turn."""
    record = " ".join(map(str, words))
    status = StreamKey("binance", "status")
    await append(redis, Event(status, record, Gap(reason="x", first_id="1-1", last_id="1-1"), "window"))


@pytest.mark.parametrize("how", ["told", "untold", "parked"])
async def test_a_loss_that_the_janitor_has_told_or_will_tell_is_accounted_for(redis: Redis, how: str):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=3, acked=2, counted=2)
    ids = [entry_id.decode() for entry_id, _ in await redis.xrange(str(KEY))]
    await redis.xtrim(str(KEY), maxlen=5, approximate=False)
    await redis.hset(KEY.retention, "trimmed_n", 5)
    if how == "told":
        await told(redis, "lost", KEY, ids[2], ids[4], 3, "bot")
    elif how == "untold":
        await redis.zadd(keys.untold("binance"), {f"lost {KEY} {ids[2]} {ids[4]} 3 bot": 1})
    else:
        await redis.hset(KEY.retention, "group:bot", f"parked 1 {ids[2]} {ids[4]} 3")
    groups = {group.group: group for group in (await audit(redis, [], NOW_NS)).groups}
    bot = groups["bot"]
    assert (bot.gone, bot.untold, bot.missing, bot.told, bot.verdict) == (1, 0, 2, 2, "balanced")


async def test_what_a_janitor_takes_from_a_group_when_memory_is_short_is_told_and_balances(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=3, acked=2, counted=2)
    await Janitor(redis, owner="one", budget_bytes=1).round()
    report = await audit(redis, [], NOW_NS)
    (bot,) = (group for group in report.groups if group.group == "bot")
    assert (
        (bot.gone, bot.untold, bot.missing, bot.told, bot.verdict),
        [stream.verdict for stream in report.streams],
    ) == ((1, 0, 6, 6, "balanced"), ["not provable: no ids", "proven since n=10"])


async def test_a_cut_that_names_the_group_tells_it_of_what_it_had_in_hand(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=3, acked=2, counted=2)
    ids = [entry_id.decode() for entry_id, _ in await redis.xrange(str(KEY))]
    await redis.xtrim(str(KEY), maxlen=7, approximate=False)
    await told(redis, "trimmed", KEY, ids[0], ids[2], 3, "archive,bot")
    (group,) = (await audit(redis, [], NOW_NS)).groups
    assert (group.gone, group.untold, group.told, group.verdict) == (1, 0, 0, "balanced")


async def test_what_may_have_been_told_before_the_oldest_status_is_not_held_against_anybody(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=3, acked=2, counted=2)
    await redis.xtrim(str(KEY), maxlen=7, approximate=False)
    await told(redis, "lost", "elsewhere", "1-1", "1-1", 1, "bot")
    await told(redis, "lost", "elsewhere", "1-2", "1-2", 1, "bot")
    before = (await audit(redis, [], NOW_NS)).groups
    await redis.xtrim("md:{binance}:status", maxlen=1, approximate=False)
    after = (await audit(redis, [], NOW_NS)).groups
    assert [(group.gone, group.untold) for group in (*before, *after)] == [(1, 1), (1, 0)]


async def test_a_group_of_a_deleted_stream_is_out_of_balance(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=10, acked=10, counted=10)
    await redis.delete(str(KEY))
    assert [group.missing for group in (await audit(redis, [], NOW_NS)).groups] == [-10]


async def test_what_a_group_has_put_among_its_dead_letters_is_answered_for(redis: Redis):
    await append(redis, *map(trade, range(100, 110)))
    await consume(redis, read=7, acked=4, counted=3)
    await redis.hset(keys.buried("binance", "bot"), str(KEY), 1)
    (group,) = (await audit(redis, [], NOW_NS)).groups
    assert (group.effected, group.dead, group.pending, group.unread, group.verdict) == (3, 1, 3, 3, "balanced")
