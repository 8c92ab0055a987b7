"""Stands in for the program when there are workers: binds once, has store and ops listener, and serves no client itself.

Settings are changed in all workers or in none: all prepare, then all commit. A worker that dies meanwhile comes back with the
settings in force.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

from proxy.admin.health import Health, Part, Ticker
from proxy.admin.ring import Ring
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore
from proxy.observe.lately import p95
from proxy.observe.log import ExchangeLog
from proxy.observe.sink import Sink
from proxy.settings import Settings
from proxy.supervise import scrape
from proxy.supervise.channel import Answer, Begin, ChannelClosed
from proxy.supervise.fleet import SCRAPE_SECONDS, Fleet
from proxy.supervise.inherited import left_for_children
from proxy.supervise.slot import Hand, launch
from proxy.supervise.worker import OPENMETRICS
from proxy.tasks import Tasks, anyway
from proxy.wire import Place, StartFault, ops, sockets, state
from proxy.wire import store as stores
from proxy.wire.answering import Answers
from proxy.wire.ops_listener import OpsListener
from proxy.wire.ops_tls import OpsTls, ops_tls
from proxy.wire.present import Sources
from proxy.wire.program import FLUSH_SECONDS, report
from proxy.wire.reloads import Reloads, require_live
from proxy.wire.store import OwnStore

PREPARE_SECONDS: Final = 60.0
"""For a worker to build what new settings ask for, its sources' first answers with it."""
COMMAND_SECONDS: Final = 5.0
"""For what takes a worker no time at all."""
END_SLACK: Final = 3 * FLUSH_SECONDS + 5.0
"""Seconds beyond listen.drain_seconds for a worker to flush (histories, then the spool) and end."""

_log = structlog.get_logger("supervise")


class Supervisor:
    """See the module; `start`, `prepare` and the rest as in wire.Program."""

    def __init__(self, settings: Settings, place: Place, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.metrics = ops.metrics_of(settings)
        self.reloads = Reloads(self.metrics.saw_reload)
        self.data_address = self.ops_address = ("", 0)
        self.socket: socket.socket | None = None
        self.ops_socket: socket.socket | None = None
        self._place = place
        self._environ = left_for_children(environ)
        self._tasks = Tasks(report)
        self._fleet = Fleet(settings.workers, self._launch)
        self._ticker = Ticker()
        self._health = Health(self._ticker, self._parts)
        self._number = 1
        self._sink: Sink | None = None
        self._store: OwnStore | None = None
        self._readers_store: RedisStore | None = None
        self._ops: OpsListener | None = None
        self._answers: Answers | None = None
        self._sources: Sources | None = None
        self._next: tuple[Settings, Sources, list[Hand], OpsTls | None] | None = None

    # --- the beginning --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start store, ops listener and workers. StartFault when a worker cannot start: it would not the next time."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def _start(self) -> None:
        settings = self.settings
        directory = state.prepare(settings)
        fingerprinter = state.fingerprinter(settings, directory)
        sink = self._sink = sockets.open_log(settings)
        self.socket = sockets.listening(settings, self._place.listen)
        self.data_address = sockets.address_of(self.socket)
        self._store = OwnStore(settings, directory)
        await self._store.start(succeeds=self._place.succeeds)
        for name, run in (
            ("embedded store", self._store.mind),
            ("ticker", self._ticker.run),
            ("log", ExchangeLog(sink).run),
        ):
            _ = self._tasks.keep(run, name)
        self._sources = Sources(settings, fingerprinter, report)
        self._sources.start()
        self._watch()
        await self._start_ops(directory)
        await self._fleet.start()
        places = {"listen": sockets.text_of(self.data_address), "ops": sockets.text_of(self.ops_address)}
        _log.info("started", **places, workers=settings.workers)

    async def _launch(self, number: int) -> Hand:
        assert self.socket is not None  # noqa: S101 - bound before
        assert self._store is not None  # noqa: S101 - started before
        settings_number = self._number
        begin = Begin(number, dict(self.settings.values), self._store.url)
        hand = await launch(begin, self.socket, self._environ, self._fleet.tasks)
        hand.settings = settings_number
        return hand

    async def _start_ops(self, directory: Path) -> None:
        assert self._store is not None  # noqa: S101 - started before
        assert self._sources is not None  # noqa: S101 - built before
        ring = Ring(self._fleet.totals, p95)
        _ = self._tasks.keep(ring.run, "last two hours")
        self._readers_store = stores.open_store(self.settings, self._store.url)
        reader = EvidenceReader(self._readers_store, directory / "spool")
        self._answers = Answers(reader, self._sources.whole, self.settings)
        loop = asyncio.get_running_loop()

        def render(accept: str) -> tuple[str, bytes]:
            texts = asyncio.run_coroutine_threadsafe(self._texts(), loop).result(2 * SCRAPE_SECONDS)
            return scrape.page(texts, accept)

        routes = ops.routes_of(self._answers, self._health, ring)
        self._ops = ops.ops_listener(self.settings, self._health, render, routes, report)
        self.ops_socket = sockets.ops_listening(self.settings, self._place.ops)
        await self._ops.start(self.ops_socket)
        self.ops_address = (self.settings.ops.host, self._ops.port)

    async def _texts(self) -> dict[str, str]:
        """The metrics of the workers, and our own."""
        return {"supervisor": self.metrics.render(OPENMETRICS)[1].decode()} | await self._fleet.metrics()

    def _parts(self) -> Iterator[Part]:
        yield from self._fleet.parts()
        yield self.reloads.part()

    def _watch(self) -> None:
        fleet, configured = self._fleet, float(self.settings.workers)
        self.metrics.watch("config_reload_timestamp_seconds", lambda: self.reloads.applied_at)
        self.metrics.watch("workers", lambda: {("configured",): configured, ("ready",): float(fleet.ready)})
        self.metrics.watch("worker_restarts_total", fleet.restarts)

    # --- other settings, other workers ----------------------------------------------------------------------------------

    async def prepare(self, settings: Settings) -> None:
        """Have every worker build what the settings ask for. StartFault when one cannot: then none has changed."""
        require_live(self.settings, settings)
        tls = ops_tls(settings)
        assert self._sources is not None  # noqa: S101 - it runs
        fingerprinter = state.fingerprinter(settings, settings.state_dir.resolve())
        state.require_successor(fingerprinter, self._sources.fingerprinter)
        same = settings.source == self.settings.source and fingerprinter.same_key(self._sources.fingerprinter)
        sources = self._sources if same else Sources(settings, fingerprinter, report)
        hands = [hand for hand in self._fleet.hands() if hand.settings == self._number]
        self._next = (settings, sources, hands, tls)
        try:
            answers = await asyncio.gather(
                *(hand.ask("prepare", PREPARE_SECONDS, settings.values) for hand in hands), return_exceptions=True
            )
            _require_all(hands, answers)
        except BaseException:
            await self.discard()
            raise

    async def discard(self) -> None:
        """Leave everything as it is, in every worker."""
        if self._next is None:
            return
        _, sources, hands, _ = self._next
        self._next = None
        await asyncio.gather(*(hand.ask("discard", COMMAND_SECONDS) for hand in hands), return_exceptions=True)
        if sources is not self._sources:
            await sources.close()

    async def commit(self) -> None:
        """Put in force what was prepared. A worker that cannot follow is replaced by one that begins with it."""
        assert self._next is not None  # noqa: S101 - whoever commits has prepared
        assert self._answers is not None  # noqa: S101 - it runs
        before = self._sources
        self.settings, self._sources, hands, tls = self._next
        self._next = None
        self._number += 1
        done = await asyncio.gather(*(hand.ask("commit", COMMAND_SECONDS) for hand in hands), return_exceptions=True)
        for hand, answer in zip(hands, done, strict=True):
            if not isinstance(answer, BaseException) and answer.ok:
                hand.settings = self._number
        self._answers.use(self._sources.whole, self.settings)
        if self._ops is not None:
            self._ops.use(ops.ops_token(self.settings), tls)
        if before is not None and before is not self._sources:
            self._sources.start()
            await before.close()
        self.reloads.apply()
        for slot in self._fleet.slots:
            if slot.hand is not None and slot.hand.settings != self._number:
                _ = self._fleet.tasks.start(slot.replace(self._end_seconds), f"slot {slot.number}")

    async def roll(self) -> bool:
        """Replace one worker after the other. The first that cannot be replaced ends it: those that are there stay."""
        for slot in self._fleet.slots:
            try:
                await slot.replace(self._end_seconds)
            except (StartFault, OSError) as fault:
                _log.error("worker_not_replaced", worker=slot.number, why=str(fault))
                return False
        _log.info("workers_replaced", workers=len(self._fleet.slots))
        return True

    def reopen_log(self) -> None:
        """Open the log's file anew, here and in every worker."""
        if self._sink is not None:
            self._sink.reopen()
        for hand in self._fleet.hands():
            _ = self._fleet.tasks.start(_reopen(hand), "log")

    # --- the end --------------------------------------------------------------------------------------------------------

    @property
    def _end_seconds(self) -> float:
        return self.settings.listen.drain_seconds + END_SLACK

    async def stop(self, *, succeeded: bool = False) -> None:
        """Not ready any more, then every worker drains, flushes and ends; then store and ops listener."""
        if succeeded and self._ops is not None:
            await self._ops.stop()
            self._ops = None
        self._health.draining = True
        await self._fleet.end(self._end_seconds)
        await self._close()

    async def _close(self) -> None:
        await self._fleet.end(COMMAND_SECONDS)
        await self._tasks.close()
        if self._ops is not None:
            await anyway("ops", self._ops.stop(), report)
        if self._sources is not None:
            await anyway("sources", self._sources.close(), report)
        if self._readers_store is not None:
            await anyway("store", self._readers_store.close(), report)
        if self._store is not None:
            await anyway("store", self._store.stop(), report)
        for sock in (self.socket, self.ops_socket):
            if sock is not None:
                sock.close()
        if self._sink is not None:
            _log.info("stopped")
            self._sink.close()


async def _reopen(hand: Hand) -> None:
    try:
        _ = await hand.ask("reopen_log", COMMAND_SECONDS)
    except ChannelClosed:
        _log.warning("log_not_reopened", pid=hand.process.pid)


def _require_all(hands: Sequence[Hand], answers: Sequence[Answer | BaseException]) -> None:
    """Raise StartFault unless every worker that lives has prepared. One that died comes back with what is in force then."""
    for hand, answer in zip(hands, answers, strict=True):
        if isinstance(answer, BaseException):
            if hand.process.returncode is None:
                raise StartFault("a worker does not answer: try again when it has been replaced.")
        elif not answer.ok:
            raise StartFault(answer.text)
