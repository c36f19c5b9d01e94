"""Identities for what an exchange does not number itself."""

from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey


class Session:
    """One connection's counter: `SESSION.1`, `SESSION.2`, … are unique if the session's name is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._count = 0

    def identity(self) -> str:
        """The next one."""
        self._count += 1
        return f"{self.name}.{self._count}"

    def status(self, key: StreamKey, state: str, reason: str) -> Event:
        """That a stream is now `state`: syncing, live, suspect."""
        return Event(key, self.identity(), Status(state=state, reason=reason), "window")
