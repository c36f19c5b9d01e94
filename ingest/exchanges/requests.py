"""What we say on a socket: evenly spaced, in batches, and each answered in time or the connection is given up."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, structs

from ingest.exchanges.exchange import NEVER, Reconnect

_DIGITS = 15


class Request(Struct, frozen=True):
    """One message to be: a method and the names that it is about, if any."""

    id: int
    method: str
    names: tuple[str, ...]


def number_of(request_id: str) -> int:
    """The id of a request that an exchange gives back as text; 0 for one that is none of ours."""
    return int(request_id) if request_id.isdecimal() and len(request_id) <= _DIGITS else 0


class Requests:
    """The messages that wait to go, and those that wait for an answer."""

    def __init__(
        self,
        *,
        names_per_message: int,
        every_ns: int,
        answered_within_ns: int,
        kind_of: Callable[[str], str] = lambda _: "",
        in_turn: bool = False,
    ) -> None:
        """A message is about names of one kind. `in_turn` where answers do not say to what: each awaits its own."""
        self._in_turn = in_turn
        self._names_per_message = names_per_message
        self._kind_of = kind_of
        self._every_ns = every_ns
        self._answered_within_ns = answered_within_ns
        self._waiting: deque[Request] = deque()
        self._sent: dict[int, tuple[int, Request]] = {}
        self._count = 0
        self._next_ns = 0

    def add(self, method: str, names: Iterable[str]) -> None:
        """Say this as soon as the spacing allows."""
        kinds: dict[str, list[str]] = {}
        for name in names:
            kinds.setdefault(self._kind_of(name), []).append(name)
        for rest in kinds.values():
            for i in range(0, len(rest), self._names_per_message):
                self._count += 1
                self._waiting.append(Request(self._count, method, tuple(rest[i : i + self._names_per_message])))

    def ask(self, method: str) -> None:
        """Say this, about no names in particular."""
        self._count += 1
        self._waiting.append(Request(self._count, method, ()))

    def ready(self, now_ns: int) -> Iterator[Request]:
        """What may go now: one message at most. Raises Reconnect when an answer is overdue."""
        for sent_ns, request in self._sent.values():
            if now_ns >= sent_ns + self._answered_within_ns:
                raise Reconnect(f"no answer to {request.method} of {len(request.names)} names")
        if self._may_go and now_ns >= self._next_ns:
            request = self._waiting.popleft()
            self._sent[request.id] = (now_ns, request)
            self._next_ns = now_ns + self._every_ns
            yield request

    @property
    def newest(self) -> Request | None:
        """Of those that wait for an answer, the last one said."""
        return next((request for _, request in reversed(self._sent.values())), None)

    def sent(self, request_id: int) -> Request | None:
        """The request of this id that waits for an answer, as far as it does."""
        _, request = self._sent.get(request_id, (0, None))
        return request

    def answered(self, request_id: int) -> Request | None:
        """The request that this answers, None for one we never made."""
        _, request = self._sent.pop(request_id, (0, None))
        return request

    def answered_for(self, request_id: int, name: str) -> Request | None:
        """The request of which this answers one name; it is answered once all of them are."""
        sent_ns, request = self._sent.get(request_id, (0, None))
        if request is None or name not in request.names:
            return None
        rest = tuple(other for other in request.names if other != name)
        if rest:
            self._sent[request_id] = (sent_ns, structs.replace(request, names=rest))
        else:
            del self._sent[request_id]
        return structs.replace(request, names=(name,))

    def due(self) -> int:
        """When `ready` next has something to say."""
        overdue = min((sent_ns + self._answered_within_ns for sent_ns, _ in self._sent.values()), default=NEVER)
        return min(overdue, self._next_ns) if self._may_go else overdue

    @property
    def _may_go(self) -> bool:
        return bool(self._waiting) and not (self._in_turn and self._sent)
