"""What a group did to a stream, judged: every entry once, in order, and among the dead letters what is poison."""

from collections import Counter
from collections.abc import Collection, Sequence

from msgspec import Struct


class Verdict(Struct, frozen=True):
    """Of one group, over all streams or on one; counts of entries."""

    group: str
    entries: int = 0
    lost: int = 0
    """Neither handled nor among the dead letters."""
    doubled: int = 0
    """Effects, and dead letters, beyond the first."""
    inverted: int = 0
    """Handled at first after one that stands behind them in the stream."""
    invented: int = 0
    """Effects of what is not in the stream."""
    buried: int = 0
    """Innocents among the dead letters."""
    spared: int = 0
    """Poison that is not."""

    def __add__(self, other: "Verdict") -> "Verdict":
        counts = {name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__[1:]}
        return Verdict(self.group, **counts)

    @property
    def once_in_order(self) -> bool:
        """What owners promise."""
        return self.at_least_once and not (self.doubled or self.inverted)

    @property
    def at_least_once(self) -> bool:
        """What competing readers promise."""
        return not (self.lost or self.invented or self.buried or self.spared)


def judge(
    group: str, entries: Sequence[str], poison: Collection[str], effects: Sequence[str], dead: Sequence[str]
) -> Verdict:
    """Of one stream, whose entries are named by `s`."""
    place = {name: i for i, name in enumerate(entries)}
    times = Counter(effects)
    # An entry has either one effect or one letter.
    ends = times + Counter(dead)
    firsts = [place[name] for name in dict.fromkeys(effects) if name in place]
    return Verdict(
        group,
        entries=len(entries),
        lost=sum(name not in ends for name in entries),
        doubled=sum(count - 1 for count in ends.values()),
        inverted=_behind_their_time(firsts),
        invented=sum(name not in place for name in times),
        buried=len(set(dead) - set(poison)),
        spared=len(set(poison) & place.keys() - set(dead)),
    )


def _behind_their_time(places: Sequence[int]) -> int:
    late, furthest = 0, -1
    for each in places:
        late += each < furthest
        furthest = max(furthest, each)
    return late
