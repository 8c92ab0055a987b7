"""How long to wait before a worker that died is started again. Pure."""

from __future__ import annotations

from typing import Final

FIRST_PAUSE: Final = 0.1
"""Seconds after the first death: the others serve meanwhile, and one death says nothing."""
LONGEST_PAUSE: Final = 30.0
"""Seconds after many: what kills it at once every time is not mended by haste, but may be mended by somebody."""
CALM: Final = 60.0
"""Seconds of life after which earlier deaths are forgotten."""


def deaths(before: int, lived: float) -> int:
    """Deaths in a row, with this one, after a life of so many seconds."""
    return 1 if lived >= CALM else before + 1


def pause(count: int) -> float:
    """Seconds to wait after so many deaths in a row: doubling from the first to the longest."""
    return float(min(FIRST_PAUSE * 2 ** min(count - 1, 16), LONGEST_PAUSE))
