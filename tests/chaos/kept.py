"""What came of a soak: verdicts, availability, delivery, and how far behind the streams were; and all that in words."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from redis.asyncio import Redis

from ingest.contract.codec import Entry, decode
from ingest.contract.events import Status
from ingest.contract.keys import StreamKey
from ingest.simulator.bars import INTERVALS
from ingest.simulator.ledger import Candle, Change
from tests.chaos.chronicle import Chronicle
from tests.chaos.oracle import ANEW, Verdict
from tests.chaos.venues import Stage, Venue
from tests.ingest.exchanges.facts import FACTS
from tests.ingest.exchanges.judging import judged
from tests.ingest.exchanges.lives import Lives

Of = tuple[str, str]
"""An exchange and a channel."""


class Kept(Struct, frozen=True):
    """How it went."""

    faults: Counter[str]
    available: dict[tuple[str, str], float]
    """By exchange and channel, the share of moments in which a stream had said something of late."""
    outages_s: tuple[float, ...]
    """Of each time that a connection was lost and came back, how long that took."""
    lost_for_good: int
    delivered: dict[tuple[str, str], tuple[int, int]]
    """How many events were emitted, and how many of them are in the streams; where they have names.

    Of a candle that grows, one state is said each quarter of a second, so that only closed ones are counted.
    """
    behind_ms: dict[str, tuple[float, ...]]
    """By exchange, how long what was received was on its way into the stream: half of it, 99 %, and all."""
    per_second: dict[str, float]
    """By exchange, entries written."""
    verdicts: tuple[Verdict, ...]
    troubles: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not (self.troubles or self.lost_for_good) and all(verdict.good for verdict in self.verdicts)


class _Stream(Struct, frozen=True):
    """What came of one."""

    verdict: Verdict
    emitted: int
    """Events with names."""
    delivered: int
    """How many of them are there."""
    late_ms: list[float]
    """Of each entry, how long it was on its way from the socket."""


async def keep(stage: Stage, faults: Counter[str], available: Mapping[StreamKey, float], lasted_s: float) -> Kept:
    """How a soak went that took so long."""
    streams: dict[StreamKey, _Stream] = {}
    outages_s: list[float] = []
    lost = 0
    async with stage.redis() as redis:
        for venue in stage.venues:
            truth = await asyncio.to_thread(venue.truth)
            streams |= {key: await _judge(redis, key, truth) for key in venue.keys}
            back_s, gone = outages(await _states(redis, venue))
            outages_s += back_s
            lost += gone
    of: dict[Of, list[StreamKey]] = defaultdict(list)
    late_ms: dict[str, list[float]] = defaultdict(list)
    for key, stream in streams.items():
        of[key.exchange, key.channel].append(key)
        late_ms[key.exchange] += stream.late_ms
    return Kept(
        faults=faults,
        available={each: sum(map(available.__getitem__, keys)) / len(keys) for each, keys in of.items()},
        outages_s=tuple(outages_s),
        lost_for_good=lost,
        delivered={
            each: (sum(streams[key].emitted for key in keys), sum(streams[key].delivered for key in keys))
            for each, keys in of.items()
        },
        behind_ms={name: _shares(sorted(ages)) for name, ages in late_ms.items()},
        per_second={name: len(ages) / lasted_s for name, ages in late_ms.items()},
        verdicts=tuple([stream.verdict for stream in streams.values()]),
        troubles=tuple(stage.troubles),
    )


async def _judge(redis: Redis, key: StreamKey, truth: Lives) -> _Stream:
    past = await Chronicle([key]).past(redis, key)
    emitted = [event for life in truth.lives for event in life.emitted[str(key)]]
    verdict = await asyncio.to_thread(judged, key, past, truth.lives, truth.struck, _closed(key, emitted))
    entries = [decode(*raw) for chapter in past.chapters for raw in chapter.entries]
    coarse = FACTS[key.exchange].coarse_tickers and key.channel == "ticker"
    end = -3 if coarse else None  # by these we tell those of one microsecond apart
    there = {ANEW.sub("", entry.s)[:end] for entry in entries}
    named = [event.s[:end] for event in emitted if not (isinstance(event, Change) or _grows(event))]
    return _Stream(verdict, len(named), sum(s in there for s in named), [*_late_ms(entries)])


def _grows(event: object) -> bool:
    return isinstance(event, Candle) and not event.closed


def _late_ms(entries: Iterable[Entry]) -> Iterable[float]:
    for entry in entries:
        received_ns = getattr(entry.event, "received_ns", None)
        if received_ns and not getattr(entry.event, "backfilled", None):
            yield int(entry.id.partition("-")[0]) - received_ns / 1e6


def _shares(ages: Sequence[float]) -> tuple[float, ...]:
    return tuple(ages[int(share * (len(ages) - 1))] for share in (0.5, 0.99, 1))


def _closed(key: StreamKey, emitted: Iterable[object]) -> list[Candle]:
    """Those that can be expected to be there: the exchange went away soon after."""
    candles = [event for event in emitted if isinstance(event, Candle)]
    length_ns = INTERVALS[key.interval or ""] if candles else 0
    last_ns = max((each.open_ns + length_ns * each.closed for each in candles), default=0)
    within_ns = length_ns + int(FACTS[key.exchange].closes_within_s * 1e9)
    return [each for each in candles if each.closed and each.open_ns + within_ns <= last_ns]


async def _states(redis: Redis, venue: Venue) -> list[tuple[int, Status]]:
    entries = [decode(*raw) for raw in await redis.xrange(str(StreamKey(venue.name, "status")))]
    return [(int(e.id.partition("-")[0]), e.event) for e in entries if isinstance(e.event, Status)]


def outages(states: Sequence[tuple[int, Status]]) -> tuple[tuple[float, ...], int]:
    """How long each took, in seconds, and how many never ended; what was asked to end is no outage."""
    since_ms: dict[str | None, int] = {}
    lasted = []
    for at_ms, status in states:
        if status.state == "RECONNECTING":
            since_ms.setdefault(status.connection, at_ms)
        elif status.state == "CONNECTED" and status.connection in since_ms:
            lasted.append((at_ms - since_ms.pop(status.connection)) / 1000)
        elif status.state == "DISCONNECTED":
            since_ms.pop(status.connection, None)
    return tuple(lasted), len(since_ms)


def report(kept: Kept) -> str:
    """Availability and delivery by channel, reconnects, and what is wrong in words."""
    struck = ", ".join(f"{count} {kind}" for kind, count in sorted(kept.faults.items()))
    lines = [f"{kept.faults.total()} faults: {struck}", ""]
    columns = ("available", "emitted", "delivered", "", "gaps", "unaccounted")
    lines.append(f"{'':22}" + "".join(f"{column:>12}" for column in columns))
    for (exchange, channel), (emitted, came) in kept.delivered.items():
        verdicts = [verdict for verdict in kept.verdicts if f"{{{exchange}}}:{channel}:" in verdict.key]
        gaps = sum(verdict.gaps for verdict in verdicts)
        wrong = sum(v.lost + v.doubled + v.inverted + v.unfounded + v.wrong for v in verdicts)
        known = (emitted, came, f"{came / emitted:.3%}") if emitted else ("", "", "by content")
        cells = (f"{kept.available[exchange, channel]:.2%}", *known, gaps, wrong)
        lines.append(f"{exchange + ' ' + channel:22}" + "".join(f"{cell:>12}" for cell in cells))
    lines.append("")
    for exchange, (half, most, longest) in kept.behind_ms.items():
        times = f"half within {half:.0f} ms, 99 % within {most:.0f} ms, all within {longest:.0f} ms"
        lines.append(f"{exchange}: {kept.per_second[exchange]:.0f} entries/s, from the socket to the stream {times}")
    back, worst = len(kept.outages_s), max(kept.outages_s, default=0.0)
    median = sorted(kept.outages_s)[back // 2] if back else 0.0
    share = back / (back + kept.lost_for_good) if back else 1.0
    times = f"median {median:.2f} s, longest {worst:.2f} s"
    lines.append(f"reconnects: {back} of {back + kept.lost_for_good} ({share:.1%}), {times}")
    lines += [f"  {verdict.key}: {words}" for verdict in kept.verdicts for words in verdict.words]
    lines += [f"  {trouble}" for trouble in kept.troubles]
    return "\n".join([*lines, "everything is accounted for" if kept.good else "NOT ACCOUNTED FOR"])
