from consumers.append import append
from ingest.contract import keys
from ingest.contract.events import Event, Intent
from ingest.contract.keys import StreamKey
from tests.consumers.producing import BTC, ETH, trade

INTENTS = StreamKey("binance", "intents", "BTC/USDT")


def intent(name: str) -> Event:
    body = Intent(
        intent_id=name,
        account="paper",
        bot="bot",
        side="buy",
        order_type="market",
        amount="1",
        decided_ns=1,
        valid_until_ns=2,
    )
    return Event(key=INTENTS, s=name, body=body, rule="window")


async def test_events_are_appended_once_and_the_exchange_is_made_known(redis):
    await redis.script_flush()
    first = await append(redis, [intent("a"), intent("b")])
    again = await append(redis, [intent("b"), intent("c")])

    assert [(done.key, done.n, done.handled, done.appended) for (done,) in (first, again)] == [
        (INTENTS, 2, 2, 2),
        (INTENTS, 3, 2, 1),
    ]
    assert [fields[b"s"] for _, fields in await redis.xrange(str(INTENTS))] == [b"a", b"b", b"c"]
    assert await redis.smembers(keys.EXCHANGES) == {b"binance"}


async def test_what_does_not_join_is_said_per_stream(redis):
    await append(redis, [trade(BTC, 1), trade(ETH, 1)])

    done = await append(redis, [trade(BTC, 3), trade(ETH, 2)])

    assert [(each.key, each.refused, each.n) for each in done] == [(BTC, True, 1), (ETH, False, 2)]
