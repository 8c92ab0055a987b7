"""Checkers of deploy/, and a Prometheus of Debian that scrapes the running demo (tests/demo/running.py) until the test ends."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.servers.process import free_port, missing, room

ROOT: Final = pathlib.Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
COMMAND: Final = pathlib.Path(sys.executable).with_name("scim-witness")
START_SECONDS: Final = 60.0


def program(name: str) -> str:
    """The path of a program; without it the test is skipped, or fails in CI."""
    found = shutil.which(name) or shutil.which(name, path=f"{ROOT / 'build' / 'deploy-tools' / 'bin'}")
    return found or missing(f"{name} is not installed; .ci/run installs it")


def run(*command: str | pathlib.Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a checker to its end, both outputs in `stdout`."""
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
        **more,
    )


def until(look: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Look again until there is something, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return found


class Prometheus:
    """The HTTP API of a Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def api(self, path: str, **parameters: str) -> Any:
        """GET /api/v1/PATH and return `data`. AssertionError with Prometheus's own words when it says error."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}{query}", timeout=10) as answer:  # noqa: S310 - our own
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters or path}: {error.read().decode()}") from None

    def query(self, expression: str) -> Any:
        """The instant result of an expression."""
        return self.api("query", query=expression)["result"]


@contextlib.contextmanager
def prometheus(target: str) -> Iterator[Prometheus]:
    """Debian's Prometheus with our rules, scraping `target` each second, once it has scraped and evaluated them all."""
    binary, port = program("prometheus"), free_port()
    with room() as folder:
        for name in ("recording.yml", "alerts.yml"):
            # the groups ask for nothing but time: evaluated each second they are what they are each 15 seconds
            shutil.copy(DEPLOY / "prometheus" / name, folder / name)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            "rule_files: [recording.yml, alerts.yml]\n"
            f"scrape_configs: [{{job_name: scim-witness, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            until(lambda: _has_rates(process, server, folder / "log"), "Prometheus has scraped and evaluated")
            yield server
        finally:
            _end(process)


def _has_rates(process: subprocess.Popen[bytes], server: Prometheus, log: pathlib.Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"Prometheus ended: {log.read_text()}")
    try:
        # the last rule of the last recording group has a value, so all before it had their turn; the demo's customer sends
        # every 5 seconds, so that a rate needs some scrapes
        with urllib.request.urlopen(f"{server.url}/-/ready", timeout=10):  # noqa: S310 - our own; 503, an OSError, until it is
            rules = server.api("rules")["groups"]
        evaluated = all(rule["health"] != "unknown" for group in rules for rule in group["rules"])
        return evaluated and bool(server.query("scim_witness:overhead_seconds:p95_5m > -1"))
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
