"""How often something may be done, in the two ways in which exchanges count that."""

from collections import deque


class Window:
    """So many times in any stretch of time of one length."""

    def __init__(self, most: int, within_ns: int) -> None:
        self._most = most
        self._within_ns = within_ns
        self._taken: deque[int] = deque(maxlen=most)

    def take(self, now_ns: int) -> bool:
        """Once more, if that is allowed."""
        if self.wait_ns(now_ns):
            return False
        self._taken.append(now_ns)
        return True

    def wait_ns(self, now_ns: int) -> int:
        """How long until it is allowed once more; 0 if it is now."""
        if len(self._taken) < self._most:
            return 0
        return max(0, self._taken[0] + self._within_ns - now_ns)


class Bucket:
    """Once every so often, and so many times at once after a rest."""

    def __init__(self, at_once: int, every_ns: int) -> None:
        self._every_ns = every_ns
        self._rested_ns = at_once * every_ns
        self._spent_ns = 0

    def take(self, now_ns: int) -> bool:
        """Once more, if that is allowed."""
        spent_ns = max(self._spent_ns, now_ns - self._rested_ns) + self._every_ns
        if spent_ns > now_ns:
            return False
        self._spent_ns = spent_ns
        return True
