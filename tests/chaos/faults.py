"""What goes wrong and when: a seed's plan as data, the same every time."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple


class Kind(NamedTuple):
    """How often something goes wrong, in seconds on average, and how long it lasts (or how late things are by it)."""

    every_s: float
    shortest_s: float = 0.0
    longest_s: float = 0.0


class Fault(NamedTuple):
    """One of them. `worker` is whose process or connection it strikes; what strikes Redis strikes all."""

    at_s: float
    kind: str
    worker: int
    for_s: float

    def __str__(self) -> str:
        return f"{self.at_s:6.2f} s  {self.kind}[{self.worker}] {self.for_s:.2f} s"


SURVIVED = {
    "kill": Kind(2.5, 0.05, 0.4),
    "stop": Kind(15, 2, 4),
    "end": Kind(8, 0.05, 0.4),
    "redis-kill": Kind(6, 0.05, 0.4),
    "redis-stop": Kind(15, 2, 4),
    "redis-away": Kind(20, 8, 15),
    "oom": Kind(8, 1, 2),
    "disk-full": Kind(5, 2, 5),
    "reset": Kind(4),
    "half-open": Kind(15),
    "lost-reply": Kind(3),
    "cut": Kind(3),
    "late": Kind(4, 0.05, 1.5),
    "slow": Kind(10, 0.05, 0.5),
    "exchange-reset": Kind(6),
    "exchange-half-open": Kind(15),
    "exchange-slow": Kind(10, 0.05, 0.5),
}
"""What no data may be lost by, or loss be unsaid of."""

DESTRUCTIVE = {
    "power": Kind(10, 0.05, 0.4),
    "disk-slow": Kind(15, 3, 6),
    "flush": Kind(12),
    "delete": Kind(8),
    "restart-exchange": Kind(12, 0.05, 0.4),
}
"""What takes from Redis what it had confirmed, or ends the series of ids that an exchange counts by."""

KINDS = SURVIVED | DESTRUCTIVE

OF_DISK = {"power", "disk-slow"}
"""What needs a disk of Redis's that does as we say."""


def plan(
    seed: int,
    seconds: float,
    kinds: Sequence[str],
    workers: int,
    pace: float = 1.0,
    table: Mapping[str, Kind] = KINDS,
) -> tuple[Fault, ...]:
    """When, what, where and for how long. A kind's own faults do not depend on which other kinds there are."""
    faults: list[Fault] = []
    for name in kinds:
        kind, random = table[name], Random(f"{seed} {name}")
        at_s = random.expovariate(pace / kind.every_s)
        while at_s < seconds:
            for_s = random.uniform(kind.shortest_s, kind.longest_s)
            faults.append(Fault(at_s, name, random.randrange(workers), for_s))
            at_s += random.expovariate(pace / kind.every_s)
    return tuple(sorted(faults))
