"""Dead letters as a person, or a program, reads them."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table

from consumers.letters import Letter
from ingest.contract.codec import unpack

_SHOWN = 60


def table(letters: Iterable[Letter]) -> Table:
    """A row each."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in ("exchange", "group", "letter", "when", "stream", "entry", "type", "n", "failed", "reason"):
        shown.add_column(heading, no_wrap=True)
    for each in letters:
        shown.add_row(
            each.exchange,
            each.group,
            each.id,
            _when(each),
            each.stream.partition("}:")[2],
            each.entry_id,
            _text(each, b"type"),
            _text(each, b"n"),
            str(each.failures),
            each.reason[:_SHOWN],
        )
    return shown


def as_json(letter: Letter) -> str:
    """All of it; `data` decoded, or in hexadecimal if it cannot be."""
    return json.dumps(_facts(letter) | {"entry": _entry(letter)}, ensure_ascii=False)


def lines(letter: Letter) -> Iterable[str]:
    """All of it, a line for each fact."""
    for name, value in (*_facts(letter).items(), *_entry(letter).items()):
        yield f"{name:<12}{value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)}"


def _facts(letter: Letter) -> dict[str, Any]:
    return {
        "exchange": letter.exchange,
        "group": letter.group,
        "letter": letter.id,
        "when": _when(letter),
        "stream": letter.stream,
        "id": letter.entry_id,
        "consumer": letter.consumer,
        "failures": letter.failures,
        "deliveries": letter.deliveries,
        "reason": letter.reason,
    }


def _entry(letter: Letter) -> dict[str, Any]:
    said: dict[str, Any] = {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in letter.fields.items()
        if name != b"data"
    }
    data = letter.fields.get(b"data")
    if data is not None:
        try:
            said["data"] = unpack(data)
        except ValueError:
            said["data_hex"] = data[:1000].hex()
    return said


def _text(letter: Letter, name: bytes) -> str:
    return letter.fields.get(name, b"").decode(errors="replace")[:20]


def _when(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
