"""What every benchmark is fed: a stretch of a busy Binance, made beforehand by the simulator's own dialect."""

from itertools import count
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from ingest.simulator.bars import SECOND_NS
from ingest.simulator.binance.frames import Listed, Said
from ingest.simulator.binance.rest import Rest
from ingest.simulator.listings import listing
from ingest.simulator.market import Market

SYMBOLS = tuple(f"COIN{number:02}/USDT" for number in range(50))
CHANNELS = ("trades", "ticker", "orderbook")

_START_NS = 1_760_000_000 * SECOND_NS
_STEP_NS = SECOND_NS // 10
_ACTIONS = 27
"""Of the crowd, per symbol and step: enough to change about ten levels a side."""
_ROUND = 12
"""Steps in which each symbol says 12 depth diffs, 6 trades and 2 book tickers.

No candles: of one that grows a state is said four times a second at most, and this is played faster than time.
"""

_encode = msgspec.json.Encoder().encode


class Recording(NamedTuple):
    """REST answers by path and query, as of before the first frame; and the frames, one event each."""

    answers: dict[str, bytes]
    frames: list[bytes]


def record(rounds: int, *, seed: int = 1) -> Recording:
    """So many rounds of 1.2 s of virtual time, 1,000 frames each. The same arguments give the same bytes."""
    market = Market([listing(symbol) for symbol in SYMBOLS], rate=0, seed=seed, start_ns=_START_NS)
    everyone = [Listed(pair) for pair in market.pairs]
    rest = Rest(everyone)
    targets = [target("/api/v3/exchangeInfo", (("showPermissionSets", "false"),))]
    targets += [target("/api/v3/depth", (("symbol", each.native), ("limit", "1000"))) for each in everyone]
    answers = {path: rest.get(path, _START_NS).body for path in targets}
    frames = [_frame(each.ticker_stream, each.ticker(_START_NS)) for each in everyone]
    trade_ids = [count(each.pair.next_trade_id) for each in everyone]
    for step in range(1, rounds * _ROUND + 1):
        now_ns = _START_NS + step * _STEP_NS
        for place, each in enumerate(everyone):
            frames += _say(each, trade_ids[place], (step + place) % _ROUND, now_ns)
    return Recording(answers, frames)


def target(path: str, params: tuple[tuple[str, str], ...]) -> str:
    """A request as it is looked up; the order of its parameters does not count."""
    return f"{path}?{urlencode(sorted(params))}"


def sorted_target(path: str) -> str:
    """The same of what came over a wire."""
    url = urlsplit(path)
    return target(url.path, tuple(parse_qsl(url.query)))


def stream_name(frame: bytes) -> bytes:
    """Which stream a frame is of."""
    return frame[11 : frame.index(b'"', 11)]


def _say(each: Listed, trade_ids: "count[int]", phase: int, now_ns: int) -> list[bytes]:
    if now_ns % SECOND_NS == 0:
        each.pair.bars.roll(now_ns)
    for _ in range(_ACTIONS):
        each.pair.act(now_ns)
    changes = each.pair.book.drain()
    assert changes is not None
    frames = [_frame(each.depth_stream, each.depth(changes, now_ns))]
    if phase in (0, 2, 4, 6, 8, 11):
        # Far more is traded than is said here: the trades that are get ids without holes.
        frames.append(_frame(each.trade_stream, each.trade(each.pair.last._replace(id=next(trade_ids)))))
    if phase in (1, 7):
        frames.append(_frame(each.book_ticker_stream, each.book_ticker(each.pair.book.top())))
    return frames


def _frame(stream: str, said: Said) -> bytes:
    return b'{"stream":"%b","data":%b}' % (stream.encode(), _encode(said[0]))
