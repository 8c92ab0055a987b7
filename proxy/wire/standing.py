"""Whether each token source can be asked, for readiness: by its answers to questions of our own.

A request that a source did not answer is reason to ask, and no more: it may have been about that one token. And somebody must
ask without requests too, for those stay away from who is not ready (`TokenSide.mind`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from proxy.core.token import Reading, Unavailable

OK: Final = "ok"
UNASKED: Final = "unasked"
"""It was never asked."""


class Standing:
    """`ok`, `unasked`, or the word for its trouble (Unavailable.why), of each source."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._doubted: set[str] = set()

    def saw(self, reading: Reading) -> None:
        """Take note of a look for a request."""
        if isinstance(reading.state, Unavailable):
            self._doubted.add(reading.source)

    def doubt(self, names: Iterable[str]) -> None:
        """These did not answer something else."""
        self._doubted.update(names)

    def answered(self, reading: Reading) -> None:
        """Take note of the answer to a question of our own."""
        self._last[reading.source] = reading.state.why if isinstance(reading.state, Unavailable) else OK
        self._doubted.discard(reading.source)

    def of(self, name: str) -> str:
        """How one source stands."""
        return self._last.get(name, UNASKED)

    def together(self, names: Sequence[str]) -> str:
        """`ok` when one of them at least can be asked; else how the first one stands."""
        states = [self.of(name) for name in names]
        return OK if OK in states else states[0]

    def due(self, names: Sequence[str]) -> list[str]:
        """Those to ask now."""
        return [name for name in names if name in self._doubted or self.of(name) != OK]
