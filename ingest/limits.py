"""Token buckets: what an exchange allows per minute, spent evenly enough that it never has to say no."""


class TokenBucket:
    """Up to `capacity` at once, refilled by `per_second`. Time comes in; nothing waits here."""

    def __init__(self, capacity: float, per_second: float) -> None:
        self._capacity = capacity
        self._per_second = per_second
        self._tokens = capacity
        self._at_ns = 0

    def take(self, amount: float, now_ns: int) -> float:
        """Take `amount` and return how many seconds to wait before using it: 0 if it was there."""
        elapsed_s = max(0, now_ns - self._at_ns) / 1e9 if self._at_ns else 0.0
        self._tokens = min(self._capacity, self._tokens + elapsed_s * self._per_second) - amount
        self._at_ns = now_ns
        return max(0.0, -self._tokens / self._per_second)
