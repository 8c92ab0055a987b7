"""The wired program as a user runs it: `scim-witness run` in a process of its own, and the other commands beside it."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp

START_SECONDS: Final = 60.0
COMMAND: Final = str(pathlib.Path(sys.executable).with_name("scim-witness"))


class Proxy:
    """One deployment: configuration, state directory, and the process while it runs."""

    def __init__(self, directory: pathlib.Path, upstream: str, source: str, more: str = "", top: str = "") -> None:
        self.directory = directory
        self.config = directory / "proxy.toml"
        self.log = directory / "proxy.log"
        self.data = ""
        self.ops = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.config.write_text(
            f"""state_dir = "{directory / "state"}"
{top}
[listen]
port = 0
drain_seconds = 5
[upstream]
url = "{upstream}"
[ops]
port = 0
[log]
destination = "{self.log}"
{source}
{more}
"""
        )

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, environ: Mapping[str, str] | None = None) -> None:
        """Start, and wait until it says where it listens."""
        before = self.log.stat().st_size if self.log.exists() else 0
        output = (self.directory / "output").open("ab")
        self._process = subprocess.Popen(
            [COMMAND, "run", "--config", str(self.config)], stdout=output, stderr=output, env={**os.environ, **(environ or {})}
        )
        output.close()

        def started() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"it did not start: {(self.directory / 'output').read_text()}")
            for line in self.lines(before):
                if line.get("event") == "started":
                    self.data, self.ops = f"http://{line['listen']}", f"http://{line['ops']}"
                    return True
            return False

        until(started, START_SECONDS)

    def lines(self, start: int = 0) -> list[dict[str, Any]]:
        """The log's whole lines from an offset on."""
        if not self.log.exists():
            return []
        whole = self.log.read_bytes()[start:].rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def kill(self) -> None:
        """kill -9, and nothing else."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        status = self._process.wait(30)
        if status:
            print((self.directory / "output").read_text(errors="replace"))  # what a failed test shows
        return status

    def command(self, *arguments: str, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run another command of the program on this deployment."""
        return subprocess.run(
            [COMMAND, *arguments, "--config", str(self.config)], capture_output=True, input=stdin, timeout=60, check=False
        )

    def shown(self, incident: str) -> dict[str, Any] | None:
        """`incidents show --json`, None while there is none."""
        done = self.command("incidents", "show", incident, "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {true}")
        time.sleep(0.02)


def token_file(directory: pathlib.Path, tokens: Mapping[str, str]) -> str:
    """Write a token file (token -> tenant) and return the `[source]` section for it."""
    entries = (
        f'[[token]]\nname = "{tenant}-{i}"\ndigest = "{hashlib.sha256(token.encode()).hexdigest()}"\ntenant = "{tenant}"\n'
        "created_at = 2026-05-03T10:00:00Z\n"
        for i, (token, tenant) in enumerate(tokens.items())
    )
    path = directory / "tokens.toml"
    path.write_text("\n".join(entries))
    return f'[source]\nkind = "token_file"\npath = "{path}"'


async def get(url: str, token: str | None = None, **more: Any) -> tuple[int, dict[str, str], bytes]:
    """One GET on a connection of its own."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers | more.pop("headers", {}), **more) as answer,
    ):
        return answer.status, dict(answer.headers), await answer.read()
