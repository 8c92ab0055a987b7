"""The matrix as it is printed."""

from __future__ import annotations

from tests.faults.load import Outcome
from tests.faults.nonsense import FAULTS, NONSENSE, PARTS

_HEAD = (
    ("part", 16), ("fault", 20), ("requests", 9), ("false 401", 10), ("false allow", 12), ("latest allow", 13), ("5xx", 5),
    ("cut", 5), ("slowest", 8), ("incidents", 10), ("lost", 5), ("doubled", 8), ("recovered", 10), ("stored", 7),
)  # fmt: skip

_FOOT = """Times in seconds. latest allow: the last time that a token was let through after its revocation; recovered: after the
fault was mended, until the last wrong answer; stored: after the load's end, until the store had every incident.
"""


class Table:
    """One row per cell."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Outcome] = {}

    def add(self, part: str, fault: str, outcome: Outcome) -> None:
        """Keep a row."""
        self._rows[part, fault] = outcome

    def text(self) -> str:
        """All rows in the order of parts and faults, and those that make no sense with the reason."""
        lines = ["", "".join(f"{name:<{width}}" if width > 15 else f"{name:>{width}}" for name, width in _HEAD)]
        for part in PARTS:
            for fault in FAULTS:
                if (part, fault) in self._rows:
                    lines.append(_row(part, fault, self._rows[part, fault]))
                elif (part, fault) in NONSENSE:
                    lines.append(f"{part:<16}{fault:<20} -  {NONSENSE[part, fault]}")
        return "\n".join([*lines, _FOOT])


def _row(part: str, fault: str, o: Outcome) -> str:
    values = (
        o.requests, o.false_401, o.false_allows, f"{o.late:.1f}", o.errors_5xx, o.cut, f"{o.slowest:.1f}", o.incidents, o.lost,
        o.doubled, f"{o.recovery:.1f}", f"{o.evidence:.1f}",
    )  # fmt: skip
    widths = [width for _, width in _HEAD[2:]]
    return f"{part:<16}{fault:<20}" + "".join(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))
