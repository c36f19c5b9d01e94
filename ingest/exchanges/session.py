"""What a conversation says of itself: identities for what an exchange does not number."""

from zlib import crc32

from ingest.contract.events import Event, Gap, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Standing


class Session:
    """One connection's counter: `SESSION.1`, `SESSION.2`, … are unique if the session's name is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._count = 0

    def identity(self) -> str:
        """The next one."""
        self._count += 1
        return f"{self.name}.{self._count}"

    @property
    def lot(self) -> float:
        """From 0 up to 1, by its name: what many sessions would do at once they do apart."""
        return crc32(self.name.encode()) / (1 << 32)

    def status(self, key: StreamKey, state: str, reason: str, position: str | None = None) -> Event:
        """That a stream is now `state`: syncing, live, suspect, stale. `position` is where we stand in it."""
        status = Status(state=state, reason=reason[:256])
        return Event(key, self.identity(), status, "state", f"{state} {position or ''}".rstrip())

    def silence(self, key: StreamKey, reason: str, mark: str) -> Event:
        """That of what comes before this `SOURCE.MARK` some may be missing, unless the stream has it by then."""
        return Event(key, self.identity(), Status(state="stale", reason=reason[:256]), "silence", mark)

    def lost(self, key: StreamKey, first: int, last: int, reason: str) -> Event:
        """That these ids are lost."""
        gap = Gap(reason=reason, first_id=str(first), last_id=str(last))
        return Event(key, self.identity(), gap, "gap", f"{first}-{last}")

    def lost_time(self, key: StreamKey, first_ms: int, last_ms: int, reason: str) -> Event:
        """That what belongs into this time is lost, both milliseconds included."""
        gap = Gap(reason=reason, from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
        return Event(key, self.identity(), gap, "gap", f"{first_ms}-{last_ms}")

    def unverifiable(self, key: StreamKey, first_ms: int, last_ms: int, reason: str = "unverifiable") -> Event:
        """That of this time, both milliseconds included, something may be missing: no id tells."""
        gap = Gap(reason=reason[:256], from_ns=first_ms * 1_000_000, to_ns=last_ms * 1_000_000 + 999_999)
        return Event(key, self.identity(), gap, "span", f"{first_ms}-{last_ms}")

    def restart(self, key: StreamKey, standing: Standing, last: int, since_ns: int | None = None) -> Event:
        """That the exchange counts from another beginning, behind the id `last`, if the stream has come just so far.

        How far the old series went behind that place, no exchange says: its end is lost from there on, if it was not
        the end. And others may have come and gone up to the exchange's time `since_ns`.
        """
        first = None if standing.position is None else str(int(standing.position) + 1)
        gap = Gap(reason="series_restart", first_id=first, to_ns=since_ns)
        return Event(key, self.identity(), gap, "restart", f"{standing.position or '-'} {last}")
