"""Which tokens in use will fail, by what the store remembers of them: for the overview, so bounded, and for all replicas alike.

The rules are those of the audit (`core/audit.py`), over the newest tokens in use instead of every row: what only the table
knows (tokens that were not used here, newer ones that nobody has used yet, grants) is the audit's own to find.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from proxy.core.audit import IN_USE, Code, Row, Rules, examine
from proxy.core.history import TokenHistory
from proxy.core.token import Known
from proxy.evidence import keys, queries
from proxy.evidence.in_use import read_histories
from proxy.evidence.redis_store import RedisStore

LOOKED_AT: Final = 20_000
"""Tokens, those last seen first: some 20 MB from the store, in pages that take a few milliseconds each."""
PAGE: Final = 100
TOLD: Final = (Code.EXPIRING, Code.SUPERSEDED_IN_USE, Code.OWNER_INACTIVE)
"""What stops a customer; the audit has more to tell."""


class Risk(msgspec.Struct, frozen=True):
    """Tokens in use of one tenant that will fail for one reason; `first` is when the first one does (epoch seconds), None when
    nobody can say."""

    code: Code
    count: int
    first: float | None = None


async def at_risk(store: RedisStore, now: float, rules: Rules) -> dict[str, tuple[Risk, ...]]:
    """The risks of each tenant that has any. StoreError."""
    names = list(await queries.members(store, keys.RECENT_TOKENS, LOOKED_AT))
    found: list[TokenHistory] = []
    for start in range(0, len(names), PAGE):
        found += await read_histories(store, names[start : start + PAGE])
    return judge(found, now, rules)


def judge(histories: Iterable[TokenHistory], now: float, rules: Rules) -> dict[str, tuple[Risk, ...]]:
    """Judge tokens by what is remembered of them. Pure."""
    used = [(use, use.last_reading.source, row) for use in histories if (row := _row(use, now)) and use.last_reading]
    newest: dict[tuple[str, str, str | None, str | None], float] = {}
    for _, source, row in used:
        kin = (source, row.tenant, row.application, row.owner)
        newest[kin] = max(row.created_at, newest.get(kin, row.created_at))
    risks: dict[str, dict[Code, Risk]] = {}
    for use, source, row in used:
        whole = Row(source, row, newest[source, row.tenant, row.application, row.owner])
        for finding in examine(whole, use, now, rules):
            if finding.code in TOLD:
                of_tenant = risks.setdefault(row.tenant, {})
                of_tenant[finding.code] = _more(of_tenant.get(finding.code), finding.code, finding.at)
    return {tenant: tuple(found[code] for code in TOLD if code in found) for tenant, found in risks.items()}


def _row(use: TokenHistory, now: float) -> Known | None:
    """The row of a token that was served lately."""
    if use.last_good is None or now - use.last_good > IN_USE or use.last_reading is None:
        return None
    return use.last_reading.state if isinstance(use.last_reading.state, Known) else None


def _more(before: Risk | None, code: Code, at: float | None) -> Risk:
    if before is None:
        return Risk(code, 1, at)
    times = [time for time in (before.first, at) if time is not None]
    return Risk(code, before.count + 1, min(times, default=None))
