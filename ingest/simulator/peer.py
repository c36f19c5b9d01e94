"""One connection to a simulated exchange, between its socket and its session."""

import asyncio
import contextlib
import time
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event

from ingest.simulator.control import PostReader
from ingest.simulator.venue import CUT, Close, Session

OUTGOING_FRAMES = 10_000
"""What may wait for a client; one that reads too slowly for that is closed with 1008, as exchanges do."""

_FRAMES_PER_WRITE = 256
_FINISH_SECONDS = 10
"""For a client to read what was said before the exchange went away."""
_CUT_SECONDS = 2
"""For one that is thrown out to hear why."""


class Peer(ServerConnection):
    """The connection and, once it is open, its session."""

    session: Session | None = None
    _wake: asyncio.Event
    _closing: asyncio.Task[None] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._posts = PostReader()

    def data_received(self, data: bytes) -> None:
        """What comes in, in a form that the library understands."""
        if data := self._posts.read(data):
            super().data_received(data)

    async def converse(self, session: Session) -> None:
        """The connection's whole life."""
        self.session = session
        self._wake = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(self._write())
                with contextlib.suppress(ConnectionClosed):
                    async for message in self:
                        self._obey(session.receive(message, time.time_ns()))
                        self.hand_over()
                writer.cancel()
        finally:
            session.leave()
            if self._closing:
                await self._closing

    def process_event(self, event: Event) -> None:
        """Pings and pongs, which the library answers without telling, count as well."""
        super().process_event(event)
        if self.session and isinstance(event, Frame) and event.opcode in (Opcode.PING, Opcode.PONG):
            self._obey(self.session.beat(time.time_ns()))

    def hand_over(self) -> None:
        """There may be something to send."""
        if not self.session:
            return
        if self.session.mute:
            self.transport.pause_reading()
        if self.session.ending:
            self._obey(self.session.ending)
        elif len(self.session.outgoing) > OUTGOING_FRAMES:
            self._obey(Close(1008, "slow reader"))
        elif self.session.outgoing:
            self._wake.set()

    async def finish(self) -> None:
        """Send what has been said, then close: the exchange goes away."""
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._flush()
        await self._end(CloseCode.GOING_AWAY, "", within_seconds=_FINISH_SECONDS)

    async def _end(self, code: int, reason: str, within_seconds: float) -> None:
        """Close politely, and after a while in any case: a client that does not read holds up even the close frame."""
        try:
            async with asyncio.timeout(within_seconds):
                await self.close(code, reason)
        except TimeoutError:
            self.transport.abort()

    def _obey(self, close: Close | None) -> None:
        if close and self.session and not self._closing:
            self.session.leave()
            self.session.outgoing.clear()
            if close.code == CUT:
                self.transport.abort()
                return
            self._closing = asyncio.create_task(self._end(close.code, close.reason, within_seconds=_CUT_SECONDS))

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self._flush()

    async def _flush(self) -> None:
        while self.session and self.session.outgoing:
            # One context for many frames: each costs its own bytes, not the bookkeeping around a send().
            async with self.send_context():
                for _ in range(min(len(self.session.outgoing), _FRAMES_PER_WRITE)):
                    self.protocol.send_text(self.session.outgoing.popleft().text)
