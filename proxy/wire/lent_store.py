"""Opens stores for long work beside the proxies: any one by its URL, and the embedded one whether or not it runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from proxy.evidence import embedded
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.embedded import EmbeddedStoreError
from proxy.evidence.moving import Patient
from proxy.evidence.redis_store import StoreError
from proxy.settings import Settings
from proxy.wire.store import options


@contextlib.asynccontextmanager
async def lent(settings: Settings) -> AsyncIterator[str]:
    """The URL of the embedded store in the state directory: of the one that runs, or of one that runs as long as this. Raises
    StoreError."""
    directory = settings.state_dir.resolve()
    running = embedded.url_of(directory)
    if running is not None:
        yield running
        return
    if not embedded.is_in(directory):
        raise StoreError("unreachable", f"there is no embedded store in {directory}")
    try:
        own = await embedded.start(directory, settings.store.embedded_binary)
    except EmbeddedStoreError as error:
        raise StoreError("unreachable", str(error)) from None
    try:
        yield own.url
    finally:
        await own.stop()


def open_patient(settings: Settings, url: str, *, configured: bool, password_file: Path | None = None) -> Patient:
    """A client for long work on the `configured` store, or on another one, of which the URL says all but the password."""
    if configured:
        return Patient(connect(options(settings, url)))
    return Patient(
        connect(
            StoreOptions(
                url,
                password=None if password_file is None else password_file.read_text().rstrip("\r\n"),
                password_file=None if password_file is None else str(password_file),
                timeout=settings.store.timeout,
            )
        )
    )
