"""`make bench-growth`: what a request costs against what may grow: tokens, tenants, incidents, idle connections, bodies.

Only ourselves, on the pinned core; processor time per request, for the proxy alone and with database and store. A curve that
rises is a fault in the design, whatever its height.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tests.bench import backend, machine, mix, paced
from tests.bench.contender import Place, Running
from tests.bench.rounds import CONNECTIONS, Meter
from tests.bench.witness import Witness, code
from tests.bench.wrk import Load, Wrk
from tests.servers import postgres

TOKENS: Final = (1, 100, 10_000, 100_000, 200_000, 1_000_000)
"""In the table and all in use. Beyond fresh.tokens_limit (200,000 by default, raised here) they would be read again."""
TENANTS: Final = (1, 100, 1_000, 10_000)
INCIDENTS: Final = (0, 10_000, 100_000, 1_000_000)
IDLE: Final = (0, 500, 2_000, 5_000)
BODIES: Final = (1_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
QUICK_LIMIT: Final = 20_000
"""With --quick nothing is measured above it, but for bodies."""
SECONDS: Final = 3.0

GET: Final = mix.Kind("GET user", 1.0, "GET", f"{mix.BASE}/Users/2819c223-7f76-453a-919d-413861904646", 200)
UNKNOWN_WRITE_CONNECTIONS: Final = 64


class Point(NamedTuple):
    """One point of a curve. Microseconds of processor time per request, MiB resident; None where it says nothing."""

    at: int
    cpu_us: float
    stack_us: float
    rss_mib: float
    p99_us: float
    foreign: float
    note: str = ""


class Growth:
    """Measures the curves, each on a fresh start of the program."""

    def __init__(
        self, server: postgres.PostgresServer, folder: pathlib.Path, cores: machine.Cores, port: int, stream: int
    ) -> None:
        self._server = server
        self._folder = folder
        self._cores = cores
        self._backend = port
        self._stream = stream
        self._wrk = Wrk(folder, cores)
        self._starts = 0

    @contextlib.contextmanager
    def _running(self, tokens: int, tenants: int, backend_port: int, **tables: dict[str, object]) -> Iterator[Running]:
        self._starts += 1
        folder = self._folder / f"start-{self._starts}"
        witness = Witness(self._server, tokens, tenants)
        witness.prepare(self._cores)
        try:
            with witness.start(Place(folder, self._cores, backend_port), **tables) as running:
                yield running
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            witness.drop()

    def tokens(self, count: int) -> Point:
        """So many tokens, all in use."""
        limit = max(200_000, 2 * count)
        fresh: dict[str, object] = {"tokens_limit": limit}
        with self._running(count, min(count, 1_000), self._backend, fresh=fresh) as running:
            self._use_all(running, count)
            return self._point(running, count, count)

    def tenants(self, count: int) -> Point:
        """10,000 tokens of so many tenants."""
        with self._running(10_000, count, self._backend) as running:
            self._use_all(running, 10_000)
            return self._point(running, count, 10_000)

    def incidents(self, count: int) -> Point:
        """So many incidents in the store, made by as many refusals; then the cost of the mix, with its refusals."""
        evidence: dict[str, object] = {"fold_window": 0, "flood_threshold": 1_000_000_000}
        store: dict[str, object] = {"incident_cap": 2_000_000}
        with self._running(2_000, 500, self._backend, evidence=evidence, store=store) as running:
            made = self._refuse(running, count)
            cycle = self._wrk.cycle(mix.cycle(2_000))
            _ = self._wrk.run(running.port, cycle, CONNECTIONS, 2)
            meter = Meter(running, self._cores.proxy)
            load = self._wrk.run(running.port, cycle, CONNECTIONS, SECONDS)
            return _point(running, count, meter, load, f"{made} made")

    def idle(self, count: int) -> Point:
        """So many connections that send nothing beside those that do."""
        with self._running(2_000, 500, self._backend) as running, contextlib.ExitStack() as held:
            for _ in range(count):
                held.enter_context(socket.create_connection(("127.0.0.1", running.port), timeout=10))
            self._use_all(running, 2_000)
            return self._point(running, count, 2_000)

    def body(self, octets: int) -> Point:
        """A stream of so many octets each way: processor time per MiB, and the highest memory meanwhile."""
        with self._running(10, 10, self._stream) as running:
            _ = paced.download(running.port, mix.good_token(0), 1_000)
            times = max(1, min(300, 200_000_000 // octets))
            (pid,) = running.proxy
            machine.reset_peak(pid)
            meter = Meter(running, self._cores.proxy)
            for _ in range(times):
                _ = paced.download(running.port, mix.good_token(0), octets)
                _ = paced.upload(running.port, mix.good_token(0), octets)
            proxy, stack, foreign = meter.read()
            per_stream = 1e6 / times / 2
            mib = octets / 2**20
            note = f"{proxy * per_stream / mib:.0f} us/MiB"
            return Point(octets, proxy * per_stream, (proxy + stack) * per_stream, machine.peak_rss_mib(pid), 0, foreign, note)

    def _use_all(self, running: Running, tokens: int) -> None:
        """Present every token at least once; fewer than the tokens means that more time is needed."""
        done = 0
        while done < tokens:
            done += self._numbered(running, min(done, tokens - 1), tokens, 2 if tokens > 20_000 else 1).requests

    def _point(self, running: Running, at: int, tokens: int) -> Point:
        meter = Meter(running, self._cores.proxy)
        load = self._numbered(running, 0, tokens, SECONDS)
        return _point(running, at, meter, load, f"{load.refused} refused" if load.refused else "")

    def _numbered(self, running: Running, first: int, last: int, seconds: float) -> Load:
        return self._wrk.run_numbered(running.port, mix.request(GET, mix.good_token(0)), first, last, CONNECTIONS, seconds)

    def _refuse(self, running: Running, count: int) -> int:
        made = 0
        while made < count:
            bad = mix.request(GET, mix.unknown_token(0), refused=True)
            load = self._wrk.run_numbered(running.port, bad, made, made + 10_000_000, UNKNOWN_WRITE_CONNECTIONS, 2)
            made += load.refused
        return made


def _point(running: Running, at: int, meter: Meter, load: Load, note: str) -> Point:
    proxy, stack, foreign = meter.read()
    return Point(
        at,
        proxy / load.requests * 1e6,
        (proxy + stack) / load.requests * 1e6,
        machine.rss_mib(running.proxy),
        load.p99_us,
        foreign / load.seconds,
        note,
    )


def show(title: str, points: list[Point]) -> str:
    """A curve as a table, with each cost as a multiple of the first."""
    lines = [f"| {title} | CPU us | x first | whole stack us | RSS MiB | note |", "|---:|---:|---:|---:|---:|---|"]
    for p in points:
        note = p.note + (f" DISTURBED {p.foreign:.0%}" if p.foreign > 0.05 else "")
        factor = p.cpu_us / points[0].cpu_us if points[0].cpu_us else 0.0
        lines.append(f"| {p.at:,} | {p.cpu_us:.1f} | {factor:.2f} | {p.stack_us:.1f} | {p.rss_mib:.0f} | {note} |")
    return "\n".join(lines)


def main() -> int:
    """Exit status: 0 measured, 1 could not."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="nothing above 20,000 of anything")
    parser.add_argument("--only", default="", help="tokens, tenants, incidents, idle, body (comma)")
    arguments = parser.parse_args()
    cores = machine.choose_cores()
    if cores is None or shutil.which("wrk") is None or shutil.which("nginx") is None:
        print("bench-growth: needs two cores, wrk and nginx: make bench-setup", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {cores.load})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    chosen = {word.strip() for word in arguments.only.split(",") if word.strip()}
    found = _measure(cores, chosen, QUICK_LIMIT if arguments.quick else 10**9)
    path = pathlib.Path(__file__).parent / "results" / "growth.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": machine.describe(cores) | {"code": code()}, "curves": found}, indent=1) + "\n")
    print(f"\nscim-witness {code()}. Written to {path}")
    return 0


def _measure(cores: machine.Cores, chosen: set[str], limit: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sw-growth-", dir="/tmp")))
        server = stack.enter_context(stack.enter_context(postgres.installation()).server())
        port = stack.enter_context(backend.scim(folder / "backend", cores.load))
        growth = Growth(server, folder, cores, port, stack.enter_context(backend.streams(folder, cores.load)))
        for name, title, sizes, measure in (
            ("tokens", "tokens in use", TOKENS, growth.tokens),
            ("tenants", "tenants", TENANTS, growth.tenants),
            ("incidents", "incidents in the store", INCIDENTS, growth.incidents),
            ("idle", "idle connections", IDLE, growth.idle),
            ("body", "octets of a body", BODIES, growth.body),
        ):
            if chosen and name not in chosen:
                continue
            points = [measure(size) for size in sizes if size <= limit or name == "body"]
            print(f"\n{show(title, points)}", flush=True)
            found[name] = [point._asdict() for point in points]
    return found


if __name__ == "__main__":
    sys.exit(main())
