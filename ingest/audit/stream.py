"""One stream's audit: its entries one by one, then what its companions say of them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, structs

from ingest.audit.account import Account
from ingest.audit.chain import chain_of
from ingest.audit.registry import RESTART, ROLLBACK, Range, Registry, begins_anew, lost_range
from ingest.audit.report import EXAMPLES, Finding, StreamReport
from ingest.contract.codec import Entry
from ingest.contract.events import Gap
from ingest.contract.keys import StreamKey
from ingest.simulator.ledger import Record


class Companions(Struct, frozen=True, kw_only=True):
    """What the server keeps beside a stream, as of one moment with its length."""

    added: int
    """Entries that the stream has ever had, since it was last created."""
    length: int
    trimmed: int
    """Entries that the janitor says it has trimmed."""
    g: str
    n: int
    """Where the script's state stands; "" and 0 for no state."""
    has_last: bool
    """Whether the state knows a newest id."""
    opaque: bool = False
    """Whether the ids have no order, so that the state knows the time of the newest trade instead."""
    gaps: tuple[Range, ...]
    """The registered losses, ascending."""


class _Place(NamedTuple):
    g: str
    n: int


class Stream:
    """The entries of one stream, checked against one another and against what was emitted.

    It keeps no more of them than its gaps and late fills, and what it is given of a ledger.
    """

    def __init__(self, key: StreamKey, emitted: Iterable[Record] = (), *, opaque: bool = False) -> None:
        """`opaque` is as of Companions."""
        self._key = key
        self._opaque = opaque
        self._account = Account(str(key), emitted, opaque=opaque)
        self._chain = chain_of(key, opaque=opaque)
        self._registry = Registry()
        self._oldest: Entry | None = None
        self._newest: _Place | None = None
        self._generations = 0
        self._late = 0
        self._counts: Counter[str] = Counter()
        self._examples: list[Finding] = []

    def read(self, entry_id: bytes, fields: Mapping[bytes, bytes]) -> None:
        """The next entry."""
        entry = self._account.read(entry_id, fields)
        if entry is None:
            return
        self._oldest = self._oldest or entry
        self._follow_generation(entry)
        self._late += entry.late
        if begins_anew(entry):
            self._registry.begin_anew()
            if self._chain:
                self._chain.begin_anew()
        if lost := lost_range(entry):
            self._registry.lose(lost)
        if self._chain:
            if entry.late and (late := self._chain.covers(entry)):
                self._registry.fill(late)
            if found := self._chain.read(entry):
                self._note(found)

    def close(self, said: Companions) -> StreamReport:
        """The stream ends here. Tail depth and durable position are the writers' to say."""
        report = self._account.close(said.gaps)
        oldest_id = self._chain.oldest if self._chain else None
        for each in self._registry.check(said.gaps, oldest_id):
            self._note(each)
        trimmed = min(said.trimmed, said.added - said.length)
        self._check_place(said)
        self._check_length(said, trimmed)
        unprovable = self._unprovable(said)
        found = {column: count for column, count in self._counts.items() if not (unprovable and column == "holes")}
        return structs.replace(
            report,
            g=self._newest.g if self._newest else "",
            oldest_n=self._oldest.n if self._oldest else 0,
            generations=self._generations,
            trimmed=trimmed,
            ids_lost=0 if self._key.interval or oldest_id is None else sum(b - a + 1 for a, b in said.gaps),
            late=self._late,
            unprovable=unprovable,
            examples=(*report.examples, *(each.words for each in self._examples if each.column in found))[:EXAMPLES],
            **{column: getattr(report, column) + count for column, count in found.items()},
        )

    def _follow_generation(self, entry: Entry) -> None:
        last, self._newest = self._newest, _Place(entry.g, entry.n)
        if last and last.g == entry.g:
            return
        self._generations += 1
        gap = entry.event
        # That it begins with another number than 1 is the account's to say.
        if last and entry.n == 1:
            told = isinstance(gap, Gap) and gap.reason in (ROLLBACK, RESTART) and (gap.after_g, gap.after_n) == last
            if not told:
                self._note(Finding("breaks", 1, f"{entry.g} begins behind n={last.n} of {last.g}, and does not say so"))

    def _check_place(self, said: Companions) -> None:
        """The script wrote the newest entry, and nobody else has written or taken away anything since."""
        if self._newest and self._newest != (said.g, said.n):
            state = f"n={said.n} of {said.g}" if said.g else "nowhere"
            words = f"the newest entry is n={self._newest.n} of {self._newest.g}, the script's state stands at {state}"
            self._note(Finding("astray", 1, words))

    def _check_length(self, said: Companions, trimmed: int) -> None:
        """What was in the stream and is not there now was trimmed by the janitor, or it is missing."""
        before = 0 if said.length else said.n
        if self._oldest:
            gap = self._oldest.event
            before = self._oldest.n - 1 or (gap.after_n or 0 if isinstance(gap, Gap) else 0)
        removed = max(said.added - said.length, before) - trimmed
        if removed > 0:
            self._note(Finding("removed", removed, f"{removed} entries are gone, and not by the janitor"))

    def _unprovable(self, said: Companions) -> str:
        if not self._oldest:
            return "empty"
        if self._opaque:
            return "opaque ids"
        if self._chain is None or self._chain.newest is None:
            return "no ids"
        # Writers before this rule did not fetch candles that had closed unheard.
        return "no ids" if self._key.interval and self._counts["holes"] and not said.has_last else ""

    def _note(self, found: Finding) -> None:
        self._counts[found.column] += found.count
        if len(self._examples) < EXAMPLES:
            self._examples.append(found)
