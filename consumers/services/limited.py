"""A limit for code we did not write, on the time that the processor gives it."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any


class OutOfTime(BaseException):
    """It had its time. Not an Exception, so that what catches all of those does not catch this one."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in whatever is done within, once this process has worked for so long. In the main thread only.

    The processor's time, so that a machine that is busy or was paused makes nobody late. It cannot end one call of a
    library that takes so long, nor one that sleeps: for these there is watchdog.py.
    """
    within = True

    def over(_signal: int, _frame: FrameType | None) -> None:
        # Again, in case that it is caught all the same.
        if within:
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
            raise OutOfTime

    before: Any = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        within = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
