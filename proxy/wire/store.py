"""Opens the store: the configured one, or the embedded one in the state directory."""

from __future__ import annotations

from pathlib import Path

from proxy.evidence import embedded
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.embedded import EmbeddedStore
from proxy.evidence.redis_store import RedisStore, Saw, unseen
from proxy.settings import Settings


def options(settings: Settings, url: str) -> StoreOptions:
    """How to reach the store at `url`."""
    s = settings.store
    configured = s.url is not None
    return StoreOptions(
        url=url,
        username=s.username if configured else None,
        password=s.password.get_secret_value() if configured and s.password is not None else None,
        ca_file=str(s.ca_file) if configured and s.ca_file is not None else None,
        timeout=s.timeout,
    )


async def start_embedded(settings: Settings, state: Path) -> EmbeddedStore | None:
    """Start the embedded store where no other is configured. Raises EmbeddedStoreError."""
    if settings.store.url is not None:
        return None
    return await embedded.start(state, settings.store.embedded_binary)


def url_of(settings: Settings) -> str | None:
    """The URL of the store: the configured one's, or that of the embedded one if it runs."""
    if settings.store.url is not None:
        return settings.store.url.get_secret_value()
    return embedded.url_of(settings.state_dir.resolve())


def open_store(settings: Settings, url: str, saw: Saw = unseen) -> RedisStore:
    """A client of the store at `url`; nothing is connected yet. `saw` gets the operation and the seconds of each round trip."""
    return RedisStore(connect(options(settings, url)), saw)
