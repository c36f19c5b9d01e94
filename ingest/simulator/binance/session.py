"""One connection's requests: SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, and what happens to those who err."""

import re
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from ingest.simulator.allowance import Window
from ingest.simulator.venue import Close, Frame

MAX_STREAMS = 1024
MESSAGES_PER_SECOND = 5
_SECOND_NS = 1_000_000_000
_STREAM = re.compile(r"!?\w+@\w+(@[\w:+-]+)?\Z")
_ID = re.compile(r"[A-Za-z0-9_-]{1,36}\Z")


class Streams:
    """Who hears which stream, and which streams were ever asked for."""

    def __init__(self) -> None:
        self.hearers: dict[str, list[Session]] = {}
        self.followed: set[str] = set()
        self.refused: set[str] = set()
        """Names that are no streams for now."""

    def join(self, session: "Session", names: Iterable[str]) -> None:
        """The session hears these from now on, in addition."""
        for name in names:
            if name not in session.streams:
                session.streams[name] = None
                self.hearers.setdefault(name, []).append(session)
                self.followed.add(name)

    def leave(self, session: "Session", names: Iterable[str]) -> None:
        """It no longer hears these."""
        for name in names:
            if name in session.streams:
                del session.streams[name]
                self.hearers[name].remove(session)
                if not self.hearers[name]:
                    del self.hearers[name]


class Session:
    """One connection; `combined` wraps what it hears as `{"stream":…,"data":…}`, but never an answer."""

    def __init__(self, target: str, index: Streams) -> None:
        """`target` is one that `parse` understands."""
        self.outgoing: deque[Frame] = deque()
        self.ending: Close | None = None
        self.mute = False
        self.streams: dict[str, None] = {}
        self._index = index
        self._heard = Window(MESSAGES_PER_SECOND, _SECOND_NS)
        self.combined, names = parse(target) or (False, [])
        index.join(self, names[:MAX_STREAMS])

    def leave(self) -> None:
        """It hears nothing any more."""
        self._index.leave(self, tuple(self.streams))

    def beat(self, now_ns: int) -> Close | None:
        """Pings and pongs count as much as requests."""
        return None if self._heard.take(now_ns) else Close(1008, "Too many requests")

    def receive(self, message: str | bytes, now_ns: int) -> Close | None:
        """A request; its answer goes out at once."""
        close = self.beat(now_ns)
        if close is None:
            self.outgoing.append(Frame(msgspec.json.encode(self._answer(message))))
        return close

    def _answer(self, message: str | bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError) as bad:
            return {"code": 3, "msg": f"Invalid JSON: {bad}"}
        if not isinstance(request, dict):
            return {"code": 2, "msg": "Invalid request: an object was expected"}
        request_id = request.get("id")
        if not _is_id(request_id):
            return {"code": 2, "msg": "Invalid request: request ID must be an integer, a short string, or null"}
        if request.get("method") == "LIST_SUBSCRIPTIONS":
            return {"result": list(self.streams), "id": request_id}
        if request.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return {"code": 2, "msg": f"Invalid request: unknown method {request.get('method')}", "id": request_id}
        params = request.get("params")
        if not isinstance(params, list) or not params:
            return {"code": 2, "msg": "Invalid request: missing field `params`", "id": request_id}
        return self._change(request["method"], params, request_id)

    # The errors of single streams are nested, as clients have recorded them; the documents show only the flat form.
    # https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
    def _change(self, method: str, names: list[object], request_id: object) -> dict[str, Any]:
        known = [name for name in names if isinstance(name, str) and _STREAM.match(name)]
        refused = method == "SUBSCRIBE" and not self._index.refused.isdisjoint(known)
        if len(known) < len(names) or refused:
            return {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": request_id}
        if method == "UNSUBSCRIBE":
            self._index.leave(self, known)
        elif len(self.streams.keys() | set(known)) > MAX_STREAMS:
            return {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": request_id}
        else:
            self._index.join(self, known)
        return {"result": None, "id": request_id}


def parse(target: str) -> tuple[bool, list[str]] | None:
    """Of `/ws`, `/ws/NAME`, `/stream`, `/stream?streams=NAME/NAME`: whether combined, and the names. Else None."""
    url = urlsplit(target)
    if url.path == "/stream":
        names = "/".join(parse_qs(url.query).get("streams", ()))
    elif url.path == "/ws" or url.path.startswith("/ws/"):
        names = url.path.removeprefix("/ws")
    else:
        return None
    return url.path == "/stream", [name for name in names.split("/") if name]


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return _ID.match(value) is not None
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= value < 1 << 63)
