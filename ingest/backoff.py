"""How long to wait before the next attempt."""

from msgspec import Struct


class Backoff(Struct, frozen=True):
    """`first_s`, then `factor` times as long each time up to `most_s`, each ± the share `jitter`."""

    first_s: float
    most_s: float
    factor: float = 2.0
    jitter: float = 0.1

    def delay_s(self, failures: int, chance: float) -> float:
        """The wait after that many failures in a row (≥ 1); `chance` in [0, 1) spreads those who failed together."""
        # The exponent is bounded: a float overflows after a thousand failures.
        exact = min(self.most_s, self.first_s * self.factor ** min(failures - 1, 60))
        return exact * (1 + self.jitter * (2 * chance - 1))
