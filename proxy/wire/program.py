"""The program: every box built once, started in one order, stopped in the other; and what of it a reload changes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import re
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from proxy import compiled
from proxy.admin.health import Health, Ticker
from proxy.admin.ring import Ring, Totals
from proxy.core.credential import Fingerprinter
from proxy.core.exchange import Exchange
from proxy.edge.deadlines import Deadlines
from proxy.edge.listener import Listener
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore
from proxy.observe.lately import Lately, p95
from proxy.observe.log import ExchangeLog
from proxy.observe.sink import Sink
from proxy.settings import Settings
from proxy.tasks import Tasks, anyway
from proxy.wire import ops, sockets, state
from proxy.wire import store as stores
from proxy.wire.answering import Answers
from proxy.wire.data_plane import DataPlane
from proxy.wire.ops_listener import OpsListener
from proxy.wire.ops_tls import OpsTls, ops_tls
from proxy.wire.present import Present, TokenSide
from proxy.wire.probe import probe, target_of
from proxy.wire.reloads import Reloads, require_live
from proxy.wire.store import OwnStore
from proxy.wire.token_sources import policy_of
from proxy.wire.traces import Tracing, tracing
from proxy.wire.witnessing import Evidence, expected_of

FLUSH_SECONDS: Final = 5.0
"""At the end, for the store to take what is left; what it does not take stays in the spool for the next start."""

LEAVE_SECONDS: Final = 600.0
"""For requests on a road that was left behind, the longest listen.drain_seconds; then its sources are closed all the same."""

LEAVE_POLL: Final = 0.1

_log = structlog.get_logger("program")


class Place(NamedTuple):
    """Where a process stands: sockets that were handed to it, and its number among the workers (0: it is alone).

    A worker has neither an ops listener nor a store of its own: those are its supervisor's, whose store is `store_url`. One
    that `succeeds` another process uses that one's store until it is gone."""

    listen: socket.socket | None = None
    ops: socket.socket | None = None
    worker: int = 0
    store_url: str = ""
    succeeds: bool = False


class Program:
    """One process of the proxy. `start` and `prepare` raise StartFault with one line that names the setting at fault."""

    def __init__(self, settings: Settings, place: Place | None = None) -> None:
        self.settings = settings
        self.present = Present()
        self.metrics = ops.metrics_of(settings)
        self.lately = Lately(self.metrics)
        self.reloads = Reloads(self.metrics.saw_reload)
        self.ticker = Ticker()
        self.health: Health
        self.data_address = ("", 0)
        self.ops_address = ("", 0)
        self.socket: socket.socket | None = None
        self.ops_socket: socket.socket | None = None
        self._place = place or Place()
        self._tasks = Tasks(report)
        self._edge_tasks = Tasks(report)
        self._deadlines = Deadlines()
        self._own_store: OwnStore | None = None
        self._store: RedisStore | None = None
        self._readers_store: RedisStore | None = None
        self._sink: Sink | None = None
        self._tracing: Tracing | None = None
        self._ops: OpsListener | None = None
        self._answers: Answers | None = None
        self._evidence: Evidence | None = None
        self._next: tuple[Settings, TokenSide, DataPlane, OpsTls | None] | None = None

    async def start(self) -> None:
        """Start everything; the data plane accepts last. What had been started is stopped again when something fails."""
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise

    async def _start(self) -> None:
        settings, place = self.settings, self._place
        directory = state.prepare(settings)
        self._fingerprinter = state.fingerprinter(settings, directory)
        sink = self._sink = sockets.open_log(settings, warn=not place.worker)
        sock = self.socket = sockets.listening(settings, place.listen)
        self.data_address = sockets.address_of(sock)
        url = place.store_url or await self._have_store(directory)
        store = self._store = stores.open_store(settings, url, self.metrics.saw_store)
        self.instance = instance_of(settings, directory, place.worker)
        self._target = target_of(self._fingerprinter)
        exchange_log = ExchangeLog(sink)
        sinks: list[Callable[[Exchange], None]] = [self.metrics.saw]
        if settings.log.exchanges:
            sinks.append(exchange_log.write)
        self._tracing = tracing(settings, self.instance)
        if self._tracing is not None:
            sinks.append(self._tracing.saw)
        reachable, port = sockets.reachable(self.data_address)
        evidence = self._evidence = Evidence(
            settings,
            directory,
            self.instance,
            store,
            self.present,
            sinks,
            lambda: self._probe(reachable, port),
            self.present.former,
        )
        side = self.present.side = self._token_side(settings, self._fingerprinter)
        evidence.bus.listen(self.present.forget, self.present.forget_all)
        plane = self.present.plane = self._data_plane(settings, side)
        listener = self.present.listener = Listener(plane.options, plane.road, self._deadlines, self._edge_tasks, plane.peers)
        self.health = Health(self.ticker, ops.parts(self.present, evidence, self.reloads, self.lately))
        ops.watch(self.metrics, self.present, evidence, self.ticker, sink)
        self.metrics.watch("config_reload_timestamp_seconds", lambda: self.reloads.applied_at)
        side.start()
        side.mind()
        for name, run in (
            ("ticker", self.ticker.run),
            ("log", exchange_log.run),
            ("deadlines", self._deadlines.run),
            ("last minutes", self.lately.run),
        ):
            _ = self._tasks.keep(run, name)
        evidence.start(self._tasks)
        if not place.worker:
            await self._start_ops(url, directory)
        await listener.start(sock)
        evidence.beat(self._tasks)
        _calm_collector()
        places = {"listen": sockets.text_of(self.data_address), "ops": sockets.text_of(self.ops_address)}
        where = places if not place.worker else {"worker": place.worker}
        _log.info("started", **where, instance=self.instance, code=compiled.said())

    async def _have_store(self, directory: Path) -> str:
        own = self._own_store = OwnStore(self.settings, directory)
        await own.start(succeeds=self._place.succeeds)
        _ = self._tasks.keep(own.mind, "embedded store")
        return own.url

    async def _start_ops(self, url: str, directory: Path) -> None:
        ring = Ring(self.totals, p95)
        _ = self._tasks.keep(ring.run, "last two hours")
        self._readers_store = stores.open_store(self.settings, url)
        reader = EvidenceReader(self._readers_store, directory / "spool")
        self._answers = Answers(reader, self.present, self.settings)
        routes = ops.routes_of(self._answers, self.health, ring)
        listener = ops.ops_listener(self.settings, self.health, self.metrics.render, routes, report)
        sock = self.ops_socket = sockets.ops_listening(self.settings, self._place.ops)
        self._ops = listener
        await listener.start(sock)
        self.ops_address = (self.settings.ops.host, listener.port)

    def _token_side(self, settings: Settings, fingerprinter: Fingerprinter) -> TokenSide:
        assert self._evidence is not None  # noqa: S101 - built before
        return TokenSide(settings, fingerprinter, self._evidence.clerk, self.metrics, report)

    def _data_plane(self, settings: Settings, side: TokenSide) -> DataPlane:
        assert self._evidence is not None  # noqa: S101 - built before
        clerk, ledger = self._evidence.clerk, self._evidence.oauth
        return DataPlane(
            settings, self.instance, policy_of(settings), side.fingerprinter, side.tokens, clerk, self._deadlines, report,
            self._target, ledger,
        )  # fmt: skip

    async def _probe(self, host: str, port: int) -> tuple[bool, str]:
        """Call ourselves as clients do, by what the settings in force ask of them."""
        listen, peers = self.settings.listen, self.present.plane.peers
        header = listen.proxy_protocol and peers.trusts(host)
        return await probe(host, port, self._target, header=header, tls=listen.tls.cert_file is not None)

    def totals(self) -> Totals:
        """What happened so far, for the pages."""
        assert self._evidence is not None  # noqa: S101 - asked once it runs
        return ops.totals(self.present, self._evidence, self.ticker, self.lately)

    # --- other settings, while it runs --------------------------------------------------------------------------------

    async def prepare(self, settings: Settings) -> None:
        """Build what these settings change beside what is in force, and see whether it works. `commit` or `discard` it."""
        require_live(self.settings, settings)
        tls = ops_tls(settings) if self._ops is not None else None
        before = self.present.side
        fingerprinter = state.fingerprinter(settings, settings.state_dir.resolve())
        state.require_successor(fingerprinter, before.fingerprinter)
        same_names = fingerprinter.same_key(before.fingerprinter)
        same = same_names and (settings.source, settings.fresh) == (self.settings.source, self.settings.fresh)
        side = before if same else self._token_side(settings, fingerprinter)
        try:
            plane = self._data_plane(settings, side)
            if not same:
                side.start()
                await side.check()
                if same_names:
                    await side.fresh.take_over(before.fresh)
        except BaseException:
            if not same:
                await side.sources.close()
            raise
        self._next = (settings, side, plane, tls)

    async def discard(self) -> None:
        """Leave everything as it is."""
        if self._next is not None:
            _, side, plane, _ = self._next
            self._next = None
            plane.upstream.close()
            if side is not self.present.side:
                await side.sources.close()

    async def commit(self) -> None:
        """From now on every request goes by what was prepared; what is under way ends by what was before."""
        assert self._next is not None  # noqa: S101 - whoever commits has prepared
        assert self._evidence is not None  # noqa: S101 - it runs
        self.settings, side, plane, tls = self._next
        self._next = None
        old_side, old_plane = self.present.side, self.present.plane
        if side is not old_side:
            side.mind()
        self.present.side, self.present.plane = side, plane
        self.present.listener.switch(plane.options, plane.road, plane.peers)
        self._evidence.silence.expect(expected_of(self.settings))
        if self._answers is not None:
            self._answers.use(self.present, self.settings)
        if self._ops is not None:
            self._ops.use(ops.ops_token(self.settings), tls)
        _ = self._tasks.start(self._leave(old_plane, None if old_side is side else old_side), "leaving old settings")
        self.reloads.apply()

    async def _leave(self, plane: DataPlane, side: TokenSide | None) -> None:
        """Let what is under way on the old road end, then close what it stood on."""
        self.present.leaving.add(plane)
        try:
            deadline = asyncio.get_running_loop().time() + LEAVE_SECONDS
            while plane.handler.inflight and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(LEAVE_POLL)
        finally:
            self.present.leaving.discard(plane)
            plane.upstream.close()
            if side is not None:
                await side.sources.close()

    async def roll(self) -> bool:
        """See supervise: a program alone has no worker to replace."""
        _log.warning("no_workers", detail="SIGUSR1 replaces workers, and workers is 1; SIGUSR2 starts a successor")
        return False

    def reopen_log(self) -> None:
        """The log's file was rotated away: open it anew by its name."""
        if self._sink is not None:
            self._sink.reopen()

    # --- the end --------------------------------------------------------------------------------------------------------

    async def stop(self, *, succeeded: bool = False) -> None:
        """Not ready any more, then drain, then flush, then close: nothing in flight is cut within drain_seconds. A process
        that is `succeeded` by another leaves the ops listener to it first, and is never seen as not ready."""
        if succeeded and self._evidence is not None:
            self._evidence.stop_beating()
        if succeeded and self._ops is not None:
            await self._ops.stop()
            self._ops = None
        elif self._evidence is not None:
            self.health.draining = True
        if hasattr(self.present, "listener"):
            cut = await self.present.listener.drain(self.settings.listen.drain_seconds)
            if cut:
                _log.warning("drain_incomplete", connections=cut)
            self.present.plane.upstream.close()
        await self._edge_tasks.close()
        await self.discard()
        if self._evidence is not None and not await self._evidence.flush(FLUSH_SECONDS, report):
            _log.warning("spool_not_empty", detail="the store did not take everything; the next start ships the rest")
        await self._close()

    async def _close(self) -> None:
        await self._tasks.close()
        if self._ops is not None:
            await anyway("ops", self._ops.stop(), report)
        if hasattr(self.present, "side"):
            await anyway("sources", self.present.side.sources.close(), report)
        if self._evidence is not None:
            self._evidence.spool.close()
        for store in (self._store, self._readers_store):
            if store is not None:
                await anyway("store", store.close(), report)
        if self._own_store is not None:
            await anyway("store", self._own_store.stop(), report)
        for sock in (self.socket, self.ops_socket):
            if sock is not None:
                sock.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        if self._sink is not None:
            _log.info("stopped")
            self._sink.close()


def _calm_collector() -> None:
    """What was built at the start lives for ever, so the collector need not look at it again. A request leaves no cycles
    behind; the thresholds only bound what a bug of ours or of a library would leave."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def report(name: str, error: BaseException) -> None:
    """What broke inside, with its trace but without any value: frames' locals and messages may hold secrets."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    _log.error("failed", part=name, error=type(error).__name__, trace=[f"{f.filename}:{f.lineno} {f.name}" for f in frames])


def instance_of(settings: Settings, directory: Path, worker: int = 0) -> str:
    """A name that stays the same across restarts, and differs between deployments on one host, and between workers."""
    mark = f"-{worker}" if worker else ""
    if settings.instance:
        return settings.instance + mark
    place = hashlib.sha256(str(directory).encode()).hexdigest()[:4]
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{socket.gethostname()[:50]}-{place}{mark}")
