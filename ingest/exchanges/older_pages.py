"""Trades from an id on, where REST answers with those before one: how to ask for them."""

from collections.abc import Sequence

from ingest.contract.events import Trade

PAGE: int = 1_000
_FARTHEST = 32 * PAGE

Row = tuple[int, Trade]


class OlderPages:
    """Of one symbol. The ids are consecutive: the page before `first` + 1,000 is the one that begins with `first`.

    If there is nothing that old, what there is begins later, and is looked for ever higher. If a page is shorter than
    thought, the next one goes on downwards.
    """

    def __init__(self) -> None:
        self._first = 0
        self._height = PAGE
        self._found: list[Row] = []

    def ask(self, first: int) -> int:
        """Begin anew: the id before which a page is to be asked for."""
        self._first, self._height, self._found = first, PAGE, []
        return first + PAGE

    def answered(self, page: Sequence[Row]) -> int | None:
        """A page, oldest first, has come: before which id to ask for another one, None once `found` is all there is."""
        news = [row for row in page if row[0] >= self._first]
        self._found = [*news, *self._found]
        if news and news[0][0] > self._first and len(news) == len(page):
            return news[0][0]
        if self._found or self._height >= _FARTHEST:
            return None
        self._height *= 2
        return self._first + self._height

    @property
    def found(self) -> list[Row]:
        """What is known of them, oldest first."""
        return self._found
