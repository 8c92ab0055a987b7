"""When to stop asking a server that does not answer, and when to try again. A pure state machine; the clock is injected.

    closed --- `failures` in a row ---> open --- after a pause ---> half open: one try --- success ---> closed
                                          ^------------- failure, with a pause twice as long -----------'

While it is open a look-up costs nothing and says so at once, instead of each request waiting for the deadline.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import msgspec


class State(enum.StrEnum):
    """Whether calls go through: all, none, or one to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOptions(msgspec.Struct, frozen=True):
    """`failures` in a row open it: single losses are no outage. It is tried again after `pause` seconds, then after twice as
    long and so on up to `longest`: short enough that a server that is back is in use within seconds."""

    failures: int = 5
    pause: float = 0.5
    longest: float = 8.0


class Breaker:
    """Ask `admits` before a call, and report its end with `succeeded`, `failed` or `abandoned`: each call exactly once."""

    __slots__ = ("_failures", "_monotonic", "_opened", "_options", "_pause", "_trying", "opened_count", "why")

    def __init__(self, options: BreakerOptions, monotonic: Callable[[], float]) -> None:
        self._options = options
        self._monotonic = monotonic
        self._failures = 0
        self._opened: float | None = None
        self._pause = options.pause
        self._trying = False
        self.opened_count = 0
        self.why = ""

    @property
    def state(self) -> State:
        """The state now."""
        if self._opened is None:
            return State.CLOSED
        return State.HALF_OPEN if self._monotonic() >= self._opened + self._pause else State.OPEN

    def admits(self) -> bool:
        """Whether a call may be made now. In half-open state one caller gets True, the others wait for what it finds."""
        state = self.state
        if state is State.CLOSED:
            return True
        if state is State.OPEN or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """A call was answered."""
        self._failures, self._opened, self._trying = 0, None, False
        self._pause, self.why = self._options.pause, ""

    def failed(self, why: str) -> None:
        """A call was not answered; `why` is kept for those who are turned away."""
        self.why = why
        if self._opened is not None:
            if self._trying:  # calls from before it opened tell nothing new
                self._pause = min(2 * self._pause, self._options.longest)
                self._open()
            return
        self._failures += 1
        if self._failures >= self._options.failures:
            self._open()

    def abandoned(self) -> None:
        """A call ended without telling anything: whoever made it went away."""
        self._trying = False

    def _open(self) -> None:
        self._opened, self._trying, self._failures = self._monotonic(), False, 0
        self.opened_count += 1
