"""`consume replay`: what a replay gives out, as lines like those of `consume tail`."""

import json

from rich.text import Text

from consumers.console import lines
from consumers.console.lines import Seen
from consumers.replay import Live, Replayed


def as_line(step: Replayed | Live) -> Text:
    """For a person."""
    if isinstance(step, Live):
        return Text(f"-- live from here on; {step.replayed:,} entries before --", "bold")
    line = lines.as_line(Seen(step.key, step.id, step.fields))
    if step.hole:
        return Text.assemble((f"-- {step.hole:,} entries of {step.key} are missing here --\n", "bold red"), line)
    return line


def as_json(step: Replayed | Live) -> str:
    """For a program: an entry, with `hole` and `early` where there is something to say; or `live`."""
    if isinstance(step, Live):
        return json.dumps({"live": True, "replayed": step.replayed})
    line = lines.facts(Seen(step.key, step.id, step.fields))
    line |= {"hole": step.hole} if step.hole else {}
    line |= {"early": True} if step.early else {}
    return json.dumps(line, ensure_ascii=False)
