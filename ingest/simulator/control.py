"""Faults on demand: `POST /control/fault` on the port of the exchange itself, with a fault as its body."""

import re
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import msgspec

from ingest.simulator.faults import BadFault, read
from ingest.simulator.venue import Answer, Venue

PATH: Final = "/control/fault"
_LONGEST: Final = 8192
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,6})[ \t]*\r\n", re.IGNORECASE)


class PostReader:
    """Hands what a client sends on to a WebSocket library that understands no body of a request.

    A POST goes on as the GET that carries the body as its query; everything else goes on as it is.
    """

    def __init__(self) -> None:
        self._data: bytes | None = b""

    def read(self, data: bytes) -> bytes:
        """What goes on now; empty while the rest of a POST is to come."""
        if self._data is None:
            return data
        self._data += data
        if not self._data.startswith(b"POST "[: len(self._data)]) or len(self._data) > _LONGEST:
            data, self._data = self._data, None
            return data
        head, end, body = self._data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not end or len(body) < (int(length[1]) if length else 0):
            return b""
        self._data = None
        target = head.split(b" ", 2)[1].partition(b"?")[0]
        return b"GET %b?%b HTTP/1.1\r\n\r\n" % (target, quote_from_bytes(body).encode())


def answer(venue: Venue, target: str) -> Answer | None:
    """To a request that is one of ours: the fault that was accepted, or why none was."""
    url = urlsplit(target)
    if url.path != PATH:
        return None
    try:
        fault = read(unquote_to_bytes(url.query))
        venue.strike(fault)
    except BadFault as bad:
        return Answer(400, msgspec.json.encode({"error": str(bad)}))
    return Answer(200, msgspec.json.encode({"accepted": str(fault)}))
