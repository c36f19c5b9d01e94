"""What a service keeps: an entry changes it once and is told of once, wherever the process or the line ends."""

import pytest
from msgspec import Struct
from msgspec.structs import replace
from redis.exceptions import RedisError

from consumers.append import append
from consumers.delivery import Fence, Taken
from consumers.services import kept as keeping
from consumers.services.kept import Kept, Killed, Overtaken
from ingest.contract import keys
from tests.consumers.services.scene import bodies, deliver, deliveries, fill, intent, key, trade

NAME = keys.kept("binance", "count", "BTC/USDT")


class Count(Struct, frozen=True):
    handled: int = 0


class Counts:
    """Counts intents, and tells of each by a fill whose amount is the count."""

    name = "count"

    def __init__(self, redis):
        self.redis = redis

    async def handle(self, delivery):
        kept = await Kept.open(self.redis, NAME, Count())
        if kept.has(delivery):
            await kept.finish(delivery)
        else:
            count = Count(kept.state.handled + 1)
            await kept.effect(delivery, count, [fill(delivery.entry.s, "buy", str(count.handled), "1")], while_on=True)


async def stands(redis):
    kept = await Kept.open(redis, NAME, Count())
    told = [f.amount for f in await bodies(redis, key("fills"))]
    return kept.state.handled, told, await redis.hkeys(NAME)


class Cut:
    """A line that is cut once: before what was asked for is done, or after."""

    def __init__(self, step, *, done):
        self.step, self.done = step, done

    async def ask(self, step, do):
        if self.step != step:
            return await do()
        self.step = None
        if self.done:
            await do()
        raise RedisError("the line is cut")


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("step", ["decide", "append", "commit"])
@pytest.mark.parametrize("next_", ["the same again", "another first"])
async def test_wherever_the_line_is_cut_all_is_done_once(redis, monkeypatch, step, done, next_):
    cut, append, decide = Cut(step, done=done), keeping.append, keeping._DECIDE.run
    monkeypatch.setattr(keeping, "append", lambda *args, **more: cut.ask("append", lambda: append(*args, **more)))
    monkeypatch.setattr(keeping._DECIDE, "run", lambda *args: cut.ask("decide", lambda: decide(*args)))
    await append(redis, [intent("a")])
    (first,) = await deliveries(redis, key("intents"), "count")
    commit = first._holder.commit
    first._holder.commit = lambda *args: cut.ask("commit", lambda: commit(*args))
    with pytest.raises(RedisError):
        await Counts(redis).handle(first)
    if next_ == "the same again":
        await Counts(redis).handle(first)
    await deliver(redis, Counts(redis), trade(1, 100))
    await Counts(redis).handle(first)
    await Counts(redis).handle(first)
    handled, told, fields = await stands(redis)
    assert (handled, told, sorted(fields)) == (
        2,
        ["1", "2"],
        [b"at", b"decisions", b"did intents", b"did trades", b"state"],
    )


async def test_more_than_a_stream_remembers_is_told_once_all_the_same(redis, monkeypatch):
    await append(redis, [intent("a")])
    (first,) = await deliveries(redis, key("intents"), "count")
    many = [fill(f"f.{number}", "buy", "1", "1") for number in range(2_001)]
    kept, cut, tell = await Kept.open(redis, NAME, Count()), Cut("append", done=True), keeping.append
    with monkeypatch.context() as broken:
        broken.setattr(keeping, "append", lambda *args, **more: cut.ask("append", lambda: tell(*args, **more)))
        with pytest.raises(RedisError):
            await kept.effect(first, Count(1), many)
    await Counts(redis).handle(first)
    handled, told, _ = await stands(redis)
    assert (handled, len(told)) == (1, 2_001)


async def test_who_knows_less_than_redis_by_now_decides_nothing(redis):
    await append(redis, [intent("a"), intent("b")])
    first, second = await deliveries(redis, key("intents"), "count")
    late = await Kept.open(redis, NAME, Count())
    await Counts(redis).handle(first)
    with pytest.raises(Overtaken):
        await late.effect(second, Count(7), [])
    assert (await stands(redis))[:2] == (1, ["1"])


async def test_what_nothing_follows_from_is_kept_in_one_step_and_once(redis):
    await append(redis, [intent("a")])
    (first,) = await deliveries(redis, key("intents"), "count")
    kept, late = [await Kept.open(redis, NAME, Count()) for _ in range(2)]
    await kept.note(first, Count(1))
    for who in (kept, late):
        with pytest.raises(Overtaken):
            await who.note(first, Count(2))
    assert await stands(redis) == (1, [], [b"state", b"decisions", b"at"])


async def test_nothing_is_decided_while_trading_is_off(redis):
    await redis.set(keys.kill("binance"), "on")
    with pytest.raises(Killed):
        await deliver(redis, Counts(redis), intent("a"))
    assert await stands(redis) == (0, [], [])


async def test_an_ex_owner_decides_nothing(redis):
    await append(redis, [intent("a")])
    (first,) = await deliveries(redis, key("intents"), "count")
    await redis.hset("leases{binance}", "7", "later 9 1 -")
    with pytest.raises(Taken):
        await Counts(redis).handle(replace(first, fence=Fence("leases{binance}", 7, "earlier 8")))
    assert await stands(redis) == (0, [], [])


async def test_what_is_redriven_is_handled_once_and_out_of_its_order(redis):
    await append(redis, [intent("a"), intent("b")])
    first, second = await deliveries(redis, key("intents"), "count")
    await Counts(redis).handle(second)
    again = replace(first, redriven=True)
    for _ in range(2):
        await Counts(redis).handle(again)
    assert (await stands(redis))[:2] == (2, ["1", "2"])


async def test_what_is_new_says_so(redis):
    before = await Kept.open(redis, NAME, Count())
    await deliver(redis, Counts(redis), intent("a"))
    assert (before.is_new, (await Kept.open(redis, NAME, Count())).is_new) == (True, False)
