"""Builds the evidence from settings: spool, store, shipper, memory of tokens, heartbeats, follow-ups."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from proxy.core.credential import Secret
from proxy.core.exchange import OAUTH, Exchange
from proxy.core.history import TokenHistory
from proxy.core.silence import Silence
from proxy.core.token import Known, Reading, TokenSource
from proxy.evidence.activity import Activity
from proxy.evidence.aliases import Aliases, Former
from proxy.evidence.beside import Beside
from proxy.evidence.bus import Bus
from proxy.evidence.clerk import Clerk
from proxy.evidence.events import Events
from proxy.evidence.fold import Folder
from proxy.evidence.heartbeat import Heartbeat, Probe
from proxy.evidence.histories import read_history
from proxy.evidence.history import History
from proxy.evidence.oauth_ledger import OauthLedger
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.reread import Rereader
from proxy.evidence.room import Room
from proxy.evidence.settle import Settle
from proxy.evidence.shipper import Shipper
from proxy.evidence.silence import Expected, Watch
from proxy.evidence.spool import Spool, SpoolError
from proxy.evidence.surveyor import Recall, Surveyor
from proxy.evidence.witness import Witness
from proxy.evidence.writes import Keep
from proxy.settings import Settings
from proxy.sources.fresh import Fresh
from proxy.sources.held import Held
from proxy.tasks import Report, Tasks, anyway
from proxy.wire.state import StartFault

_log = structlog.get_logger("silence")

RECALL_WITHIN: Final = 1.0
"""Seconds that a look around a token waits for the store. Without its word it is made as for a token that was never known."""


def keep_of(settings: Settings) -> Keep:
    """How long and how much the store keeps."""
    s = settings.store
    return Keep(incident_days=s.retention_days, incidents_per_tag=s.incident_cap)


def expected_of(settings: Settings) -> dict[str, Expected]:
    """What the settings say of each tenant's habit."""
    return {name: Expected(tenant.expected_every, tenant.client) for name, tenant in settings.tenants.items()}


class Evidence:
    """The boxes that bear witness."""

    def __init__(
        self,
        settings: Settings,
        state: Path,
        instance: str,
        store: RedisStore,
        source: TokenSource,
        sinks: Sequence[Callable[[Exchange], None]],
        probe: Probe,
        former: Former,
    ) -> None:
        e = settings.evidence
        keep = keep_of(settings)
        process = f"{instance}.{secrets.token_hex(4)}"
        try:
            self.spool = Spool(
                state / "spool",
                settings.spool.segment_bytes,
                settings.spool.total_bytes // settings.workers,
                instance,
                fsync=settings.spool.fsync,
            )
        except SpoolError as error:
            raise StartFault(f"state_dir: {error}") from None
        self.witness = Witness(self.spool)
        self.room = Room(store, _made_room)
        self.shipper = Shipper(self.spool, store, keep, room=self.room if settings.store.url is None else None)
        self.beside = Beside(self.witness.note, SpoolError, e.reread_after)
        self.aliases = Aliases(store, former, keep)
        self.history = History(
            store, instance, keep, good_limit=e.history_limit, learned=self.beside.clients.learn, former=self.aliases.of
        )
        self.events = Events(store, self.history.take_first_uses, keep)
        self.activity = Activity(store, process, instance, keep)
        self.folder = Folder(window=e.fold_window, flood_tokens=e.flood_threshold, open_limit=e.flood_groups)
        self.heartbeat = Heartbeat(
            store, process, probe, lambda: self.activity.requests, self.activity.flush, keep,
            lost_until=lambda: self.activity.lost_until,
        )  # fmt: skip
        self._beating: asyncio.Task[None] | None = None
        self.rereader = Rereader(_look(source), source.reread, self.witness.note, SpoolError, delays=e.reread_after)
        self.surveyor = Surveyor(source.surroundings, self.witness.note, SpoolError, recall=_recall(store))
        self.oauth = OauthLedger(
            store, _look(source), lambda name: self.history.tenant_of(name) or "", structlog.get_logger("oauth").warning, keep
        )
        self.silence = Watch(store, _went_silent, expected_of(settings), keep)
        self.bus = Bus(store, process)
        self.settle = Settle((self.history.write_due, self.events.flush, self.oauth.flush))
        self.clerk = Clerk(
            self.witness,
            self.folder,
            self.history,
            self.rereader,
            self.surveyor,
            (*sinks, _unless_oauth(self.activity.saw)),
            self.beside,
            self.events,
            self.aliases,
            self.bus,
            self.settle.hurry,
        )

    def start(self, tasks: Tasks) -> None:
        """Start every loop but the heartbeat's."""
        _ = tasks.keep(self.shipper.run, "shipper")
        _ = tasks.keep(self.history.run, "history")
        _ = tasks.keep(self.clerk.run, "repeats")
        _ = tasks.keep(self.rereader.run, "rereads")
        _ = tasks.keep(self.surveyor.run, "surroundings")
        _ = tasks.keep(self.beside.run, "beside")
        _ = tasks.keep(self.events.run, "events")
        _ = tasks.keep(self.settle.run, "settle")
        _ = tasks.keep(self.silence.run, "silence")
        _ = tasks.keep(self.oauth.run, "oauth ledger")
        _ = tasks.keep(self.bus.run, "bus")

    def beat(self, tasks: Tasks) -> None:
        """Start the heartbeat: once we accept, for its first probe goes through the listener."""
        self._beating = tasks.keep(self.heartbeat.run, "heartbeat")
        _ = tasks.keep(self.aliases.run, "aliases")

    def stop_beating(self) -> None:
        """Ask no more whether we listen: another process does so now, on the same socket."""
        self.heartbeat.leave()

    async def flush(self, seconds: float, report: Report) -> bool:
        """Bring what is left to the store. False when some of it stays in the spool, for the next start. What else than the
        store's own trouble is met in one part is reported, and keeps no other part from its end."""
        self.clerk.write_repeats(time.time())
        if self._beating is not None:
            _ = self._beating.cancel()
        parts = (self.aliases.flush, self.history.flush_all, self.events.flush, self.oauth.flush, self.heartbeat.end)
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(seconds):
                for flush in parts:
                    await anyway("flush", flush(), report, but=(StoreError, TimeoutError))
        return await self.shipper.flush(seconds)


def _unless_oauth(saw: Callable[[Exchange], None]) -> Callable[[Exchange], None]:
    """Without the OAuth calls that are known to be a tenant's: they are no request for SCIM, and "nothing arrived" is about
    those. One that may be anybody's counts as nobody's, so that no silence is proven by it."""

    def take(exchange: Exchange) -> None:
        if exchange.credential != OAUTH or exchange.tenant.startswith("_"):
            saw(exchange)

    return take


def _made_room(removed: int, until: float) -> None:
    _log.warning("store_made_room", removed=removed, until=until, detail="the embedded store is full: the oldest evidence went")


def _went_silent(silence: Silence, share: float) -> None:
    """One event per silence: what the last answer was, and what is proven of our own listening since."""
    last = silence.last
    _log.warning(
        "went_silent",
        tenant=silence.tenant,
        last_request=last.at,
        status=last.status,
        answered_by=last.answered_by,
        reason=last.reason,
        operation=last.operation,
        incident=last.incident,
        client=silence.client,
        usual_pause=silence.usual,
        allowed_pause=silence.allowed,
        proven_listening=round(share, 4),
    )


def _recall(store: RedisStore) -> Recall:
    """What any instance remembers of a token, nothing where the store does not tell soon."""

    async def recall(fingerprint: str) -> TokenHistory | None:
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(RECALL_WITHIN):
                return await read_history(store, fingerprint)
        return None

    return recall


def _look(source: TokenSource) -> Callable[[Secret], Awaitable[Reading]]:
    return source.second_look


class RememberedTokens:
    """The tokens that the road asks for; every row that is read is remembered, for the source may delete it. `saw` gets
    source, result (known, unknown, unavailable) and seconds of every look, `said` each reading; `offsets` how far each
    source's clock is ahead."""

    def __init__(
        self, fresh: Fresh, clerk: Clerk, saw: Callable[[str, str, float], None], said: Callable[[Reading], None]
    ) -> None:
        self.held = fresh.held
        self.offsets: dict[str, float] = {}
        self._fresh = fresh
        self._clerk = clerk
        self._saw = saw
        self._said = said

    async def read(self, secret: Secret) -> Held:
        """See edge.judge.Tokens."""
        started = time.monotonic()
        held = await self._fresh.read(secret)
        if isinstance(held.reading.state, Known):
            self._clerk.meet(secret)
        self._clerk.remember(secret.fingerprint, held.reading)
        self._note(held.reading, started)
        return held

    async def second_look(self, secret: Secret) -> Held:
        """See edge.judge.Tokens."""
        started = time.monotonic()
        held = await self._fresh.second_look(secret)
        self._note(held.reading, started)
        return held

    def _note(self, reading: Reading, started: float) -> None:
        self._saw(reading.source, str(reading.state.__struct_config__.tag), time.monotonic() - started)
        self._said(reading)
        if (offset := reading.clock_offset) is not None:
            self.offsets[reading.source] = offset
