"""The table of leases as leases.lua keeps it, in Python and with a clock of its own; and a member that plays on it."""

from msgspec import Struct

from ingest.shards import Ask, Member, Row, Table, Verb

TTL_MS = 5000
PATIENCE = 5


class Record(Struct):
    owner: str
    fence: int
    expires: int
    ready: str = ""


class TableModel:
    def __init__(self) -> None:
        self.now_ms = 1_800_000_000_000
        self.members: dict[str, int] = {}
        self.records: dict[int, Record] = {}

    def renew(self, me: str, asks: list[Ask], ttl_ms: int = TTL_MS, leaving: bool = False) -> Table:
        known = self.members.pop(me, 0) > self.now_ms
        self.members = {name: until for name, until in self.members.items() if until > self.now_ms}
        if not leaving:
            self.members[me] = self.now_ms + ttl_ms
        for ask in asks:
            self._record(ask.shard)
            if ask.verb != Verb.READY:
                self._carry_out(me, ask, self.now_ms + ttl_ms)
        ready = {ask.shard for ask in asks if ask.verb == Verb.READY}
        for shard, record in self.records.items():
            if shard in ready and record.owner != me and not self._free(record, me):
                record.ready = me
            elif record.ready == me and shard not in ready:
                record.ready = ""
        rows = {s: Row("" if self._free(r, me) else r.owner, r.fence, r.ready) for s, r in self.records.items()}
        return Table(known, tuple(sorted(self.members)), rows)

    def _carry_out(self, me: str, ask: Ask, until: int) -> None:
        record = self.records[ask.shard]
        if ask.verb == Verb.DROP:
            if record.owner == me:
                self._change(record, "", record.fence, 0)
        elif ask.verb == Verb.GIVE and record.owner == me and record.ready in self.members:
            self._change(record, record.ready, record.fence + 1, self.members[record.ready])
        elif record.owner == me:
            record.expires = until
        elif self._free(record, me):
            self._change(record, me, max(record.fence, ask.fence) + 1, until)

    def _change(self, record: Record, owner: str, fence: int, expires: int) -> None:
        record.owner, record.fence, record.expires, record.ready = owner, fence, expires, ""

    def _free(self, record: Record, me: str) -> bool:
        return not record.owner or (record.owner != me and record.expires <= self.now_ms)

    def _record(self, shard: int) -> Record:
        return self.records.setdefault(shard, Record("", self.now_ms, 0))


class Node:
    """A worker, as far as leases are concerned: what it serves flows some time later."""

    def __init__(self, name: str, table: TableModel, kind: type[Member] = Member) -> None:
        self.member = kind(name, patience=PATIENCE)
        self.flowing: frozenset[int] = frozenset()
        self.left = False
        self._table = table

    def flow(self) -> None:
        self.flowing = self.member.serving

    def round(self) -> None:
        self._renew(self.member.asks(self.flowing))
        if self.member.eager:
            self._renew(self.member.asks(self.flowing))
        if self.member.leaving and (self.member.alone or not self.member.owned):
            self._renew(self.member.last_asks())
            self.left = True

    def _renew(self, asks: list[Ask]) -> None:
        self.member.answered(self._table.renew(self.member.name, asks, leaving=self.member.leaving))
        self.flowing &= self.member.serving
