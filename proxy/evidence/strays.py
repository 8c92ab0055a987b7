"""Looks for what verify.py cannot see: incidents in the store that no chain has, and chains that no list names.

A chain tells what was removed or altered in it. Somebody who adds an incident, or takes a chain out of the lists so that nobody
checks it, is found from the other side: each incident is looked up in the log of the chain that it says it is of.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from proxy.core.incident import tag_of, time_of
from proxy.evidence import keys, queries, records
from proxy.evidence.redis_store import BATCH, RedisStore
from proxy.evidence.verify import EVERY_TAG, SLACK, Fault, purged, read_incidents, read_lines

SETTLED: Final = 600.0
"""Seconds after which the log of a record is there: both are delivered together, and again until the store took all."""
LISTED: Final = 100_000
"""Incidents looked up: those of the index over all tenants."""


class Strays(msgspec.Struct, frozen=True):
    """`faults`: the first added incident of each chain that it names. `chains`: all that are named."""

    faults: tuple[Fault, ...] = ()
    chains: tuple[str, ...] = ()
    checked: int = 0


async def strays(store: RedisStore, retention_days: float, now: float | None = None) -> Strays:
    """Look up the newest incidents. Three round trips per batch. StoreError."""
    moment = time.time() if now is None else now
    oldest, gone = moment - retention_days * 86_400 + SLACK, await purged(store)
    faults: dict[str, Fault] = {}
    named: dict[str, None] = {}
    checked = 0
    ids = sorted(await queries.members(store, keys.RECENT, LISTED))
    for start in range(0, len(ids), BATCH):
        some = [i for i in ids[start : start + BATCH] if _judged(i, max(oldest, gone.get(EVERY_TAG, 0.0)), gone, moment)]
        found = await read_incidents(store, some)
        places = {i: (f.chain, f.sequence) for i, f in found.items() if not isinstance(f, records.RecordError)}
        lines = dict(zip(places, await read_lines(store, list(places.values())), strict=True))
        checked += len(found)
        for incident in found:
            chain, sequence = places.get(incident, ("", 0))
            line = lines.get(incident)
            if line is not None:
                named[chain] = None
            if line is None or (line.kind, line.incident) != ("I", incident):
                faults.setdefault(chain, Fault(chain, sequence, "added", incident))
    return Strays(tuple(faults.values()), tuple(named), checked)


def _judged(incident: str, oldest: float, gone: dict[str, float], now: float) -> bool:
    """Whether its line must be there: neither past its retention, nor purged, nor on its way. An id that is none is judged."""
    try:
        at, tag = time_of(incident), tag_of(incident)
    except ValueError:
        return True
    return max(oldest, gone.get(tag, 0.0)) <= at <= now - SETTLED
