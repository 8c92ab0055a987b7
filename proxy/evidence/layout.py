"""The number of the store's layout: of the names and types in `keys.py` and of what is under them.

A change that an older reader or writer would misread raises it, and adds its step to `migrate.py`. A store without number that
holds incidents is older than the first number; an empty one gets ours with the first delivery.
"""

from __future__ import annotations

from typing import Final

from proxy.evidence import keys
from proxy.evidence.redis_store import RedisStore

VERSION: Final = 1
"""The layout that this program reads and writes."""

OLDER: Final = 0
"""A store that holds incidents and has no number."""


async def layout_of(store: RedisStore) -> int | None:
    """The store's layout, None for an empty store. StoreError."""
    number, holds = await store.run([("GET", keys.LAYOUT), ("EXISTS", keys.RECENT)])
    if number is not None:
        return int(number) if bytes(number).isdigit() else OLDER
    return OLDER if holds else None


async def settle(store: RedisStore) -> int:
    """Give an empty store our number; return the store's. StoreError."""
    found = await layout_of(store)
    if found is None:
        await store.run([("SET", keys.LAYOUT, VERSION, "NX")])
        return VERSION
    return found


def trouble(found: int) -> str:
    """What is the matter with a store of this layout, empty when nothing is."""
    if found < VERSION:
        return f"the store has an older layout ({found}, this program's is {VERSION}): scim-witness store migrate"
    if found > VERSION:
        return f"a newer program wrote the store (layout {found}, this one knows {VERSION}): upgrade this one"
    return ""
