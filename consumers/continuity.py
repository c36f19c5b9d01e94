"""Whether anything is missing in a stream, by the numbers of its entries. Functions of values only."""

from collections.abc import Mapping
from typing import NamedTuple

Fields = Mapping[bytes, bytes]

_GENERATIONS = 8
_MOST_N = 1 << 53


class Step(NamedTuple):
    """What an entry's place says about it."""

    missing: int = 0
    """So many entries between the last one and this one have not come by."""
    repeated: bool = False


_NEXT = Step()


class Continuity:
    """The place in one stream: its entries are numbered 1, 2, 3, … within a generation."""

    def __init__(self) -> None:
        self._g = b""
        self._n = 0
        self._highest: dict[bytes, int] = {}

    def resume(self, g: bytes, n: int) -> None:
        """Stand behind entry `n`, or at 0 wherever the next one is: what was before a group is not missing to it."""
        if not n:
            self._g = b""
            return
        if g != self._g:
            self._g, self._n = g, 0
        self._n = max(n, self._n)
        self._highest[g] = max(n, self._highest.get(g, 0))

    @property
    def stands(self) -> bool:
        """Whether it is known where the next entry has to be."""
        return bool(self._g)

    def missing(self, g: bytes, n: int) -> int:
        """How many entries would be missing before this one."""
        if not self._g or self.has(g, n):
            return 0
        return max(0, n - 1 - (self._n if g == self._g else 0))

    def has(self, g: bytes, n: int) -> bool:
        """Whether this entry, or one behind it, came by in the order of the stream."""
        return n <= self._highest.get(g, 0)

    def pass_by(self) -> None:
        """An entry that does not say which it is: it has a place like any other."""
        self._n += bool(self._g)

    def follow(self, g: bytes, n: int) -> None:
        """An entry that was pending; these have holes where others were acknowledged, so only the very next counts."""
        if g == self._g and n == self._n + 1:
            self.feed(g, n)

    def feed(self, g: bytes, n: int) -> Step:
        """An entry in the order of the stream."""
        if g == self._g and n == self._n + 1 and n > self._highest[g]:  # nearly all of them
            self._n = self._highest[g] = n
            return _NEXT
        return self._unusual(g, n)

    def _unusual(self, g: bytes, n: int) -> Step:
        repeated = self.has(g, n)
        missing = self.missing(g, n)
        self._g, self._n = g, n
        if not repeated:
            self._highest[g] = n
            if len(self._highest) > _GENERATIONS:
                del self._highest[next(iter(self._highest))]
        return Step(missing, repeated)


def place(fields: Fields) -> tuple[bytes, int] | None:
    """The `g` and `n` of an entry, even of one that is unreadable otherwise; None if these are, too."""
    try:
        g, n = fields[b"g"], int(fields[b"n"])
    except (KeyError, ValueError):
        return None
    # Redis keeps both as text between blanks, and calculates with n.
    return (g, n) if len(g.split()) == 1 and 0 < n <= _MOST_N else None
