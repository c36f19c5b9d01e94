"""One socket's life: connect, converse, and come back for as long as it takes."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import NamedTuple, NoReturn

import structlog
from msgspec import Struct
from redis.exceptions import RedisError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from ingest.backoff import Backoff
from ingest.contract.events import Event, Status
from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import (
    Conversation,
    Exchange,
    Fetch,
    Instrument,
    Locate,
    Notice,
    Output,
    Plan,
    Reconnect,
    Renew,
    Send,
    SkipFrame,
    Standing,
)
from ingest.exchanges.known_ticker import NOBODY_LISTENED
from ingest.flow import Flow
from ingest.limits import Budgets
from ingest.publisher import Publisher
from ingest.reporting import Reports, State
from ingest.rest import Rest
from ingest.tasks import pause, unless

_TICK_S = 0.05
_FETCHERS = 3
_RENEW_EVERY_S = 3_600.0
_OF_LISTENING = ("state", "silence")

log = structlog.get_logger()


class AttemptsUsedUp(Exception):
    """The connection failed as often in a row as it was allowed to."""


class Patience(Struct, frozen=True):
    """How long a connection waits for what."""

    timeout_s: float = 30.0
    """For a connection to open, and for anything at all to come over it."""
    ping_every_s: float = 30.0
    pong_within_s: float = 10.0
    backoff: Backoff = Backoff(first_s=1.0, most_s=30.0)
    attempts: int = 0
    """Failures in a row before it gives up; 0 for never."""
    max_frame_bytes: int = 32 << 20


class Counters(Struct):
    """What one connection counted since the worker started."""

    frames: int = 0
    skipped: int = 0
    connects: int = 0


class _Errands(NamedTuple):
    """What a conversation wants done; bounded, one of each for each stream."""

    sends: asyncio.Queue[Send]
    fetches: asyncio.Queue[Fetch]
    looks: asyncio.Queue[Locate | None]


class Connection:
    """The streams of a Plan, and those that take their place, kept flowing from one socket after another."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        exchange: Exchange,
        instruments: Mapping[str, Instrument],
        positions: Mapping[StreamKey, str],
        *,
        stream_url: str,
        patience: Patience,
        publisher: Publisher,
        rest: Rest,
        budgets: Budgets,
        replaces: "Connection | None" = None,
    ) -> None:
        """One that `replaces` another is on standby until told to take over: it says nothing of streams' states."""
        self.name = name
        self.state = State.DISCONNECTED
        self.counters = Counters()
        self.path = plan.path
        self.streams = plan.streams
        self._before = replaces
        self.renewal = ""
        """Why another is to take its place; empty while none is."""
        self.renewed_at_s: dict[StreamKey, float] = replaces.renewed_at_s if replaces else {}
        self._seamless: frozenset[StreamKey] = frozenset()
        """Of these nothing can be missing before what is the first of a source over this socket."""
        self._conversation: Conversation | None = None
        self._heir = ""
        self._carried = plan.streams
        self._flow = Flow()
        self._leave: Mapping[StreamKey, int] = {}
        self._owned: Mapping[StreamKey, int] = {}
        """What was ours when we last looked, under which fence; `_told`: what the conversation knows of that."""
        self._told: Mapping[StreamKey, int] = {}
        self._url = stream_url + plan.path
        self._exchange = exchange
        self._instruments = instruments
        self._positions = dict(positions)
        self._patience = patience
        self._publisher = publisher
        self._rest = rest
        self._budgets = budgets
        self._failures = 0
        self._heard_ns = 0
        self._silent = False
        self._session = f"{name}-{time.time_ns():x}"
        self._reports = Reports(exchange.name, name, self._session, publisher)

    def carry(self, streams: tuple[StreamKey, ...], positions: Mapping[StreamKey, str]) -> None:
        """From now on these; without any it ends. `positions` are where those stand that are new."""
        for key in set(streams) - set(self.streams):
            self._positions.pop(key, None)
            if key in positions:
                self._positions[key] = positions[key]
            self._flow.wait_for((key,), self._positions, time.time_ns())
        self.streams = streams

    @property
    def standby(self) -> bool:
        """Whether another one speaks for its streams."""
        return self._before is not None

    def take_over(self) -> None:
        """From now on it is the one that speaks for its streams."""
        self._seamless = frozenset(filter(self._heard_by_other, self.streams))
        self._before = None

    def retire(self, heir: str) -> None:
        """End in order: that one has taken over."""
        self._heir = heir
        self.streams = ()

    def hears(self, key: StreamKey) -> bool:
        """Whether whatever the exchange says of it is said."""
        return self.state == State.CONNECTED and key not in self._flow.silent

    def positions(self) -> Mapping[StreamKey, str]:
        """Where its streams stand by what it has said."""
        return self._positions | (dict(self._conversation.positions()) if self._conversation else {})

    def own(self, leave: Mapping[StreamKey, int]) -> None:
        """Of the streams that have one writer at a time, these are ours to write; with another fence, they are anew."""
        self._leave = leave

    def flowing(self) -> list[StreamKey]:
        """The streams of which something was said since this socket opened, and those with nothing to wait for."""
        return self._flow.of(self.streams, time.time_ns()) if self.state == State.CONNECTED else []

    async def run(self, stopping: asyncio.Event) -> None:
        """Until asked to stop, or nothing is left to hear.

        Raises AttemptsUsedUp, and Stop when no retry can help.
        """
        while self.streams and not stopping.is_set():
            if self._publisher.full:  # what would be heard, and each attempt to hear it, had nowhere to go
                await unless(stopping, self._publisher.room())
            await unless(stopping, self._budgets.connects.spend())
            if stopping.is_set() or not self.streams:
                break
            self._conversation = conversation = self._converse()
            wait_s = 0.0
            try:
                async with self._socket() as socket:
                    await self._talk(socket, conversation, stopping)
            except (Reconnect, ConnectionClosed, InvalidHandshake, OSError, TimeoutError) as error:
                wait_s = self._failed(error)
            finally:
                self._fall_silent(conversation, "asked to stop" if stopping.is_set() else "not connected")
                self._positions.update(conversation.positions())
            await pause(stopping, wait_s)
        why = f"replaced by {self._heir}" if self._heir else "nothing left to hear"
        self._change(State.DISCONNECTED, "asked to stop" if self.streams else why)

    def _converse(self) -> Conversation:
        """A new connection is a new conversation, which goes on where the last one ended."""
        for refusal in () if self.standby else self._publisher.take_refusals(self.streams):
            if refusal.last is not None:
                self._positions[refusal.key] = refusal.last
            elif refusal.key.channel != "ticker":  # a ticker's marks stand, if not all in the newest series
                self._positions.pop(refusal.key, None)
        session = f"{self._session}.{self.counters.connects}"
        self._carried = self.streams
        self._told = {}
        self._seamless = frozenset()
        self.renewal = ""
        self._flow.begin(self.streams, self._positions, time.time_ns())
        return self._exchange.converse(self.streams, self._instruments, self._positions, session)

    @asynccontextmanager
    async def _socket(self) -> AsyncIterator[ClientConnection]:
        self._change(State.CONNECTING, self._url)
        self.counters.connects += 1
        try:
            socket = await connect(
                self._url,
                compression=None,
                max_size=self._patience.max_frame_bytes,
                open_timeout=self._patience.timeout_s,
                ping_interval=self._patience.ping_every_s,
                ping_timeout=self._patience.pong_within_s,
                close_timeout=2,
            )
        except InvalidURI as bad:
            raise OSError(str(bad)) from bad
        except InvalidStatus as refused:
            answer = refused.response
            await self._budgets.connects.obey(answer.status_code, answer.headers.get("Retry-After", ""))
            raise
        self._change(State.CONNECTED, self._url)
        try:
            yield socket
        finally:
            await socket.close()

    async def _talk(self, socket: ClientConnection, conversation: Conversation, stopping: asyncio.Event) -> None:
        """Read, tick and fetch side by side; the first to end ends all, and its error is the reason."""
        errands = _Errands(asyncio.Queue(), asyncio.Queue(), asyncio.Queue())
        self._heard_ns = time.time_ns()
        self._silent = False
        self._do(errands, conversation.greet(self._heard_ns))
        tasks = [
            asyncio.create_task(self._read(socket, errands, conversation)),
            asyncio.create_task(self._tick(errands, conversation)),
            asyncio.create_task(self._say(socket, errands)),
            *(asyncio.create_task(self._fetch(errands, conversation)) for _ in range(_FETCHERS)),
        ]
        looking = asyncio.create_task(self._look(errands, conversation))
        asked = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([*tasks, looking, asked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, asked):
                task.cancel()
            # Not a cancellation: redis-py can swallow it.
            errands.looks.put_nowait(None)
            outcomes = await asyncio.gather(*tasks, looking, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _read(self, socket: ClientConnection, errands: _Errands, conversation: Conversation) -> NoReturn:
        """The hot path: a frame's way from the socket to the publisher's buffer."""
        publisher, counters, unheard, now_ns = self._publisher, self.counters, self._flow.unheard, time.time_ns
        while True:
            frame = await socket.recv(decode=False)
            self._heard_ns = received_ns = now_ns()
            counters.frames += 1
            try:
                outputs = conversation.receive(frame, received_ns)
            except SkipFrame as skipped:
                counters.skipped += 1
                self._reports.skipped(skipped)
                continue
            for output in outputs:
                if output.__class__ is Event:
                    if output.rule in _OF_LISTENING and self._known(output):
                        continue
                    publisher.put(output)
                    if output.key in unheard:
                        self._flow.heard(output)
                else:
                    self._do(errands, (output,))
            if self._failures and any(map(_flows, outputs)):
                self._failures = 0
            if publisher.full:
                await publisher.room()

    async def _tick(self, errands: _Errands, conversation: Conversation) -> None:
        while self.streams:
            await asyncio.sleep(_TICK_S)
            now_ns = time.time_ns()
            if now_ns - self._heard_ns > self._patience.timeout_s * 1e9 and not self._publisher.full:
                raise Reconnect(f"silent for {self._patience.timeout_s:g} s")
            if self._carried != self.streams:
                self._do(errands, self._catch_up(conversation, now_ns))
            if self._told != self._leave_now:
                self._do(errands, self._hand_over(conversation, now_ns))
            if not conversation.acknowledged():
                self._flow.unsettled(now_ns)
            for refusal in () if self.standby else self._publisher.take_refusals(self.streams):
                log.warning("stream stands elsewhere", stream=str(refusal.key), last=refusal.last)
                self._do(errands, conversation.refused(refusal.key, refusal.last, now_ns))
            if conversation.due() <= now_ns and not self._publisher.full:
                self._do(errands, conversation.tick(now_ns))

    def _catch_up(self, conversation: Conversation, now_ns: int) -> Sequence[Output]:
        """Converse about what is to be carried now; what neither came nor went does not notice."""
        before, now = set(self._carried), set(self.streams)
        gone = [key for key in self._carried if key not in now]
        come = [key for key in self.streams if key not in before]
        self._carried = self.streams
        self._flow.forget(gone)
        return [*conversation.unsubscribe(gone, now_ns), *conversation.subscribe(come, now_ns)]

    @property
    def _leave_now(self) -> dict[StreamKey, int]:
        return {key: fence for key in self._carried if (fence := self._leave.get(key)) is not None}

    def _hand_over(self, conversation: Conversation, now_ns: int) -> Sequence[Output]:
        """Whoever is given leave anew does not know who wrote meanwhile, and begins anew."""
        before, told, now = self._owned, self._told, self._leave_now
        self._owned = self._told = now
        conversation.disown([key for key, fence in before.items() if now.get(key) != fence])
        return conversation.own([key for key, fence in now.items() if told.get(key) != fence], now_ns)

    async def _say(self, socket: ClientConnection, errands: _Errands) -> NoReturn:
        """Apart from who reads, which does not wait for the exchange's leave."""
        while True:
            send = await errands.sends.get()
            if self._budgets.messages:
                await self._budgets.messages.spend()
            await socket.send(send.text)

    async def _fetch(self, errands: _Errands, conversation: Conversation) -> NoReturn:
        while True:
            fetch = await errands.fetches.get()
            answer = await self._rest.get(fetch)
            if not isinstance(answer, bytes):
                log.warning("fetch failed", exchange=self._exchange.name, path=fetch.path, reason=answer.reason)
            self._do(errands, conversation.fetched(fetch.tag, answer, time.time_ns()))

    async def _look(self, errands: _Errands, conversation: Conversation) -> None:
        """Apart from the fetches, which may have to wait for the exchange's leave. Ends when asked by None."""
        while locate := await errands.looks.get():
            key = locate.key
            try:
                standing = (await self._publisher.standings([key])).get(key, Standing("-", 0))
            except (RedisError, OSError):
                standing = None
            self._do(errands, conversation.located(key, standing, time.time_ns()))

    def _do(self, errands: _Errands, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if isinstance(output, Event):
                if output.rule in _OF_LISTENING and self._known(output):
                    continue
                self._publisher.put(output)
                self._flow.heard(output)
            elif isinstance(output, Send):
                errands.sends.put_nowait(output)
            elif isinstance(output, Fetch):
                errands.fetches.put_nowait(output)
            elif isinstance(output, Notice):
                self._tell(output)
            elif isinstance(output, Renew):
                self.renewal = output.reason
            else:
                errands.looks.put_nowait(output)

    def _known(self, said: Event) -> bool:
        """Whether it goes without saying, because another connection heard what this one did not."""
        if said.rule == "state":
            return self.standby
        begins = isinstance(said.body, Status) and said.body.reason == NOBODY_LISTENED
        return begins and (said.key in self._seamless or self._heard_by_other(said.key))

    def _heard_by_other(self, key: StreamKey) -> bool:
        return self._before is not None and self._before.hears(key)

    def _tell(self, notice: Notice) -> None:
        """And be replaced if that may help, for each stream once an hour: the exchange itself may have nothing."""
        self._reports.notice(notice)
        if notice.state == "refused":
            self._flow.refuse(notice.key)
        elif notice.state == "silent":
            self._flow.fell_silent(notice.key, self.positions(), time.time_ns())
        now_s = time.monotonic()
        if notice.renew and now_s >= self.renewed_at_s.get(notice.key, -inf) + _RENEW_EVERY_S:
            self.renewed_at_s[notice.key] = now_s
            self.renewal = f"{notice.key} stays silent"

    def _fall_silent(self, conversation: Conversation, reason: str) -> None:
        """Once until somebody is heard again, however often it is tried."""
        if not self._silent and not self.standby and not self._heir:
            self._silent = True
            for event in conversation.closed(reason):
                self._publisher.put(event)

    def _failed(self, error: Exception) -> float:
        """Note the failure and return how long to wait. Raises AttemptsUsedUp."""
        self._failures += 1
        reason = str(error) or type(error).__name__
        lost = self.state == State.CONNECTED
        if not lost:
            self._change(State.ERROR, reason)
        if self._patience.attempts and not self.standby and self._failures >= self._patience.attempts:
            self._change(State.TERMINATED, reason)
            raise AttemptsUsedUp(f"{self._url}: {self._failures} attempts failed in a row, the last one: {reason}")
        wait_s = self._patience.backoff.delay_s(self._failures, random.random())
        if isinstance(error, ConnectionClosed) and error.rcvd is not None:
            wait_s = max(wait_s, self._exchange.wait_after.get(error.rcvd.code, 0.0))
        self._change(State.RECONNECTING, f"{reason}; next attempt in {wait_s:.1f} s")
        return wait_s

    def _change(self, state: State, reason: str) -> None:
        self.state = state
        self._reports.state(state, reason)


def _flows(output: Output) -> bool:
    """Only data proves that a connection is good: an exchange may accept it, acknowledge, and cut it."""
    return isinstance(output, Event) and not isinstance(output.body, Status)
