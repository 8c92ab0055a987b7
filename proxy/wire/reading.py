"""Opens the evidence for reading, for commands that run beside the proxy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from proxy.evidence.reader import EvidenceReader
from proxy.settings import Settings
from proxy.wire import store as stores


@contextlib.asynccontextmanager
async def open_reader(settings: Settings) -> AsyncIterator[EvidenceReader]:
    """Yield a reader over the store, where it can be reached, and over what still lies in the spool."""
    url = stores.url_of(settings)
    store = stores.open_store(settings, url) if url is not None else None
    try:
        yield EvidenceReader(store, settings.state_dir.resolve() / "spool")
    finally:
        if store is not None:
            await store.close()
