"""What a connection tells of itself: its states as events on `md:{EX}:status`, and what a person should know."""

import time
from enum import StrEnum

import structlog

from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Notice, SkipFrame
from ingest.publisher import Publisher

_LOGGED_BYTES = 500
_LOG_EVERY_S = 5.0

log = structlog.get_logger()


class State(StrEnum):
    """Where a connection is in its life; each change is an event on `md:{EX}:status`."""

    DISCONNECTED = "DISCONNECTED"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    RECONNECTING = "RECONNECTING"
    ERROR = "ERROR"
    TERMINATED = "TERMINATED"


_TROUBLE = (State.ERROR, State.RECONNECTING, State.TERMINATED)


class Reports:
    """Of one connection."""

    def __init__(self, exchange: str, connection: str, session: str, publisher: Publisher) -> None:
        """`session` is unique to this life of the connection."""
        self._exchange = exchange
        self._connection = connection
        self._session = session
        self._publisher = publisher
        self._count = 0
        self._skipped = 0
        self._logged_s = 0.0

    def state(self, state: State, reason: str) -> None:
        """The connection is now in that state."""
        said = log.warning if state in _TROUBLE else log.info
        said("connection", exchange=self._exchange, connection=self._connection, state=str(state), reason=reason)
        self._put(Status(state=str(state), reason=reason[:256], connection=self._connection))

    def notice(self, notice: Notice) -> None:
        """The exchange does not do as asked, for one stream."""
        log.warning("subscription", stream=str(notice.key), state=notice.state, reason=notice.reason)
        stream, reason = str(notice.key), notice.reason[:256]
        self._put(Status(state=notice.state, reason=reason, connection=self._connection, stream=stream))

    def skipped(self, skipped: SkipFrame) -> None:
        """A frame was of no use. All are counted, some are shown."""
        self._skipped += 1
        if time.monotonic() - self._logged_s > _LOG_EVERY_S:
            self._logged_s = time.monotonic()
            log.warning(
                "frame skipped",
                exchange=self._exchange,
                stream=skipped.stream,
                reason=skipped.reason[:_LOGGED_BYTES],
                frame=skipped.frame[:_LOGGED_BYTES],
                skipped=self._skipped,
            )

    def _put(self, status: Status) -> None:
        self._count += 1
        key = StreamKey(self._exchange, "status")
        self._publisher.put(Event(key, f"{self._session}.{self._count}", status, "window"))
