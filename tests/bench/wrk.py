"""The load generator: wrk with the mix ready made, one thread, as many requests as the contender answers.

Its latencies are those of a closed loop at full load, so they are printed nowhere; see paced.py for latency.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tests.bench.machine import Cores
from tests.bench.mix import Request

SCRIPT: Final = r"""
local requests, n, i = {}, 0, 0
function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local size = file:read("*n")
    if not size then break end
    file:read(1)
    n = n + 1
    requests[n] = file:read(size)
  end
  file:close()
end
function request()
  i = i % n + 1
  return requests[i]
end
function done(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"seconds":%.6f,"octets":%d,"statuses":%d,"broken":%d,"p50":%.1f,"p99":%.1f}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""

NUMBERED: Final = r"""
local before, after, first, last, step, i = "", "", 0, 0, 1, 0
function init(args)
  local file = assert(io.open(args[1], "rb"))
  local function part() local size = file:read("*n"); file:read(1); return file:read(size) end
  before, after = part(), part()
  file:close()
  first, last = tonumber(args[2]), tonumber(args[3])
  i = first - 1
end
function request()
  i = i + 1
  if i >= last then i = first end
  return before .. string.format("%09d", i) .. after
end
"""


class Load(NamedTuple):
    """What a run of wrk brought. `refused` counts answers that were not 2xx; `broken` errors on sockets."""

    requests: int
    seconds: float
    octets: int
    refused: int
    broken: int
    p50_us: float
    p99_us: float


class Wrk:
    """Runs wrk on the load core. `folder` takes its two files."""

    def __init__(self, folder: pathlib.Path, cores: Cores) -> None:
        self._folder = folder
        self._cores = cores
        (folder / "mix.lua").write_text(SCRIPT)
        (folder / "numbered.lua").write_text(NUMBERED + SCRIPT[SCRIPT.index("function done") :])

    def cycle(self, requests: Sequence[Request], name: str = "mix") -> pathlib.Path:
        """Write a cycle of requests where wrk finds it."""
        path = self._folder / f"{name}.bin"
        path.write_bytes(b"".join(b"%d\n%b" % (len(r.raw), r.raw) for r in requests))
        return path

    def run(self, port: int, cycle: pathlib.Path, connections: int, seconds: float) -> Load:
        """Send the cycle for so long."""
        return self._run("mix.lua", port, connections, seconds, [str(cycle)])

    def run_numbered(self, port: int, request: Request, first: int, last: int, connections: int, seconds: float) -> Load:
        """Send one request with the tokens of the numbers from `first` below `last` in turn."""
        letter, tail = request.token[:1].encode(), request.token[10:].encode()
        parts = (request.before + letter, tail + request.after)
        path = self._folder / "numbered.bin"
        path.write_bytes(b"".join(b"%d\n%b" % (len(part), part) for part in parts))
        return self._run("numbered.lua", port, connections, seconds, [str(path), str(first), str(last)])

    def _run(self, script: str, port: int, connections: int, seconds: float, arguments: list[str]) -> Load:
        core = self._cores.load
        done = subprocess.run(
            [
                *("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"),
                *("-s", str(self._folder / script), f"http://127.0.0.1:{port}/", "--", *arguments),
            ],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        said: dict[str, Any] = json.loads(done.stderr.strip().splitlines()[-1])
        return Load(*(said[key] for key in ("requests", "seconds", "octets", "statuses", "broken", "p50", "p99")))
