"""A TCP link that fails as links do: it stands between a worker and Redis, or between a worker and the exchange."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Literal, Self

from tests.eventually import eventually

_CHUNK = 1 << 16
_GATHER_S = 0.02
_ACCEPT_S = 0.5
_FAREWELL_S = 5

Snag = Literal["cut", "late", "lost-reply"]
"""What befalls the next bytes: a request is cut in half, or arrives when its sender is long gone; a reply is lost."""


class Link:
    """From a port of the loopback to `upstream`, another one. What goes wrong is said by the methods."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self._upstream = upstream
        self._wires: set[_Wire] = set()
        self._snag: Snag | None = None
        self._late_s = 0.0
        self._delay_s = 0.0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        self.reset()
        await asyncio.gather(*(wire.task for wire in self._wires))

    def reset(self) -> None:
        """Both ends of every connection hear of its end at once."""
        for wire in tuple(self._wires):
            wire.reset()

    def fall_silent(self) -> None:
        """Half-open: every connection of now swallows what it is given, for good, and neither end is told."""
        for wire in self._wires:
            wire.silent = True

    def snag(self, what: Snag, late_s: float = 0.0) -> None:
        """The next connection on which something comes to pass ends like this."""
        self._snag = what
        self._late_s = late_s

    def delay(self, seconds: float) -> None:
        """From now on every piece takes so long, and none overtakes another."""
        self._delay_s = seconds

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            _abort(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        wire = _Wire(task, writer, server_writer)
        self._wires.add(wire)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(wire, reader, server_writer, self._request))
                both.create_task(self._pump(wire, server_reader, writer, self._reply))
        except* OSError:
            pass
        finally:
            self._wires.discard(wire)
            wire.reset()

    async def _pump(
        self,
        wire: "_Wire",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        befall: Callable[["_Wire", asyncio.StreamReader, bytes], Awaitable[bytes]],
    ) -> None:
        """Carry one direction to its end, which is the end of both."""
        while chunk := await reader.read(_CHUNK):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            if wire.silent:
                continue
            if self._snag:
                chunk = await befall(wire, reader, chunk)
            writer.write(chunk)
            await writer.drain()
        if not wire.silent:
            await _farewell(writer)
        raise ConnectionResetError

    async def _request(self, wire: "_Wire", reader: asyncio.StreamReader, chunk: bytes) -> bytes:
        if self._snag == "cut":
            self._snag = None
            wire.to_server.write(chunk[: len(chunk) // 2])
            await wire.to_server.drain()
            await asyncio.sleep(_GATHER_S)  # until they have left: a reset drops what has not
            raise ConnectionResetError
        if self._snag == "late":
            self._snag = None
            wire.silent = True  # replies to it find nobody
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GATHER_S):
                    while more := await reader.read(_CHUNK):
                        chunk += more
            _abort(wire.to_client)
            await asyncio.sleep(self._late_s)
            wire.to_server.write(chunk)
            await wire.to_server.drain()
            await asyncio.sleep(_ACCEPT_S)
            raise ConnectionResetError
        return chunk

    async def _reply(self, _wire: "_Wire", _reader: asyncio.StreamReader, chunk: bytes) -> bytes:
        if self._snag == "lost-reply":
            self._snag = None
            raise ConnectionResetError
        return chunk


class _Wire:
    """One connection through a link."""

    def __init__(
        self, task: asyncio.Task[None], to_client: asyncio.StreamWriter, to_server: asyncio.StreamWriter
    ) -> None:
        self.task = task
        self.to_client = to_client
        self.to_server = to_server
        self.silent = False

    def reset(self) -> None:
        _abort(self.to_client)
        _abort(self.to_server)


async def _farewell(writer: asyncio.StreamWriter) -> None:
    """Who has closed in order has what it said before that delivered, unless nobody reads it."""
    with contextlib.suppress(OSError, AssertionError):
        writer.write_eof()
        await eventually(lambda: not _unread(writer), _FAREWELL_S)


def _unread(writer: asyncio.StreamWriter) -> int:
    """Bytes that the other end has not acknowledged, here and in the kernel (Linux: SIOCOUTQ)."""
    endpoint = writer.get_extra_info("socket")
    if endpoint.fileno() < 0:
        return 0
    waiting = int.from_bytes(fcntl.ioctl(endpoint.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return writer.transport.get_write_buffer_size() + waiting


def _abort(writer: asyncio.StreamWriter) -> None:
    """End it with a reset: no farewell, and what waits is dropped."""
    endpoint = writer.get_extra_info("socket")
    if endpoint is not None and endpoint.fileno() >= 0:
        with contextlib.suppress(OSError):
            endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
