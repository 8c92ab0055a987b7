"""The program: every box built once, started in one order, stopped in the other."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import re
import socket
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

from proxy.admin.health import Health, Ticker
from proxy.admin.listener import OpsListener
from proxy.edge.listener import bind
from proxy.evidence.embedded import EmbeddedStore, EmbeddedStoreError
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore
from proxy.observe.log import ExchangeLog, configure
from proxy.observe.metrics import Metrics
from proxy.observe.sink import Sink
from proxy.settings import Settings
from proxy.tasks import Tasks
from proxy.wire import ops, state
from proxy.wire import store as stores
from proxy.wire.data_plane import DataPlane
from proxy.wire.probe import probe, target_of
from proxy.wire.state import StartFault
from proxy.wire.token_sources import composed, fresh_of, policy_of, sources_of
from proxy.wire.witnessing import Evidence, RememberedTokens

FLUSH_SECONDS: Final = 5.0
"""At the end, for the store to take what is left; what it does not take stays in the spool for the next start."""

_log = structlog.get_logger("program")


class Program:
    """One process of the proxy. `start` raises StartFault with one line that names the setting at fault."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tasks = Tasks(_report)
        self._edge_tasks = Tasks(_report)
        self._embedded: EmbeddedStore | None = None
        self._store: RedisStore | None = None
        self._readers_store: RedisStore | None = None
        self._sink: Sink | None = None
        self._socket: socket.socket | None = None
        self._ops: OpsListener | None = None
        self._health: Health | None = None
        self._plane: DataPlane | None = None
        self._evidence: Evidence | None = None
        self.data_address = ("", 0)
        self.ops_address = ("", 0)

    async def start(self) -> None:
        """Start everything; the data plane accepts last. What had been started is stopped again when something fails."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def _start(self) -> None:
        settings = self._settings
        directory = state.prepare(settings)
        fingerprinter = state.fingerprinter(settings, directory)
        sink = self._sink = self._open_log()
        sock = self._socket = self._bind()
        host, port = sock.getsockname()[:2]
        self.data_address = (host, port)
        try:
            self._embedded = await stores.start_embedded(settings, directory)
        except EmbeddedStoreError as error:
            raise StartFault(f"store: {error}") from None
        url = self._embedded.url if self._embedded is not None else stores.url_of(settings)
        metrics = ops.metrics_of(settings)
        store = self._store = stores.open_store(settings, url or "", metrics.saw_store)
        instance = _instance(settings, directory)
        sources = sources_of(settings, fingerprinter, self._tasks, lambda text: _log.warning("token_file", detail=text))
        source = composed(sources, settings, self._tasks)
        exchange_log = ExchangeLog(sink)
        sinks = [metrics.saw, exchange_log.write] if settings.log.exchanges else [metrics.saw]
        target = target_of(fingerprinter)
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not bound here, reached
        evidence = self._evidence = Evidence(
            settings, directory, instance, store, source, sinks, lambda: probe(reachable, port, target)
        )
        fresh = fresh_of(settings, source, self._tasks, evidence.clerk.changed)
        tokens = RememberedTokens(fresh, evidence.clerk, metrics.saw_lookup)
        plane = self._plane = DataPlane(
            settings, instance, policy_of(settings), fingerprinter, tokens, evidence.clerk, self._edge_tasks, _report, target,
            evidence.oauth,
        )  # fmt: skip
        ticker = Ticker()
        health = self._health = Health(ticker, ops.parts(plane, evidence, fresh))
        ops.watch(metrics, plane, evidence, fresh, ticker, sink)
        metrics.watch("clock_offset_seconds", lambda: dict(tokens.offsets))
        self._keep_running(ticker, exchange_log, plane, (fresh, *sources))
        evidence.start(self._tasks)
        ring = ops.ring_of(plane, evidence, ticker)
        _ = self._tasks.keep(ring.run, "last two hours")
        self._readers_store = stores.open_store(settings, url or "")
        reader = EvidenceReader(self._readers_store, directory / "spool")
        await self._start_ops(health, metrics, ops.routes_of(settings, health, ring, reader, source))
        await plane.listener.start(sock)
        _calm_collector()
        _log.info("started", listen=f"{host}:{port}", ops=f"{self.ops_address[0]}:{self.ops_address[1]}", instance=instance)

    def _keep_running(self, ticker: Ticker, exchange_log: ExchangeLog, plane: DataPlane, boxes: Sequence[object]) -> None:
        tasks = self._tasks
        _ = tasks.keep(ticker.run, "ticker")
        _ = tasks.keep(exchange_log.run, "log")
        _ = tasks.keep(plane.deadlines.run, "deadlines")
        for box in boxes:
            if (run := getattr(box, "run", None)) is not None:
                _ = tasks.keep(run, type(box).__name__)
        if self._embedded is not None:
            _ = tasks.keep(self._mind_store, "embedded store")

    async def _start_ops(self, health: Health, metrics: Metrics, routes: Iterable[web.AbstractRouteDef]) -> None:
        listener = self._ops = ops.ops_listener(self._settings, health, metrics, routes)
        o = self._settings.ops
        try:
            await listener.start()
        except OSError as error:
            raise StartFault(f"ops.port {o.port} on ops.host {o.host}: {error.strerror}. Free it or choose another.") from None
        self.ops_address = (o.host, listener.port)

    def _open_log(self) -> Sink:
        log = self._settings.log
        try:
            sink = Sink(log.destination)
        except OSError as error:
            raise StartFault(f"log.destination {log.destination}: {error.strerror}.") from None
        configure(sink, log.level)
        for warning in self._settings.warnings:
            _log.warning("settings", key=warning.key, detail=warning.message, fix=warning.fix)
        return sink

    def _bind(self) -> socket.socket:
        listen = self._settings.listen
        try:
            return bind(listen.host, listen.port)
        except OSError as error:
            raise StartFault(
                f"listen.port {listen.port} on listen.host {listen.host}: {error.strerror}. Free it or choose another."
            ) from None

    async def _mind_store(self) -> None:
        """Start the embedded store again whenever it dies; meanwhile incidents wait in the spool."""
        embedded = self._embedded
        while embedded is not None:
            code = await embedded.wait_dead()
            _log.error("embedded_store_died", code=code)
            await embedded.restart()

    async def serve_until(self, stop: asyncio.Event) -> None:
        """Serve until told to stop."""
        await stop.wait()

    async def stop(self) -> None:
        """Not ready any more, then drain, then flush, then close: nothing in flight is cut within drain_seconds."""
        if self._health is not None:
            self._health.draining = True
        if self._plane is not None:
            cut = await self._plane.listener.drain(self._settings.listen.drain_seconds)
            if cut:
                _log.warning("drain_incomplete", connections=cut)
            self._plane.upstream.close()
        await self._edge_tasks.close()
        if self._evidence is not None and not await self._evidence.flush(FLUSH_SECONDS):
            _log.warning("spool_not_empty", detail="the store did not take everything; the next start ships the rest")
        await self._close()

    async def _close(self) -> None:
        await self._tasks.close()
        if self._ops is not None:
            await self._ops.stop()
        if self._evidence is not None:
            self._evidence.spool.close()
        for store in (self._store, self._readers_store):
            if store is not None:
                await store.close()
        if self._embedded is not None:
            await self._embedded.stop()
        if self._socket is not None:
            self._socket.close()
        if self._sink is not None:
            _log.info("stopped")
            self._sink.close()


def _calm_collector() -> None:
    """What was built at the start lives for ever, so the collector need not look at it again. A request leaves no cycles
    behind; the thresholds only bound what a bug of ours or of a library would leave."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _report(name: str, error: BaseException) -> None:
    """What broke inside, with its trace but without any value: frames' locals and messages may hold secrets."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    _log.error("failed", part=name, error=type(error).__name__, trace=[f"{f.filename}:{f.lineno} {f.name}" for f in frames])


def _instance(settings: Settings, directory: Path) -> str:
    """A name that stays the same across restarts, and differs between deployments on one host."""
    if settings.instance:
        return settings.instance
    place = hashlib.sha256(str(directory).encode()).hexdigest()[:4]
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{socket.gethostname()[:50]}-{place}")
