"""Brings together what several processes, or one before and after a restart, remember of one token. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from proxy.core.history import ClientIdentity, StateChange, TokenHistory

CHANGES_KEPT: Final = 32
"""Changes of state of one token, the newest: a token changes a handful of times in its life; more is a flapping source."""
CLIENTS_KEPT: Final = 8
"""Client identities of one token, the newest: an identity provider has a few egress networks; more is a shared token."""
COUNTS_KEPT: Final = 32
"""Different answers counted for one token; further ones count as `other`."""


def merge(a: TokenHistory, b: TokenHistory) -> TokenHistory:
    """Two memories that count different requests of the same token as one: earliest, latest, and sums."""
    late, early = (a, b) if (_rank(a.last_seen), a.tenant) >= (_rank(b.last_seen), b.tenant) else (b, a)
    good = max(a, b, key=lambda h: (_rank(h.last_good), h.last_good_operation, h.last_good_address))
    bad = max(a, b, key=lambda h: (_rank(h.last_bad), h.last_bad_reason))
    readings = [r for r in (a.last_reading, b.last_reading) if r is not None]
    return TokenHistory(
        fingerprint=a.fingerprint,
        tenant=late.tenant or early.tenant,
        first_seen=_pick(min, a.first_seen, b.first_seen),
        last_seen=_pick(max, a.last_seen, b.last_seen),
        last_good=good.last_good,
        last_good_operation=good.last_good_operation,
        first_bad=_pick(min, a.first_bad, b.first_bad),
        last_bad=bad.last_bad,
        last_bad_reason=bad.last_bad_reason,
        counts=_sum(a.counts, b.counts),
        clients=newest_clients((*a.clients, *b.clients)),
        changes=newest_changes((*a.changes, *b.changes)),
        last_reading=max(readings, key=lambda r: (r.read_at, r.source, r.via)) if readings else None,
        first_good=_pick(min, a.first_good, b.first_good),
        last_good_address=good.last_good_address,
        failing_since=_failing(good.last_good, a.failing_since, b.failing_since),
    )


def newest_clients(clients: Iterable[ClientIdentity]) -> tuple[ClientIdentity, ...]:
    """One entry per identity; the newest few, newest first."""
    found: dict[tuple[str, str], ClientIdentity] = {}
    for one in clients:
        key = (one.agent, one.prefix)
        two = found.get(key)
        if two is not None:
            one = ClientIdentity(*key, min(one.first, two.first), max(one.last, two.last), one.count + two.count)  # noqa: PLW2901
        found[key] = one
    newest = sorted(found.values(), key=lambda c: (-c.last, c.agent, c.prefix))
    return tuple(newest[:CLIENTS_KEPT])


def newest_changes(changes: Iterable[StateChange]) -> tuple[StateChange, ...]:
    """Each change once; the newest few, oldest first."""
    once = {msgspec.json.encode(change): change for change in changes}
    ordered = sorted(once.items(), key=lambda item: (item[1].seen_after, item[0]))
    return tuple(change for _, change in ordered[-CHANGES_KEPT:])


def _rank(at: float | None) -> float:
    """For comparing times of which some never were."""
    return -math.inf if at is None else at


def _pick(choose: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


def _failing(last_good: float | None, *since: float | None) -> float | None:
    """Since when it fails: one process may have seen it work after another had seen it fail."""
    return min((at for at in since if at is not None and (last_good is None or at > last_good)), default=None)


def _sum(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
    found = dict(a)
    for answer, count in sorted(b.items()):
        key = answer if answer in found or len(found) < COUNTS_KEPT else "other"
        found[key] = found.get(key, 0) + count
    return found
