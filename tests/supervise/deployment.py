"""A deployment as its operator has it, and a client that counts: what was asked, what came back, on which connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Self

import aiohttp

from tests.end_to_end.running import COMMAND

GOOD: Final = "a-good-token-of-acme-0123456789abcdefghijkl"
REVOKED: Final = "a-revoked-token-of-acme-0123456789abcdefgh"
UNKNOWN: Final = "an-unknown-token-of-nobody-0123456789abcdef"
WANTED: Final = {GOOD: 200, REVOKED: 401, UNKNOWN: 401}
BEFORE: list[str] = []
"""What starts the command, where a test has something do that."""
PATIENCE: Final = 40.0
"""Seconds after which a test calls it a hang; a busy machine starts interpreters slowly."""


async def until(true: Callable[[], object], seconds: float = PATIENCE) -> Any:
    """Wait until something holds, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {true}")
        await asyncio.sleep(0.03)
    return found


def token_list(*tokens: str) -> str:
    """A token file; those with `revoked` in them are."""
    return "\n".join(
        f'[[token]]\nname = "t{i}"\ndigest = "{hashlib.sha256(token.encode()).hexdigest()}"\ntenant = "acme"\n'
        "created_at = 2026-05-03T10:00:00Z\n" + ("revoked_at = 2026-06-01T10:00:00Z\n" if "revoked" in token else "")
        for i, token in enumerate(tokens)
    )


class Deployment:
    """One configuration, one state directory, and the process that serves them now."""

    def __init__(
        self, directory: pathlib.Path, upstream: str, *, workers: int = 1, watch_every: float = 0, more: str = ""
    ) -> None:
        self.directory = directory
        self.config = directory / "proxy.toml"
        self.log = directory / "proxy.log"
        self.pid = 0
        self.data = self.ops = ""
        self.values = {"upstream": upstream, "workers": workers, "watch_every": watch_every, "more": more, "top": ""}
        self.tokens = directory / "tokens.toml"
        self.tokens.write_text(token_list(GOOD, REVOKED))
        self._process: subprocess.Popen[bytes] | None = None
        self.write()

    def write(self, **changes: Any) -> None:
        """Write the configuration, with changes that stay."""
        self.values |= changes
        v = self.values
        new = self.config.with_suffix(".new")
        new.write_text(
            f"""state_dir = "{self.directory / "s"}"
workers = {v["workers"]}
watch_every = {v["watch_every"]}
{v["top"]}
[listen]
port = 0
drain_seconds = 15
[upstream]
url = "{v["upstream"]}"
[ops]
port = 0
[log]
destination = "{self.log}"
[source]
kind = "token_file"
path = "{self.tokens}"
[evidence]
fold_window = 0
{v["more"]}
"""
        )
        new.replace(self.config)

    async def start(self, environ: dict[str, str] | None = None, **more: Any) -> None:
        """Start, and wait until it says where it listens."""
        if self._process is not None:
            self._process.wait(10)  # the one before has ended
        before = len(self.lines())
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [*BEFORE, COMMAND, "run", "--config", str(self.config)],
                stdout=output,
                stderr=output,
                env={**os.environ, **(environ or {})},
                **more,
            )
        self.pid = self._process.pid
        line = await until(lambda: self._started(before))
        self.data, self.ops = f"http://{line['listen']}", f"http://{line['ops']}"

    def _started(self, before: int) -> dict[str, Any] | None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"it did not start: {self.output()}")
        return next((line for line in self.lines()[before:] if line["event"] == "started" and "listen" in line), None)

    def output(self) -> str:
        """What it wrote to its terminal."""
        return (self.directory / "output").read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log's whole lines."""
        found: list[dict[str, Any]] = []
        for path in sorted(self.directory.glob("proxy.log*"), reverse=True):
            found += [json.loads(line) for line in path.read_bytes().rpartition(b"\n")[0].splitlines()]
        return found

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events of one name."""
        return [line for line in self.lines() if line["event"] == name]

    def lines_about(self, incidents: set[str]) -> list[dict[str, Any]]:
        """Events, and the exchanges of these incidents."""
        return [line for line in self.lines() if line["event"] != "exchange" or line.get("incident") in incidents]

    def signal(self, number: int) -> None:
        """Send a signal to the main process."""
        os.kill(self.pid, number)

    async def event(self, name: str, count: int = 1) -> dict[str, Any]:
        """Wait for the count-th event of a name."""
        found: list[dict[str, Any]] = await until(lambda: len(f := self.events(name)) >= count and f)
        return found[count - 1]

    def workers(self) -> dict[int, int]:
        """The process that serves in each slot, by the last word of the log."""
        return {line["worker"]: line["pid"] for line in self.events("worker_serves")}

    async def gone(self, pid: int) -> None:
        """Wait until a process is no more."""
        await until(lambda: not alive(pid))

    async def stop(self) -> int | None:
        """SIGTERM to whoever serves now; the exit status where it is our own child."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int | None:
        """Wait for its end."""
        await self.gone(self.pid)
        child = self._process
        return child.wait(30) if child is not None and child.pid == self.pid else None

    def destroy(self) -> None:
        """Leave nothing behind, whatever the test did."""
        pids = {self.pid, *(line["pid"] for line in self.events("worker_serves"))} if self.log.exists() else {self.pid}
        for pid in pids - {0}:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def incidents(self) -> list[str]:
        """The ids of all incidents on record, by the command line, which reads store and spool."""
        done = subprocess.run(
            [COMMAND, "incidents", "list", "--json", "--limit", "10000", "--config", str(self.config)],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, done.stderr.decode()
        return [incident["id"] for incident in json.loads(done.stdout)["incidents"]]


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be collected does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Load:
    """Clients that never stop: some keep their connection, some take a new one each time. Every answer is counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[tuple[str, int]] = Counter()
        self.broken: list[str] = []
        self.incidents: list[str] = []
        self._going = True
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for token in WANTED:
            for keep in (True, True, False):
                self._tasks.append(asyncio.create_task(self._client(token, keep=keep)))
        return self

    def stop(self) -> None:
        """Ask no more."""
        self._going = False

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        await asyncio.gather(*self._tasks)

    async def more(self, count: int = 60) -> None:
        """Wait until this many requests more were answered."""
        want = self.total + count
        await until(lambda: self.total >= want)

    @property
    def total(self) -> int:
        """Answers so far."""
        return sum(self.answers.values())

    def wrong(self) -> dict[tuple[str, int], int]:
        """Answers that were not what the token is worth."""
        return {key: count for key, count in self.answers.items() if key[1] != WANTED[key[0]]}

    async def _client(self, token: str, *, keep: bool) -> None:
        while self._going:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1, force_close=not keep)) as session:
                while self._going:
                    await self._ask(session, token)
                    await asyncio.sleep(0.02)

    async def _ask(self, session: aiohttp.ClientSession, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            async with session.get(f"{self.url}/Users", headers=headers) as answer:
                await answer.read()
                self.answers[token, answer.status] += 1
                if answer.status == 401:
                    self.incidents.append(answer.headers["X-Incident-Id"])
        except aiohttp.ClientError as error:
            self.broken.append(f"{type(error).__name__}: {error}")
