"""All tokens that are remembered as having worked, for the audit: read once, a few hundred bytes each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from proxy.core.history import TokenHistory
from proxy.evidence import keys, queries
from proxy.evidence.history import GOOD_LIMIT, read_part
from proxy.evidence.merge import merge
from proxy.evidence.redis_store import BATCH, RedisStore

PREFIXES: Final = 16**4
"""Lists of fingerprints in the store, one for each 4 digits."""


async def remembered(store: RedisStore, limit: int = GOOD_LIMIT) -> AsyncIterator[TokenHistory]:
    """Yield histories of tokens that were good at some time, at most `limit`, without what an audit does not ask for:
    counts and changes. StoreError."""
    found = 0
    for start in range(0, PREFIXES, BATCH):
        lists = [keys.known_tokens(f"{number:04x}") for number in range(start, min(start + BATCH, PREFIXES))]
        answers = await store.run([("ZRANGE", name, 0, -1) for name in lists])
        fingerprints = [queries.as_text(member) for answer in answers for member in answer]
        for begin in range(0, len(fingerprints), BATCH):
            for history in await read_histories(store, fingerprints[begin : begin + BATCH]):
                yield history
                found += 1
                if found >= limit:
                    return


async def read_histories(store: RedisStore, fingerprints: list[str]) -> list[TokenHistory]:
    """The histories of those of these tokens that were good at some time, without counts and changes. StoreError."""
    answers = await store.run([("HGETALL", keys.history(fingerprint)) for fingerprint in fingerprints])
    found = []
    for answer in answers:
        whole: TokenHistory | None = None
        for value in queries.as_map(answer).values():
            if (part := read_part(value)) is not None:
                whole = part if whole is None else merge(whole, part)
        if whole is not None and whole.last_good is not None:
            found.append(msgspec.structs.replace(whole, counts={}, changes=()))
    return found
