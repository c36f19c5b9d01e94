"""Trading under faults: bots, risk, orders and positions as processes, what befalls them by seed, and a verdict.

`python -m tests.chaos.trading_run --seed 1 2 3 --seconds 60`, on every server that is found.

Two simulated exchanges are heard by real workers; two bots of two strategies each, and somebody by hand, trade for
three accounts; risk, order and position are two processes each. All are the real commands, each on a link of its own
that breaks, hangs, loses replies and delivers late; processes are killed, paused and ended, groups destroyed, streams
of trades deleted, the kill switch thrown, and Redis is killed and comes back with its append-only file.

Then a model reads the whole history (tests/consumers/services/judging.py): each intent has one answer, none became
two orders, each order stayed on its diagram, positions are the sums of their fills to the last digit, and are so if
they are rebuilt; at no entry an account could have come to hold more than its limit, and nothing was approved against
another one.

Redis runs with `appendfsync always`: what it has confirmed it has. What it forgets of intents it forgets of all that
followed from them; that is not played here. Entries are kept for a quarter of an hour, which a run must not exceed.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from consumers import letters, stored
from consumers.services.rebuilding import rebuild
from deploy.local_redis import NoRedis, find_servers
from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from tests.chaos import faults
from tests.chaos.faults import Fault
from tests.chaos.scene import NothingFlows
from tests.chaos.trading_hand import trade
from tests.chaos.trading_setting import LIMITS, Setting
from tests.chaos.trading_stage import Stage, staged
from tests.chaos.trading_strikes import FAULTS, STRIKES
from tests.chaos.trials import Trial, carry_out, play_all
from tests.consumers.services.history import Seen, held, history, market_of
from tests.consumers.services.judging import violations

PARTS = 8
_AT_MOST_SAID = 20
_APPROVALS = 30
"""Of each symbol, at least: on a slow machine a run goes on until there are so many."""


class Verdict(Struct, frozen=True):
    """Of one symbol of one exchange; counts of entries."""

    symbol: str
    intents: int
    approved: int
    refused: int
    orders: int
    fills: int
    accounts: int
    wrong: tuple[str, ...]


_COLUMNS = ("intents", "approved", "refused", "orders", "fills", "accounts")


class Outcome(Struct, frozen=True):
    """What came of it."""

    server: str
    faults: Counter[str]
    verdicts: tuple[Verdict, ...]
    troubles: tuple[str, ...]

    @property
    def wrong(self) -> tuple[str, ...]:
        """Of all symbols."""
        return tuple(f"{each.symbol}: {words}" for each in self.verdicts for words in each.wrong)

    @property
    def good(self) -> bool:
        return not self.troubles and not self.wrong


async def play(setting: Setting, plan: Sequence[Fault], seconds: float, folder: Path) -> Outcome:
    """From the first price to the verdict. Raises NoRedis, NothingFlows."""
    async with staged(setting, folder) as stage:
        stopping = asyncio.Event()
        intents = [StreamKey(exchange, "intents", symbol) for exchange, symbol in stage.symbols]
        nowhere = StreamKey(stage.venues[0].name, "intents", "BTC/NOTHING")
        hand = asyncio.create_task(trade(stage.redis, [*intents * 8, nowhere], setting.seed, stopping))
        await stage.flows()
        async with stage.watched([*stage.workers, *stage.services]):
            struck = await carry_out(plan, lambda fault: STRIKES[fault.kind](stage, fault), seconds)
            await stage.approves(_APPROVALS)
        stopping.set()
        await hand
        await stage.rests()
        verdicts = [await _judged(stage, exchange, symbol) for exchange, symbol in await stage.traded()]
        troubles = [*stage.troubles, *await _told(stage)]
        if not all(sum(getattr(each, column) for each in verdicts) for column in _COLUMNS):
            troubles.append("too little was traded to prove anything")
        return Outcome(await _server(stage), struck, tuple(verdicts), tuple(troubles))


async def _judged(stage: Stage, exchange: str, symbol: str) -> Verdict:
    where = stage.redis, exchange, symbol
    seen, kept = await history(*where), await held(*where)
    market = await market_of(*where, stage.killed[exchange])
    wrong = await asyncio.to_thread(violations, seen, LIMITS, market, kept, names=await _names(stage, exchange, symbol))
    rebuilt = await rebuild(stage.redis, StreamKey(exchange, "fills", symbol), time.time_ns())
    wrong += [f"rebuilt, the position of {account} is another one" for account in rebuilt.changed]
    channels = Counter(each.channel for each in seen)
    return Verdict(
        f"{exchange} {symbol}",
        intents=channels["intents"],
        approved=channels["approved"],
        refused=len(_names_of(seen, "intents") - _names_of(seen, "approved")),
        orders=len({each.body.order_id for each in seen if each.channel == "orders"}),
        fills=channels["fills"],
        accounts=len(kept),
        wrong=tuple(wrong),
    )


def _names_of(seen: Sequence[Seen], channel: str) -> set[str]:
    return {each.s for each in seen if each.channel == channel}


async def _names(stage: Stage, exchange: str, symbol: str) -> dict[tuple[str, str], str]:
    """What each trade is called, by stream and entry id, of now and before."""
    key = StreamKey(exchange, "trades", symbol)
    there = {(str(key), entry.id): entry.s async for entry in stored.entries(stage.redis, key, after="0-0")}
    return {**stage.names, **there}


async def _told(stage: Stage) -> list[str]:
    """What services said went wrong: entries given up, fills that nobody knows, strategies that fail."""
    said = [f"a dead letter: {letter}" async for letter in letters.found(stage.redis)]
    for venue in stage.venues:
        async for entry in stored.entries(stage.redis, StreamKey(venue.name, "status"), after="0-0"):
            event = entry.event
            if isinstance(event, Status) and event.state in ("unknown_fill", "strategy_failed", "strategy_halted"):
                said.append(f"{venue.name}: {event.state}: {event.reason}")
    return said


async def _server(stage: Stage) -> str:
    about = await stage.redis.info("server")
    return f"Valkey {about['valkey_version']}" if "valkey_version" in about else f"Redis {about['redis_version']}"


def report(outcome: Outcome) -> str:
    """A line for each symbol, and what is wrong in words."""
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.faults.items()))
    rows = [("", *_COLUMNS, "wrong")]
    rows += [
        (each.symbol, *(str(getattr(each, column)) for column in _COLUMNS), str(len(each.wrong)))
        for each in outcome.verdicts
    ]
    lines = [f"{row[0]:20}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    words = [f"  {each}" for each in (*outcome.wrong[:_AT_MOST_SAID], *outcome.troubles)]
    return "\n".join([f"{outcome.faults.total()} faults: {struck}", *lines, *words])


def _seconds(text: str) -> float:
    """What is older than 15 minutes is trimmed, and cannot be judged."""
    if not 0 < (seconds := float(text)) <= 400:
        raise argparse.ArgumentTypeError(f"{text} seconds: more than 400 cannot be judged")
    return seconds


def main() -> int:
    """The command. Returns 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.trading_run", description="Trading under faults.")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=_seconds, default=60, help="of faults in a run, 400 at most")
    parser.add_argument("--pace", type=float, default=1.0, help="how many times as often")
    parser.add_argument("--server", nargs="+", default=list(find_servers()))
    told = parser.parse_args()

    def trial(server: str, seed: int, folder: Path) -> Trial:
        plan = faults.plan(seed, told.seconds, tuple(FAULTS), PARTS, told.pace, FAULTS)
        (folder / "plan.txt").write_text("\n".join(map(str, plan)))
        outcome = asyncio.run(play(Setting(seed=seed, server=server), plan, told.seconds, folder))
        return Trial(f"{outcome.server}, seed {seed}, {told.seconds:g} s", report(outcome), outcome.good)

    return play_all("trading", told.server, told.seed, trial)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (NoRedis, NothingFlows) as missing:
        sys.exit(str(missing))
