"""What a reader counts: entries, and how long they took to come. Functions of values only."""

from msgspec import Struct, field

_BUCKETS = 304  # up to 2^40 µs, twelve days


class Latencies:
    """How long recent events took. Buckets are an eighth of an octave wide, so a figure is right within 7 %."""

    def __init__(self) -> None:
        self._now = [0] * _BUCKETS
        self._before = [0] * _BUCKETS

    def add(self, latency_ns: int) -> None:
        """Count one. Below 0 (the clocks of two machines) counts as 0."""
        us = max(latency_ns, 0) // 1000
        octave = max(us.bit_length() - 4, 0)
        self._now[min((octave << 3) + (us >> octave), _BUCKETS - 1)] += 1

    def turn(self) -> None:
        """Forget what was added before the last turn."""
        self._before, self._now = self._now, [0] * _BUCKETS

    def quantile_us(self, share: float) -> int:
        """That share took no longer, in µs; 0 if there was nothing."""
        counts = [now + before for now, before in zip(self._now, self._before, strict=True)]
        wanted = share * sum(counts)
        so_far = 0
        for bucket, count in enumerate(counts):
            so_far += count
            if count and so_far >= wanted:
                return _middle_us(bucket)
        return 0


def _middle_us(bucket: int) -> int:
    octave = max((bucket >> 3) - 1, 0)
    return (bucket - (octave << 3) << octave) + (1 << octave) // 2


class Figures(Struct):
    """A reader's own account of one exchange."""

    handled: int = 0
    """Acknowledged and known to be."""
    holes: int = 0
    lost: int = 0
    """Entries: those missing in the holes, and those trimmed while pending."""
    unreadable: int = 0
    dead: int = 0
    """Put among the dead letters; unreadable ones, too."""
    skipped: int = 0
    """Entries of a type that is of a later day; they are acknowledged."""
    stopped: int = 0
    """Streams that have an entry of a later schema, at which this reader has stopped."""
    latencies: Latencies = field(default_factory=Latencies)

    def published(self, now_ns: int) -> dict[str, int]:
        """As others read it in the hash `keys.readers`."""
        return {
            "seen_ns": now_ns,
            "handled": self.handled,
            "holes": self.holes,
            "lost": self.lost,
            "unreadable": self.unreadable,
            "dead": self.dead,
            "skipped": self.skipped,
            "stopped": self.stopped,
            "latency_p50_us": self.latencies.quantile_us(0.5),
            "latency_p99_us": self.latencies.quantile_us(0.99),
        }
