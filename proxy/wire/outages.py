"""Says in the log when a token source cannot be read, in its own words, and when it answers again.

A line for each request would say the same a thousand times: a kind of trouble is told once, and once a minute while it lasts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from proxy.core.token import Reading, Unavailable

TOLD_EVERY: Final = 60.0
"""Seconds after which trouble that goes on, or comes and goes, is told once more."""

_log = structlog.get_logger("source")


class Outages:
    """The sources that do not answer. `detail` of a reading holds no value of a row and no credential (see Trouble)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._down: set[str] = set()
        self._told: dict[tuple[str, str], float] = {}

    def saw(self, reading: Reading) -> None:
        """Take note of one look at a source."""
        if isinstance(reading.state, Unavailable):
            self._unavailable(reading, reading.state)
        elif reading.source in self._down:
            self._down.discard(reading.source)
            _log.info("source_answers", source=reading.source)

    def not_read_again(self, reading: Reading) -> None:
        """The tokens in use could not be read again; a look at single ones may well be answered meanwhile."""
        if isinstance(reading.state, Unavailable) and self._is_due((reading.source, f"re-read {reading.state.why}")):
            _log.warning(
                "tokens_not_read_again",
                source=reading.source,
                why=reading.state.why,
                detail=reading.state.detail,
                fix="until then a revocation is seen only when fresh.stale_grace ends",
            )

    def _is_due(self, name: tuple[str, str]) -> bool:
        now = self._clock()
        if now - self._told.get(name, -TOLD_EVERY) < TOLD_EVERY:
            return False
        self._told[name] = now
        return True

    def _unavailable(self, reading: Reading, state: Unavailable) -> None:
        if state.why == "breaker" and reading.source in self._down:
            return  # it only repeats what opened it
        if not self._is_due((reading.source, state.why)):
            return
        self._down.add(reading.source)
        _log.warning(
            "source_unavailable",
            source=reading.source,
            via=reading.via,
            why=state.why,
            detail=state.detail,
            fix="scim-witness doctor says more; until then whoever needs this source gets 503",
        )
