"""Streams over connections: each where there is room, and what is carried already stays where it is."""

from collections.abc import Callable, Sequence

from ingest.contract.keys import StreamKey
from ingest.exchanges.exchange import Plan


def pack(
    streams: Sequence[StreamKey],
    plans: Sequence[Plan],
    room: int,
    path_of: Callable[[StreamKey], str],
    weight_of: Callable[[StreamKey], int] = lambda _: 1,
) -> tuple[Plan, ...]:
    """As `Exchange.plan`: no connection carries more than `room`, by `weight_of`, nor what is of another path."""
    paths = [plan.path for plan in plans]
    carried = [list(plan.streams) for plan in plans]
    left = [room - sum(map(weight_of, keys)) for keys in carried]
    for key in streams:
        path, weight = path_of(key), weight_of(key)
        place = next((i for i, free in enumerate(left) if paths[i] == path and free >= weight), len(paths))
        if place == len(paths):
            paths.append(path)
            carried.append([])
            left.append(room)
        carried[place].append(key)
        left[place] -= weight
    return tuple(Plan(path, tuple(keys)) for path, keys in zip(paths, carried, strict=True))
