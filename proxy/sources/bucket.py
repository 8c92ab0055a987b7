"""A token bucket: so many a second, and a burst."""

from __future__ import annotations

from collections.abc import Callable


class Bucket:
    """Holds `burst` at most and is refilled by `rate` a second."""

    __slots__ = ("_burst", "_filled", "_left", "_monotonic", "_rate")

    def __init__(self, rate: float, burst: float, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._left = burst
        self._filled = monotonic()

    def take(self) -> bool:
        """Take one if there is one."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._filled) * self._rate)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
