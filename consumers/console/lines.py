"""An entry as a line: in colours for a person, as JSON for a program. Functions of bytes only."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich.text import Text

from consumers.continuity import Fields
from ingest.contract.codec import unpack
from ingest.contract.keys import StreamKey

_STYLES = {
    "trade": "green",
    "ticker": "cyan",
    "candle": "blue",
    "snapshot": "magenta",
    "delta": "magenta",
    "gap": "bold red",
    "status": "yellow",
    "intent": "bold",
    "order": "bold yellow",
    "fill": "bold green",
    "position": "bold cyan",
}
_GISTS = {
    "trade": "{side} {amount} @ {price}",
    "ticker": "{bid} x {bid_amount} | {ask} x {ask_amount}  last {last}",
    "candle": "o {open} h {high} l {low} c {close} v {volume} closed={closed}",
    "intent": "{account} {bot} {side} {amount} {order_type}",
    "order": "{account} {status} {side} {filled}/{amount} {order_type}",
    "fill": "{account} {side} {amount} @ {price} {liquidity}",
    "position": "{account} {quantity} at {average}, realized {realized}",
}
_LONGEST = 200


class Seen(NamedTuple):
    """An entry as it lies in its stream."""

    key: StreamKey
    id: str
    fields: Fields


def as_json(seen: Seen) -> str:
    """One object: stream, id, the header's fields, `data`; or why the data cannot be read in `unreadable`."""
    return json.dumps(facts(seen), ensure_ascii=False)


def facts(seen: Seen) -> dict[str, Any]:
    """What that object holds."""
    line: dict[str, Any] = {"stream": str(seen.key), "id": seen.id}
    line |= {_text(name): _text(value) for name, value in seen.fields.items() if name != b"data"}
    data, reason = _data(seen.fields)
    return line | ({"data": data} if data is not None else {"unreadable": reason})


def as_line(seen: Seen) -> Text:
    """When it was written in UTC, exchange, channel, symbol, type, identity, and what it is about."""
    kind = _text(seen.fields.get(b"type", b"?"))
    data, reason = _data(seen.fields)
    style = _STYLES.get(kind, "white")
    what = (gist(kind, data), style) if data is not None else (f"unreadable: {reason}", "bold red")
    return Text.assemble(
        (_clock(seen.id), "dim"),
        f"  {seen.key.exchange:<8} {seen.key.channel:<10} {seen.key.symbol:<10} ",
        (f"{kind:<8} ", style),
        (f"s={_text(seen.fields.get(b's', b'?'))}  ", "dim"),
        what,
    )


def gist(kind: str, data: Mapping[str, Any]) -> str:
    """The few fields of an event that a person looks for; of a type that is not known, as many as fit."""
    try:
        if kind in ("snapshot", "delta"):
            return f"bids {_side(data['bids'])} | asks {_side(data['asks'])}"
        if kind in _GISTS:
            return _GISTS[kind].format_map(_Shown(data))
    except (KeyError, IndexError, TypeError):
        pass  # not as the contract has it, but here to be looked at
    return " ".join(f"{name}={value}" for name, value in data.items())[:_LONGEST]


class _Shown(dict[str, Any]):
    """What is unknown is shown as such."""

    def __missing__(self, name: str) -> str:
        return "-"


def _side(levels: list[list[str]]) -> str:
    price, amount = levels[0] if levels else ("-", "-")
    return f"{len(levels):>4} {price} x {amount}"


def _data(fields: Fields) -> tuple[dict[str, Any] | None, str]:
    try:
        return unpack(fields[b"data"]), ""
    except KeyError:
        return None, "no data"
    except ValueError as bad:
        return None, str(bad)[:_LONGEST] or "not MessagePack"


def _text(value: bytes) -> str:
    return value.decode(errors="replace")[:_LONGEST]


def _clock(entry_id: str) -> str:
    milliseconds = int(entry_id.partition("-")[0])
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
