"""A connection's subscriptions: desired, pending, confirmed, name by name; bad names and silent ones are found."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from msgspec import Struct

from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import NEVER, Notice, Reconnect
from ingest.exchanges.requests import Request, Requests

LOOK_EVERY_NS = 5_000_000_000
_MOST_REFUSED = 20
"""More than so many bad names are no accident: something else is wrong."""
_TOLD = 2
"""So often it is told that a name is silent; in between it is subscribed to once more."""


class State(Enum):
    """How far the subscription to a name is."""

    DESIRED = auto()
    PENDING = auto()
    CONFIRMED = auto()


class Silent(NamedTuple):
    """A name of which nothing came for longer than can be."""

    name: str
    again: bool
    """Whether it was subscribed to once more since, and that did not help."""

    def told_of(self, key: StreamKey) -> Notice:
        """That the stream of this name is silent."""
        reason = f"nothing comes of {self.name}" + (", also after it was subscribed to again" if self.again else "")
        return Notice(key, "silent", reason, renew=self.again)


class Stood(NamedTuple):
    """Names that stand from now on."""

    first: Sequence[str] = ()
    again: Sequence[str] = ()
    """Those that stood before, or are about to again. What the exchange says in between, nobody hears."""


class _Name(Struct):
    within_ns: int
    """Something has to come of it so often; NEVER if it may be quiet."""
    state: State = State.DESIRED
    confirmed: bool = False
    """Whether it ever was."""
    since_ns: int = 0
    tries: int = 0
    heard: bool = False
    """Whether anything ever came of it."""


class Subscriptions:
    """The names of one connection. Messages go through `requests`, under the two methods."""

    def __init__(
        self,
        requests: Requests,
        *,
        subscribe: str = "subscribe",
        unsubscribe: str = "unsubscribe",
        begins: bool = False,
    ) -> None:
        """`begins` where each subscription begins with data, whatever the market does: behind that it may be quiet."""
        self._requests = requests
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._begins = begins
        self._names: dict[str, _Name] = {}
        self._heard: set[bytes] = set()
        self._later: list[tuple[int, Request]] = []
        self._refused = 0
        self._looked_ns = 0

    def want(self, names: Mapping[str, int]) -> None:
        """Subscribe to these; of each something has to come within so many ns, or NEVER if it may be quiet."""
        self._names.update((name, _Name(within_ns)) for name, within_ns in names.items())
        self._requests.add(self._subscribe, names)

    def drop(self, names: Iterable[str]) -> None:
        """Let these go. A name that was refused is gone already."""
        known = [name for name in names if self._names.pop(name, None)]
        self._requests.add(self._unsubscribe, known)

    def ready(self, now_ns: int) -> Iterator[Request]:
        """What may go now, as of Requests, and goes."""
        for request in [request for at_ns, request in self._later if at_ns <= now_ns]:
            self._resume(request)
        self._later = [each for each in self._later if each[0] > now_ns]
        for request in self._requests.ready(now_ns):
            if request.method == self._subscribe:
                for known in filter(None, map(self._names.get, request.names)):
                    known.state = State.PENDING
            yield request

    def later(self, request: Request, at_ns: int) -> None:
        """It came too often: say it again then, as far as it is what is wanted by then."""
        self._later.append((at_ns, request))

    def confirmed(self, request: Request, now_ns: int) -> Stood:
        """The exchange agrees. What is unsubscribed from and is wanted still is on the way to standing again."""
        if request.method != self._subscribe:
            return Stood(again=[name for name in request.names if name in self._names])
        stood: dict[bool, list[str]] = {False: [], True: []}
        for name in request.names:
            if known := self._names.get(name):
                stood[known.confirmed].append(name)
                known.state, known.confirmed, known.since_ns = State.CONFIRMED, True, now_ns
        return Stood(stood[False], stood[True])

    def refused(self, request: Request, reason: str) -> Sequence[str]:
        """The exchange does not: the name that is to blame, if it is the only one; else each half is asked apart.

        A name that is to blame is gone. Raises Reconnect if nothing is left, or there are too many of them.
        """
        names = [name for name in request.names if name in self._names or request.method == self._unsubscribe]
        if len(names) > 1:
            half = len(names) // 2
            self._requests.add(request.method, names[:half])
            self._requests.add(request.method, names[half:])
            return ()
        if request.method == self._unsubscribe or not names:
            return ()
        del self._names[names[0]]
        self._refused += 1
        if not self._names or self._refused > _MOST_REFUSED:
            raise Reconnect(f"{request.method} refused for {self._refused} names, the last one {names[0]}: {reason}")
        return names

    def heard(self, name: bytes) -> None:
        """Something has come of it. This lies on the path of every frame."""
        self._heard.add(name)

    def silent(self, now_ns: int) -> Sequence[Silent]:
        """Names of which nothing came for too long, each told twice. After the first time it is subscribed to again."""
        if now_ns < self._looked_ns + LOOK_EVERY_NS:
            return ()
        # Who did not look for long did not read either: what came meanwhile is still to be read.
        slept = now_ns > self._looked_ns + 3 * LOOK_EVERY_NS
        self._looked_ns = now_ns
        heard, self._heard = {name.decode() for name in self._heard}, set()
        found = []
        for name, known in self._names.items():
            if name in heard:
                known.since_ns, known.tries, known.heard = now_ns, 0, True
            elif slept:
                known.since_ns = now_ns
            elif self._begins and known.heard:
                continue
            elif known.state is State.CONFIRMED and now_ns >= known.since_ns + known.within_ns:
                found.append(name)
        return self.again(found, now_ns)

    def again(self, names: Iterable[str], now_ns: int) -> Sequence[Silent]:
        """These are known to be silent, until something is heard of them."""
        found = [(name, known) for name in names if (known := self._names.get(name)) and known.tries < _TOLD]
        for _, known in found:
            known.since_ns, known.tries = now_ns, known.tries + 1
        self.renew([name for name, known in found if known.tries < _TOLD])
        return [Silent(name, again=known.tries == _TOLD) for name, known in found]

    def renew(self, names: Sequence[str]) -> None:
        """Subscribe to these once more, for what a subscription begins with."""
        known = [name for name in names if name in self._names]
        self._requests.add(self._unsubscribe, known)
        self._requests.add(self._subscribe, known)
        for name in known:
            self._names[name].state = State.DESIRED

    @property
    def open(self) -> bool:
        """Whether any name is not confirmed yet."""
        return any(known.state is not State.CONFIRMED for known in self._names.values())

    def states(self) -> Mapping[str, State]:
        """Of each name that is not refused."""
        return {name: known.state for name, known in self._names.items()}

    def due(self) -> int:
        """When to ask for what is silent, or for what is `ready`."""
        look_ns = self._looked_ns + LOOK_EVERY_NS if self._names else NEVER
        return min(look_ns, self._requests.due(), *(at_ns for at_ns, _ in self._later))

    def _resume(self, request: Request) -> None:
        """What stands by now stays; what was to go and is wanted once more is subscribed to anew."""
        known = {name: self._names[name].state for name in request.names if name in self._names}
        if request.method == self._subscribe:
            self._requests.add(self._subscribe, [name for name in known if known[name] is not State.CONFIRMED])
        else:
            self._requests.add(self._unsubscribe, [name for name in request.names if name not in known])
            self.renew(request.names)
