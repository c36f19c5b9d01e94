import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from consumers import Reader, connect
from consumers.group import Group, Mark, Part
from ingest.contract import keys
from tests.consumers.producing import BTC, GROUP, entry_id, ids, put, reader, standing, take


@pytest.mark.parametrize(
    "options", [{}, {"protocol": 2}, {"protocol": 3}, *({"protocol": p, "legacy_responses": False} for p in (2, 3))]
)
async def test_every_protocol_that_redis_py_speaks_will_do(redis, redis_server, options):
    await put(redis, BTC, [1, 2])
    client = Redis.from_url(redis_server.url, retry=Retry(NoBackoff(), 0), **options)

    async with reader(client) as trades:
        assert ids(await take(trades, 2)) == [1, 2]
    await client.aclose()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"retry": Retry(NoBackoff(), 3)}, "repeats reads whose reply was lost"),
        ({"decode_responses": True}, "decodes replies"),
        ({"socket_timeout": 0.5}, "socket_timeout must exceed block_ms=500"),
        ({"socket_timeout": None}, "socket_timeout must exceed block_ms=500"),
    ],
)
def test_a_client_that_would_lose_entries_or_hang_is_refused(options, reason):
    client = Redis.from_url("redis://127.0.0.1:1", **{"retry": Retry(NoBackoff(), 0), **options})

    with pytest.raises(ValueError, match=f"{reason}.*consumers.connect"):
        Reader(client, group=GROUP)


def test_the_client_that_redis_py_makes_by_default_is_refused():
    with pytest.raises(ValueError, match="repeats reads whose reply was lost"):
        Reader(Redis(), group=GROUP)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a:b", "x" * 129])
def test_what_can_name_no_group_is_refused(name):
    with pytest.raises(ValueError, match="names no group"):
        Reader(connect("redis://127.0.0.1:1"), group=name)


async def test_a_group_that_is_gone_stands_where_all_is_known_to_be_handled(redis):
    await put(redis, BTC, range(1, 6))
    g = (await redis.hget(BTC.state, "g")).decode()
    third = (await entry_id(redis, BTC, 3)).decode()
    group = Group(redis, GROUP, "me")

    async def stands(handled: str, *, in_order: bool = False) -> tuple[str, str]:
        await redis.hset(keys.handled("binance", GROUP), str(BTC), handled)
        await group.enter("binance", ["trades"], [BTC], in_order=in_order)
        at = (await redis.xinfo_groups(str(BTC)))[0]["last-delivered-id"].decode()
        await redis.xgroup_destroy(str(BTC), GROUP)
        return at, (await redis.hget(keys.handled("binance", GROUP), str(BTC))).decode()

    assert {
        (handled, in_order): await stands(handled, in_order=in_order)
        for handled in (f"{g} 3 3 {third}", f"{g} 3 2 {third}", f"{g} 4 4 {third}", f"other 3 3 {third}", f"{g} 3 3")
        for in_order in (False, True)
    } == {
        (f"{g} 3 3 {third}", False): (third, f"{g} 3 3 {third}"),
        (f"{g} 3 3 {third}", True): (third, f"{g} 3 3 {third}"),
        (f"{g} 3 2 {third}", False): ("0-0", "- 0 0 "),
        (f"{g} 3 2 {third}", True): (third, f"{g} 3 2 {third}"),
        (f"{g} 4 4 {third}", False): ("0-0", "- 0 0 "),
        (f"{g} 4 4 {third}", True): ("0-0", f"{g} 4 0 {third}"),
        (f"other 3 3 {third}", False): ("0-0", "- 0 0 "),
        (f"other 3 3 {third}", True): ("0-0", f"other 3 0 {third}"),
        (f"{g} 3 3", False): ("0-0", "- 0 0 "),
        (f"{g} 3 3", True): ("0-0", f"{g} 3 0 "),
    }


async def test_how_far_a_group_is_is_told_by_the_generation_that_the_stream_is_in(redis):
    await put(redis, BTC, [1])
    await redis.hset(BTC.state, "g", "new")
    group = Group(redis, GROUP, "me")
    await group.enter("binance", ["trades"], [BTC], in_order=False)

    def part(g: str, n: int) -> Part:
        return Part(BTC, [Mark(f"{n}-1", g, n)])

    seen = []
    for parts in (
        [part("old", 8)],
        [part("old", 9), part("new", 1)],
        [part("new", 2), part("old", 9)],
        [part("new", 1)],
    ):
        await group.settle("binance", parts)
        seen.append(await redis.hget(keys.handled("binance", GROUP), str(BTC)))

    assert seen == [b"old 8 0 8-1", b"new 1 0 1-1", b"new 2 0 2-1", b"new 2 0 2-1"]


async def test_a_name_in_the_registry_that_is_no_stream_is_passed_over(redis):
    await put(redis, BTC, [1])
    await redis.sadd(keys.streams("binance"), "nonsense", b"\xff")

    assert await Group(redis, GROUP, "me").streams("binance") == [BTC]


async def test_what_is_settled_twice_counts_once(redis):
    await put(redis, BTC, range(1, 4))
    async with reader(redis) as trades:
        entries = [delivery.entry for delivery in await take(trades, 3)]
    parts = [Part(BTC, [Mark(entry.id, entry.g, entry.n) for entry in entries])]

    assert await Group(redis, GROUP, "me").settle("binance", parts) == [0]
    assert await standing(redis, BTC) == (3, 3, 0)
