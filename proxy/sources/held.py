"""A reading in memory, with its age by a clock that does not jump."""

from __future__ import annotations

from typing import Final

from proxy.core.token import Known, Reading, TokenState

CLOCKS_AGREE: Final = 5.0
"""Seconds by which the source's clock and ours may differ and count as one: NTP keeps milliseconds, an answer may take one."""


class Held:
    """Never changed but for its marks of use; a newer reading takes its place.

    `mono` is the monotonic time at which it was asked for: the state is at least as young. `previous` is the last row before
    the token became unknown. `confirmed`: the primary said so, in a second look or a re-read. `used` is set by whoever gets
    it and collected by the refresh round into `last_used` (monotonic seconds). `dispute`: the seconds by which the source's
    clock was ahead of ours, 0 where they agree.
    """

    __slots__ = ("_clock", "confirmed", "dispute", "last_used", "mono", "previous", "reading", "state", "used")

    def __init__(self, reading: Reading, mono: float, answered: float, previous: Known | None, *, confirmed: bool) -> None:
        self.reading = reading
        self.state: TokenState = reading.state
        self.mono = mono
        self.previous = previous
        self.confirmed = confirmed
        self.used = True
        self.last_used = answered
        offset = reading.clock_offset or 0.0
        self.dispute = offset if abs(offset) > CLOCKS_AGREE else 0.0
        # The source's clock was read before the answer arrived: so it is never taken to be ahead of what it is.
        self._clock = (reading.read_at if reading.source_time is None else reading.source_time) - answered

    @property
    def row(self) -> Known | None:
        """The row to read again: its own, or the one that it had."""
        return self.state if isinstance(self.state, Known) else self.previous

    def age(self, mono_now: float) -> float:
        """Seconds since the state was asked for."""
        return mono_now - self.mono

    def now(self, mono_now: float) -> float:
        """Epoch seconds by the source's clock, carried on by the monotonic one; without such a clock by ours."""
        return self._clock + mono_now

    def again(self, reading: Reading, asked: float, answered: float) -> Held:
        """The same token after a re-read."""
        held = Held(reading, asked, answered, self.row, confirmed=True)
        held.used, held.last_used = self.used, self.last_used
        if reading.read_at == self.reading.read_at:
            held._clock = self._clock  # its source has not looked again yet, and its clock goes on
        return held
