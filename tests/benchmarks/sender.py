"""The exchange of a benchmark: a process of its own, whose frames are ready to be written, so that it costs little."""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from multiprocessing.connection import Connection

import msgspec
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from tests.benchmarks.recording import Recording, sorted_target, stream_name

FLOOD = 1e9
"""A rate that means as fast as they are read."""

_STEP_SECONDS = 0.001
_FRAMES_PER_WRITE = 256
_STARTS_WITHIN_SECONDS = 20


class Sender:
    """A running one. `stream_url` and `rest_url` say where it is."""

    def __init__(self, port: int, pipe: "Connection[tuple[float, int] | None, int]") -> None:
        self.stream_url, self.rest_url = f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
        self._pipe = pipe

    def send(self, frames: int, *, rate: float = FLOOD) -> None:
        """Have the next so many of the frames that the newest connection has subscribed to sent, evenly."""
        self._pipe.send((rate, frames))


@contextlib.contextmanager
def sender(recording: Recording) -> Iterator[Sender]:
    """One for the length of a `with`; each connection hears the recording from its beginning."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_run, args=(recording, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(_STARTS_WITHIN_SECONDS):
            raise TimeoutError(f"the sender did not start within {_STARTS_WITHIN_SECONDS} s")
        yield Sender(ours.recv(), ours)
    finally:
        with contextlib.suppress(BrokenPipeError):
            ours.send(None)
        process.join(5)
        process.kill()


def _run(recording: Recording, pipe: "Connection[int, tuple[float, int] | None]") -> None:
    uvloop.run(_Exchange(recording).serve(pipe))


class _Message(msgspec.Struct):
    id: int
    method: str
    params: tuple[str, ...] = ()


class _Exchange:
    def __init__(self, recording: Recording) -> None:
        self._answers = recording.answers
        self._written = [
            (stream_name(frame), Frame(Opcode.TEXT, frame).serialize(mask=False)) for frame in recording.frames
        ]
        self._peer: ServerConnection | None = None
        self._names: set[bytes] = set()
        self._waiting: Iterator[bytes] | None = None

    async def serve(self, pipe: "Connection[int, tuple[float, int] | None]") -> None:
        """Until told to end."""
        async with serve(
            self._converse, "127.0.0.1", 0, process_request=self._answer, compression=None, close_timeout=1
        ) as server:
            pipe.send(next(iter(server.sockets)).getsockname()[1])
            while (wanted := await asyncio.to_thread(pipe.recv)) is not None:
                rate, frames = wanted
                await self._send(rate, frames)

    async def _converse(self, peer: ServerConnection) -> None:
        self._peer = peer
        self._names.clear()
        self._waiting = None
        async for text in peer:
            message = msgspec.json.decode(text, type=_Message)
            if message.method == "SUBSCRIBE":
                self._names.update(name.encode() for name in message.params)
            await peer.send(msgspec.json.encode({"result": None, "id": message.id}), text=True)

    def _answer(self, _: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        # Best prices, for one, are only compared now and then, and that can wait.
        body = self._answers.get(sorted_target(request.path))
        status, said = (404, b"{}") if body is None else (200, body)
        headers = Headers([("Connection", "close"), ("Content-Length", str(len(said)))])
        return Response(status, HTTPStatus(status).phrase, headers, said)

    async def _send(self, rate: float, frames: int) -> None:
        assert self._peer is not None
        if self._waiting is None:
            self._waiting = iter([written for name, written in self._written if name in self._names])
        start, sent = time.perf_counter(), 0
        while sent < frames:
            due = min(frames, int((time.perf_counter() - start) * rate) + 1, sent + _FRAMES_PER_WRITE)
            self._peer.transport.write(b"".join(islice(self._waiting, due - sent)))
            sent = due
            await self._peer.drain()
            if rate != FLOOD:
                await asyncio.sleep(_STEP_SECONDS)
