"""What every contender is: a proxy that can be started in front of a backend, and that is checked to do the work.

A contender that lets a bad token through, refuses a good one, or writes no JSON line is not timed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from tests.bench import mix
from tests.bench.machine import Cores

LOG_SECONDS: Final = 6.0
"""For a buffered log line to reach its file."""


class Running(NamedTuple):
    """A contender at work. `proxy` are the ids of its own processes, `stack` those of everything that it needs besides
    (validator, Redis, database); `log` is the file of its JSON lines."""

    port: int
    proxy: Sequence[int]
    stack: Sequence[int]
    log: pathlib.Path | None


class Place(NamedTuple):
    """Where a contender works: an empty folder, the cores, the port of the backend."""

    folder: pathlib.Path
    cores: Cores
    backend: int


class Contender(NamedTuple):
    """`missing` says why it cannot take part, or nothing. `refusals`: it gets refused requests alone, at full load."""

    name: str
    start: Callable[[Place], contextlib.AbstractContextManager[Running]]
    checked: bool = True
    missing: str = ""
    refusals: bool = False


class NotDoingItsWorkError(Exception):
    """A contender that would be timed for less than the others do."""


@contextlib.contextmanager
def direct(place: Place) -> Iterator[Running]:
    """No proxy at all."""
    yield Running(place.backend, (), (), None)


def check(name: str, running: Running) -> None:
    """Good tokens pass, bad ones and none are refused, and each leaves a line. Raises NotDoingItsWorkError."""
    assert running.log is not None
    seen = running.log.stat().st_size if running.log.exists() else 0
    wanted = {
        mix.good_token(0): 200,
        mix.good_token(1): 200,
        mix.revoked_token(0): 401,
        mix.unknown_token(0): 401,
        "": 401,
    }
    for token, status in wanted.items():
        answered, body = ask(running.port, token)
        if answered != status or (status == 200 and b"userName" not in body):
            raise NotDoingItsWorkError(f"{name} answered {answered} to token {token[:4]!r} where {status} is right")
    statuses = list(wanted.values())
    deadline = time.monotonic() + LOG_SECONDS
    while (counted := _lines(running.log, seen)) != (statuses.count(200), statuses.count(401)):
        if time.monotonic() > deadline:
            raise NotDoingItsWorkError(f"{name} logged {counted} lines with 200 and 401 for {len(statuses)} requests")
        time.sleep(0.05)


def ask(port: int, token: str, target: str = f"{mix.BASE}/Users/2819c223") -> tuple[int, bytes]:
    """One request; status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _lines(log: pathlib.Path, seen: int) -> tuple[int, int]:
    """How many JSON lines of requests with status 200 and 401 have come after the octet `seen`."""
    found = {200: 0, 401: 0}
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(seen)
        for line in file.read().split(b"\n"):
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and (status := said.get("status")) in found:
                    found[int(status)] += 1
    return found[200], found[401]
