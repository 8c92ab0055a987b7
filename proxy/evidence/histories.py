"""Reads what all instances together remember of a token, and under which tenant's name it goes on."""

from __future__ import annotations

import msgspec

from proxy.core.absence import LastRequest
from proxy.core.history import TokenHistory
from proxy.evidence import keys, queries
from proxy.evidence.aliases import names_of
from proxy.evidence.history import read_part
from proxy.evidence.merge import merge
from proxy.evidence.redis_store import RedisStore


async def read_history(store: RedisStore, fingerprint: str) -> TokenHistory | None:
    """What all instances together remember of a token, under whatever key it was named. None when it is nothing. StoreError."""
    answers = await store.run([("HGETALL", keys.history(name)) for name in await names_of(store, fingerprint)])
    found: TokenHistory | None = None
    for value in (value for answer in answers for value in queries.as_map(answer).values()):
        if (part := read_part(value)) is not None:
            found = part if found is None else merge(found, part)
    return None if found is None else msgspec.structs.replace(found, fingerprint=fingerprint)


async def name_since(store: RedisStore, tenant: str, last: LastRequest | None) -> str:
    """The tenant as which the token of a tenant's last request has been used after it, empty when it has not: the customer was
    renamed where tenants get their names. StoreError."""
    history = await read_history(store, last.fingerprint) if last is not None and last.fingerprint else None
    if last is None or history is None or history.last_seen is None or history.last_seen <= last.at:
        return ""
    return history.tenant if history.tenant != tenant and not history.tenant.startswith("_") else ""
