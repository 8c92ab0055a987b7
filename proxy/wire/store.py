"""Opens the store: the configured one, or the embedded one in the state directory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from proxy.evidence import embedded
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.copies import Copies
from proxy.evidence.embedded import EmbeddedStore, EmbeddedStoreError
from proxy.evidence.redis_store import RedisStore, Saw, unseen
from proxy.settings import Settings
from proxy.wire.certificates import trusting
from proxy.wire.state import StartFault

INHERIT_SECONDS: Final = 900.0
"""For the process before this one to end: the longest listen.drain_seconds (600) and its flush, and slack."""

_log = structlog.get_logger("store")


def options(settings: Settings, url: str) -> StoreOptions:
    """How to reach the store at `url`."""
    s = settings.store
    configured = s.url is not None
    return StoreOptions(
        url=url,
        username=s.username if configured else None,
        password=s.password.get_secret_value() if configured and s.password is not None else None,
        password_file=_password_file(settings) if configured else None,
        ca_file=str(s.ca_file) if configured and s.ca_file is not None else None,
        timeout=s.timeout,
    )


def _password_file(settings: Settings) -> str | None:
    """The file from which the password was read, so that it is read again when it changes; None where the environment won."""
    s = settings.store
    if s.password_file is None or s.password is None:
        return None
    try:
        return str(s.password_file) if s.password_file.read_text().rstrip("\r\n") == s.password.get_secret_value() else None
    except (OSError, UnicodeDecodeError):
        return None


class OwnStore:
    """The embedded store, where no other is configured: started, started again whenever it dies, and stopped."""

    def __init__(self, settings: Settings, state: Path) -> None:
        self._settings = settings
        self._state = state
        self._embedded: EmbeddedStore | None = None
        self._heir_of = ""
        self.url = settings.store.url.get_secret_value() if settings.store.url is not None else ""

    async def start(self, *, succeeds: bool) -> None:
        """Have a URL. A process that `succeeds` another uses that one's store as long as it is there. Raises StartFault."""
        if self.url:
            if self._settings.store.ca_file is not None:
                _ = trusting("store", self._settings.store.ca_file)  # else each connect would fail, and none say why
            return
        if succeeds and (url := embedded.url_of(self._state)) is not None:
            self.url = self._heir_of = url
            return
        try:
            self._embedded = await embedded.start(self._state, self._settings.store.embedded_binary)
        except EmbeddedStoreError as error:
            raise StartFault(f"store: {error}") from None
        self.url = self._embedded.url

    async def mind(self) -> None:
        """Start it again whenever it dies, for ever; meanwhile incidents wait in the spool."""
        if self._heir_of:
            await self._inherit()
        while self._embedded is not None:
            code = await self._embedded.wait_dead()
            _log.error("embedded_store_died", code=code)
            await self._embedded.restart()
        await asyncio.Event().wait()

    async def _inherit(self) -> None:
        """Wait for the other process to end, then run the store in its stead, under the same URL."""
        self._embedded = await embedded.start(
            self._state, self._settings.store.embedded_binary, heir_of=self._heir_of, patience=INHERIT_SECONDS
        )
        self._heir_of = ""
        _log.info("embedded_store_inherited")

    async def stop(self) -> None:
        """End it in order."""
        if self._embedded is not None:
            await self._embedded.stop()


def url_of(settings: Settings) -> str | None:
    """The URL of the store: the configured one's, or that of the embedded one if it runs."""
    if settings.store.url is not None:
        return settings.store.url.get_secret_value()
    return embedded.url_of(settings.state_dir.resolve())


def open_store(settings: Settings, url: str, saw: Saw = unseen) -> RedisStore:
    """A client of the store at `url`; nothing is connected yet. `saw` gets the operation and the seconds of each round trip."""
    client = connect(options(settings, url))
    return RedisStore(client, saw, Copies(client, settings.store.copies if settings.store.url else 0, settings.store.timeout))
