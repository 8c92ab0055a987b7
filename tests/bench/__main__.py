"""`make bench`: what the proxy costs a request, beside its peers, in one run on one machine. See docs/performance.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import pathlib
import shutil
import sys
import time
from typing import Any

import msgspec

from tests.bench import backend, machine, stage, table, witness
from tests.bench.contender import Contender
from tests.bench.rounds import FULL, QUICK, Plan, Rounds, Turn
from tests.bench.table import Results

RESULTS = pathlib.Path(__file__).parent / "results"


def main() -> int:
    """Exit status: 0 measured, 1 could not. A mark that was missed is printed and is no failure."""
    arguments = _arguments()
    cores = machine.choose_cores()
    if cores is None or shutil.which("wrk") is None or shutil.which("nginx") is None:
        print("bench: needs two cores, wrk and nginx: make bench-setup", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {cores.load})
    plan = QUICK if arguments.quick else FULL
    plan = msgspec.structs.replace(plan, rounds=arguments.rounds or plan.rounds)
    began = time.monotonic()
    with stage.set_up(cores, plan.customers, plan.tenants) as ready, backend.streams(ready.folder, cores.load) as streams:
        contenders = _taking_part(ready.contenders, arguments.only)
        turns = Rounds(ready, plan, streams).play(contenders)
    _report(turns, plan, cores, time.monotonic() - began)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds: shows that it works, under 3 minutes")
    parser.add_argument("--rounds", type=int, default=0, help="how many rounds")
    parser.add_argument("--only", default="", help="contenders whose names contain one of these words (comma)")
    return parser.parse_args()


def _taking_part(contenders: list[Contender], only: str) -> list[Contender]:
    words = [word.strip().lower() for word in only.split(",") if word.strip()]
    found = []
    for contender in contenders:
        if words and not any(word in contender.name.lower() for word in words):
            continue
        if contender.missing:
            print(f"\n*** {contender.name} IS LEFT OUT: {contender.missing} ***\n", file=sys.stderr)
        else:
            found.append(contender)
    return found


def _report(turns: list[Turn], plan: Plan, cores: machine.Cores, seconds: float) -> None:
    results, about = Results(turns), machine.describe(cores) | {"code": witness.code()}
    disturbed = max((turn.foreign for turn in turns), default=0.0)
    now = dt.datetime.now(dt.UTC)
    marks = table.marks(results)
    print(
        f"\n{now:%Y-%m-%d}, {about['cores']} cores of {about['processor']}, {about['memory_gib']} GiB, Linux {about['kernel']},"
    )
    print(f"Python {about['python']}; scim-witness runs {about['code']}.")
    print(f"{plan.rounds} rounds in {seconds / 60:.1f} minutes; fixed load {plan.rate:.0f} req/s.")
    if disturbed > 0.05:
        print(f"\n*** DISTURBED: other processes had up to {disturbed:.0%} of the proxy's core; these figures are noise. ***")
    print(f"\nMedians:\n\n{table.markdown(results, ranges=False)}")
    print(f"\nMedians with least and greatest:\n\n{table.markdown(results, ranges=True)}")
    print(f"\nMarks (ratios within a round):\n\n{table.marks_text(marks)}")
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"bench-{now:%Y%m%dT%H%M%SZ}.json"
    said: dict[str, Any] = {
        "at": now.isoformat(timespec="seconds"),
        "machine": about,
        "plan": msgspec.to_builtins(plan),
        "seconds": round(seconds),
        "disturbed": disturbed,
        "turns": msgspec.to_builtins(turns),
        "marks": [{"mark": m.text, "must": m.must, "aim": m.aim, "value": m.value, "verdict": m.verdict} for m in marks],
    }
    path.write_text(json.dumps(said, indent=1) + "\n")
    print(f"\nWritten to {path}")


if __name__ == "__main__":
    sys.exit(main())
