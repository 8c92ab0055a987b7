"""What an address asks for: filters of the incident list and spans of time, read strictly. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from proxy.core.incident import Incident, Kind
from proxy.core.verdict import MEANINGS

LONGEST: Final = 200
"""Characters of a filter's value: tenants and reasons are shorter."""
SPAN: Final = 7 * 86_400.0
LONGEST_SPAN: Final = 90 * 86_400.0
"""Seconds that are shown when nothing is asked for, and that may be asked for at most: bounded work for the store."""
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{32}")


class BadQuestion(ValueError):  # noqa: N818 - the asker is wrong, not we
    """The address asks for something that cannot be: its text says what and how it should be."""


class Filters(msgspec.Struct, frozen=True):
    """Which incidents. `before` is a cursor: an incident id. Empty: no filter."""

    tenant: str = ""
    token: str = ""
    reason: str = ""
    kind: str = ""
    before: str = ""

    def matching(self, incidents: Iterable[Incident]) -> list[Incident]:
        """Those that pass the filters for which the store has no index."""
        return [
            i
            for i in incidents
            if (not self.reason or i.reason == self.reason)
            and (not self.kind or i.kind == self.kind)
            and (not self.tenant or i.tenant == self.tenant)
        ]

    def query(self, **changes: str) -> str:
        """The query of an address with these filters, and these changes."""
        values = msgspec.structs.asdict(self) | changes
        return urlencode({name: value for name, value in values.items() if value})


def filters_of(query: Mapping[str, str]) -> Filters:
    """Read filters. BadQuestion when a value cannot be."""
    values = {name: query.get(name, "").strip()[: LONGEST + 1] for name in Filters.__struct_fields__}
    for name, value in values.items():
        if len(value) > LONGEST or not value.isprintable():
            raise BadQuestion(f"{name}: at most {LONGEST} characters")
    token = values["token"].lower()
    if token and not _FINGERPRINT.fullmatch(token):
        raise BadQuestion("token: a fingerprint of 32 hex digits, never a token")
    if values["kind"] and values["kind"] not in {str(kind) for kind in Kind}:
        raise BadQuestion(f"kind: one of {', '.join(str(kind) for kind in Kind)}")
    return Filters(**(values | {"token": token}))


def is_fingerprint(text: str) -> bool:
    """Tell whether a text is a whole fingerprint."""
    return bool(_FINGERPRINT.fullmatch(text))


def span_of(query: Mapping[str, str], now: float) -> tuple[float, float]:
    """Read `from` and `to` (epoch seconds) of an address; the last seven days without them. BadQuestion."""
    try:
        end = float(query["to"]) if "to" in query else now
        start = float(query["from"]) if "from" in query else end - SPAN
    except ValueError:
        raise BadQuestion("from and to: seconds since the epoch") from None
    if not 0 <= start < end <= now + SPAN:
        raise BadQuestion("from must come before to, and neither may lie before 1970 or far ahead")
    if end - start > LONGEST_SPAN:
        raise BadQuestion(f"from and to: at most {LONGEST_SPAN / 86_400:.0f} days apart")
    return start, end


def limit_of(query: Mapping[str, str], default: int, most: int) -> int:
    """Read `limit`. BadQuestion when it is no number from 1 to `most`."""
    text = query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= most):
        raise BadQuestion(f"limit: a number from 1 to {most}")
    return int(text)


REASONS: Final = tuple(str(reason) for reason, meaning in MEANINGS.items() if meaning.status in (401, 403))
"""What the list offers to filter by."""
