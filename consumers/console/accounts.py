"""`consume audit`: the accounts of groups as a table, or for programs."""

import json
from collections.abc import Sequence

from msgspec import structs
from rich import box
from rich.table import Table

from consumers.audit import Account

_COLUMNS = ("written", "effected", "dead", "pending", "unread")
_SELDOM = ("gone", "twice", "unaccounted")


def table(found: Sequence[Account]) -> Table:
    """For a person; of what is seldom, only what there is."""
    shown = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    columns = _COLUMNS + tuple(name for name in _SELDOM if any(getattr(each, name) for each in found))
    for heading in ("group", "stream"):
        shown.add_column(heading, overflow="fold")
    for heading in columns:
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("")
    for each in found:
        names = (each.group, ":".join(filter(None, (each.key.exchange, each.key.channel, each.key.symbol))))
        figures = (f"{getattr(each, name):,}" for name in columns)
        shown.add_row(*names, *figures, each.verdict, style="bold red" if each.unaccounted else "")
    return shown


def as_json(each: Account) -> str:
    """For a program."""
    facts = {"group": each.group, "stream": str(each.key)} | structs.asdict(each)
    del facts["key"]
    return json.dumps(facts | {"rest": each.rest, "unaccounted": each.unaccounted, "verdict": each.verdict})
