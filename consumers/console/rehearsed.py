"""`consume run bot --replay`: what came of it, as lines."""

import json

import msgspec

from consumers.services.accounting import plain
from consumers.services.rehearsal import Rehearsal
from ingest.contract.events import Event, Fill


def as_json(event: Event) -> str:
    """For a program."""
    return json.dumps(
        {
            "exchange": event.key.exchange,
            "channel": event.key.channel,
            "symbol": event.key.symbol,
            "s": event.s,
            "data": msgspec.to_builtins(event.body),
        }
    )


def as_line(event: Event, fill: Fill, rehearsal: Rehearsal) -> str:
    """A fill, for a person, and how things stand with it."""
    key, position = event.key, rehearsal.markets[event.key.exchange, event.key.symbol].position
    result = rehearsal.results.get(position.quote)
    fees = " ".join(f"{fee} {currency}" for currency, fee in fill.fees)
    return (
        f"{key.exchange:<8} {key.symbol:<10} {fill.side:<4} {fill.amount} at {fill.price}  fees {fees}  "
        f"holds {plain(position.quantity)}  pnl {plain(result.pnl) if result else '0'} {position.quote}"
    )


def outcome(rehearsal: Rehearsal) -> list[str]:
    """What it came to in all."""
    lines = [f"{rehearsal.intents} intents, {rehearsal.rejected} of them rejected, {rehearsal.fills} fills"]
    for (exchange, symbol), market in sorted(rehearsal.markets.items()):
        if market.position.fills:
            held, pnl = plain(market.position.quantity), plain(market.pnl)
            lines.append(f"{exchange} {symbol}: holds {held}, pnl {pnl} {market.position.quote}")
    lines += [
        f"in all: pnl {plain(result.pnl)} {currency}, drawdown {plain(result.drawdown)} {currency}"
        for currency, result in sorted(rehearsal.results.items())
    ]
    return lines
