"""One turn of one contender, and the rounds in which they take turns.

A contender is started for its turn and stopped after it, so that none works in the background of another, and the order
changes from round to round. What else ran on the proxy's core meanwhile is measured and said.
"""

from __future__ import annotations

import contextlib
import pathlib
import random
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tests.bench import machine, mix, paced
from tests.bench.contender import Contender, NotDoingItsWorkError, Place, Running, check
from tests.bench.stage import Stage
from tests.bench.wrk import Load, Wrk

CONNECTIONS: Final = 64
MANY: Final = 512
STREAM: Final = 100 * 2**20
REFUSALS_WRONG_BY: Final = 0.002
"""By how much the share of refused requests may miss that of the mix: a run ends within a cycle."""


class Plan(msgspec.Struct, frozen=True):
    """How much of everything. Durations in seconds; `rate` in requests a second is one that every contender can serve."""

    rounds: int
    warm: float
    full: float
    paced: float
    single: float
    many: float
    rate: float = 1_000.0
    streams: int = 3
    customers: int = 2_000
    tenants: int = 500


FULL: Final = Plan(rounds=5, warm=2, full=4, paced=4, single=2, many=2)
QUICK: Final = Plan(rounds=2, warm=1, full=2, paced=1, single=0.5, many=1, streams=1)


class Turn(msgspec.Struct):
    """What one turn brought. `cpu_us` and `stack_us` are processor time per request in microseconds of the proxy alone and
    with all that it needs; `busy` is the share of the proxy's core that contender and stack used, `foreign` what others
    took there. Below about 0.9 busy the load generator or its backend was the limit and `rate` is a lower bound."""

    contender: str
    round: int
    rate: float = 0.0
    cpu_us: float = 0.0
    stack_us: float = 0.0
    busy: float = 0.0
    foreign: float = 0.0
    paced_p50_us: float = 0.0
    paced_p99_us: float = 0.0
    paced_cpu_us: float = 0.0
    generator_lag_us: float = 0.0
    single_p50_us: float = 0.0
    rss_mib: float = 0.0
    rss_many_mib: float = 0.0
    many_cpu_us: float = 0.0
    many_rate: float = 0.0
    many_p99_us: float = 0.0
    down_mib_s: float = 0.0
    up_mib_s: float = 0.0
    down_cpu_ms: float = 0.0
    up_cpu_ms: float = 0.0


class Meter:
    """Processor time of a contender between two moments."""

    def __init__(self, running: Running, core: int) -> None:
        self._proxy = list(running.proxy)
        self._stack = [p.pid for p in machine.tree(running.stack) if p.pid not in self._proxy]
        self._core = core
        self._before = self._now()

    def _now(self) -> tuple[float, float, float]:
        return machine.cpu_seconds(self._proxy), machine.cpu_seconds(self._stack), machine.core_busy_seconds(self._core)

    def read(self) -> tuple[float, float, float]:
        """Seconds of proxy, of the rest of its stack, and of everybody else on the core."""
        proxy, stack, core = (after - before for after, before in zip(self._now(), self._before, strict=True))
        return proxy, stack, max(0.0, core - proxy - stack)


class Rounds:
    """Plays them. `cycles` are the requests; `say` gets one line per turn."""

    def __init__(self, stage: Stage, plan: Plan, stream_port: int) -> None:
        self._stage = stage
        self._plan = plan
        self._streams = stream_port
        self._wrk = Wrk(stage.folder, stage.cores)
        self._mix = mix.cycle(plan.customers)
        self._file = self._wrk.cycle(self._mix)
        self._refusals = self._wrk.cycle(mix.cycle(plan.customers, refused_share=1.0), "refusals")
        self._turns = 0

    def play(self, contenders: Sequence[Contender]) -> list[Turn]:
        """All rounds; the order is shuffled anew for each, from a fixed seed."""
        turns: list[Turn] = []
        dice = random.Random(7)
        for number in range(self._plan.rounds):
            order = list(contenders)
            dice.shuffle(order)
            for contender in order:
                turn = self._turn(contender, number)
                turns.append(turn)
                say_turn(turn)
        for number in range(self._plan.streams):
            order = [contender for contender in contenders if not contender.refusals]
            dice.shuffle(order)
            for contender in order:
                self._stream(contender, number, turns)
        places = {contender.name: place for place, contender in enumerate(contenders)}
        return sorted(turns, key=lambda turn: (turn.round, places[turn.contender]))

    @contextlib.contextmanager
    def _started(self, contender: Contender, backend: int) -> Iterator[Running]:
        self._turns += 1
        folder: pathlib.Path = self._stage.folder / f"turn-{self._turns}"
        folder.mkdir()
        try:
            with contender.start(Place(folder, self._stage.cores, backend)) as running:
                yield running
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _turn(self, contender: Contender, number: int) -> Turn:
        plan, turn = self._plan, Turn(contender.name, number)
        with self._started(contender, self._stage.backend) as running:
            if contender.checked:
                check(contender.name, running)
            self._load(contender, running, CONNECTIONS, plan.warm)
            self._at_full_load(contender, running, turn)
            if contender.refusals:
                return turn
            self._at_fixed_load(contender, running, turn)
            turn.single_p50_us = self._right(contender, paced.one_by_one(running.port, self._mix, plan.single)).p50_us
            turn.rss_mib = machine.rss_mib(running.proxy)
            self._with_many(contender, running, turn)
        return turn

    def _at_full_load(self, contender: Contender, running: Running, turn: Turn) -> None:
        meter = Meter(running, self._stage.cores.proxy)
        load = self._load(contender, running, CONNECTIONS, self._plan.full)
        proxy, stack, foreign = meter.read()
        turn.rate = load.requests / load.seconds
        turn.cpu_us = proxy / load.requests * 1e6
        turn.stack_us = (proxy + stack) / load.requests * 1e6
        turn.busy = (proxy + stack) / load.seconds
        turn.foreign = foreign / load.seconds

    def _at_fixed_load(self, contender: Contender, running: Running, turn: Turn) -> None:
        meter = Meter(running, self._stage.cores.proxy)
        latency = self._right(contender, paced.at_rate(running.port, self._mix, self._plan.rate, CONNECTIONS, self._plan.paced))
        turn.paced_cpu_us = meter.read()[0] / latency.requests * 1e6
        turn.paced_p50_us, turn.paced_p99_us = latency.p50_us, latency.p99_us
        turn.generator_lag_us = latency.own_lag_us

    def _with_many(self, contender: Contender, running: Running, turn: Turn) -> None:
        meter = Meter(running, self._stage.cores.proxy)
        load = self._load(contender, running, MANY, self._plan.many)
        turn.many_cpu_us = meter.read()[0] / load.requests * 1e6
        turn.many_rate = load.requests / load.seconds
        turn.many_p99_us = load.p99_us
        turn.rss_many_mib = machine.rss_mib(running.proxy)

    def _load(self, contender: Contender, running: Running, connections: int, seconds: float) -> Load:
        cycle, share = (self._refusals, 1.0) if contender.refusals else (self._file, mix.REFUSED_SHARE)
        load = self._wrk.run(running.port, cycle, connections, seconds)
        if load.broken:
            raise NotDoingItsWorkError(f"{contender.name}: {load.broken} connections broke at {connections} connections")
        if contender.checked:
            off = abs(load.refused - share * load.requests) / load.requests
            slack = REFUSALS_WRONG_BY + share * (1 - share) * mix.CYCLE / load.requests / 2
            if off > slack:
                raise NotDoingItsWorkError(f"{contender.name} answered {load.refused} of {load.requests} other than 2xx")
        return load

    @staticmethod
    def _right(contender: Contender, latency: paced.Latency) -> paced.Latency:
        if latency.wrong and contender.checked:
            raise NotDoingItsWorkError(f"{contender.name}: {latency.wrong} of {latency.requests} answers were wrong")
        return latency

    def _stream(self, contender: Contender, number: int, turns: list[Turn]) -> None:
        turn = next((t for t in turns if t.contender == contender.name and t.round == number), None)
        if turn is None:
            return
        token = mix.good_token(0)
        with self._started(contender, self._streams) as running:
            for transfer in (paced.download, paced.upload):
                _ = transfer(running.port, token, 2**20)
                meter = Meter(running, self._stage.cores.proxy)
                seconds = transfer(running.port, token, STREAM)
                cpu = meter.read()[0] * 1e3
                if transfer is paced.download:
                    turn.down_mib_s, turn.down_cpu_ms = STREAM / 2**20 / seconds, cpu
                else:
                    turn.up_mib_s, turn.up_cpu_ms = STREAM / 2**20 / seconds, cpu


def say_turn(turn: Turn) -> None:
    """One line, so that a person sees that it goes on, and what disturbed it."""
    warning = f"   DISTURBED: others had {turn.foreign:.0%} of the core" if turn.foreign > 0.05 else ""
    limit = "   the load generator was the limit" if turn.busy + turn.foreign < 0.9 else ""
    print(
        f"round {turn.round + 1}  {turn.contender:<32} {turn.rate:8.0f} req/s  cpu {turn.cpu_us:6.1f} us"
        f"  stack {turn.stack_us:6.1f} us  p99 {turn.paced_p99_us:7.0f} us  rss {turn.rss_mib:5.1f} MiB{warning}{limit}",
        file=sys.stderr,
        flush=True,
    )
