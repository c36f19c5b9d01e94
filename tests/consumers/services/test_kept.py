"""What a service keeps: an entry changes it once and is told of once, wherever the process or the line ends."""

import pytest
from msgspec import Struct
from redis.exceptions import RedisError, ResponseError

from consumers.services import kept as keeping
from consumers.services.kept import Kept
from ingest.contract import keys
from tests.consumers.services.scene import bodies, deliver, deliveries, fill, intent, key

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
        count = Count(kept.state.handled + 1)
        await kept.commit(delivery, count, [fill(delivery.entry.s, "buy", str(count.handled), "1")])


async def stands(redis):
    kept = await Kept.open(redis, NAME, Count())
    told = [f.amount for f in await bodies(redis, key("fills"))]
    return kept.state.handled, told, await redis.hkeys(NAME)


class Cut:
    """Redis for a client whose line is cut: before what it asks for is done, or after."""

    def __init__(self, redis, command, *, done):
        self.redis, self.command, self.done, self.is_cut = redis, command, done, False

    def __getattr__(self, name):
        return getattr(self.redis, name)

    async def hdel(self, *words):
        return await self._ask("hdel", lambda: self.redis.hdel(*words))

    async def _ask(self, command, do):
        if self.command != command or self.is_cut:
            return await do()
        self.is_cut = True
        if self.done:
            await do()
        raise RedisError("the line is cut")


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("step", ["commit", "append", "hdel"])
async def test_wherever_the_line_is_cut_all_is_done_once(redis, monkeypatch, step, done):
    cut = Cut(redis, step, done=done)
    real = keeping.append

    async def append(_, events, **more):
        return await cut._ask("append", lambda: real(redis, events, **more))

    monkeypatch.setattr(keeping, "append", append)
    await real(redis, [intent("a")])
    (first,) = await deliveries(redis, key("intents"), "count")
    owner, commit = first._holder, first._holder.commit
    owner.commit = lambda entry, commands: cut._ask("commit", lambda: commit(entry, commands))
    with pytest.raises(RedisError):
        await Counts(cut).handle(first)
    await Counts(redis).handle(first)
    await deliver(redis, Counts(redis), intent("b"))
    assert await stands(redis) == (2, ["1", "2"], [b"state"])


async def test_what_is_refused_changes_nothing(redis):
    await redis.set("a text{binance}", "x")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await deliver(redis, _Refused(redis), intent("a"))
    assert await stands(redis) == (0, [], [])


class _Refused(Counts):
    async def handle(self, delivery):
        kept = await Kept.open(self.redis, NAME, Count())
        unless = [("HLEN", "a text{binance}")]
        await kept.commit(delivery, Count(1), [fill("f", "buy", "1", "1")], unless)


async def test_what_is_new_says_so(redis):
    before = await Kept.open(redis, NAME, Count())
    await deliver(redis, Counts(redis), intent("a"))
    assert (before.is_new, (await Kept.open(redis, NAME, Count())).is_new) == (True, False)
