"""What a running proxy imports: nothing that its configuration does not need, for whatever is imported stays in memory."""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from typing import Final

import pytest

from tests.end_to_end.running import token_file

MEMORY: Final = {
    "aiohttp": "15 MiB: for sources that ask somebody by HTTP",
    "aiomysql": "4 MiB: for tables in MySQL",
    "asyncpg": "3 MiB: for tables in PostgreSQL",
    "colorama.ansi": "structlog takes it when it is there",
    "cryptography.hazmat": "10 MiB: for signed tokens",
    "greenlet._greenlet": "2 MiB: structlog takes it when it is there",
    "jinja2": "4 MiB: for pages, when one is asked for",
    "joserfc": "for signed tokens",
    "opentelemetry.context": "2 MiB: redis-py takes it when it is there",
    "proxy.admin.api": "for the API, when it is asked for",
    "proxy.admin.pages": "for pages, when one is asked for",
    "proxy.core.diagnosis.catalogue": "for a diagnosis, when one is asked for",
    "proxy.demo": "for the demo",
    "proxy.supervise.supervisor": "for workers",
    "pydantic": "9 MiB, and as much again for models: nothing needs it, but it is installed with Typer",
    "pygments": "Rich takes it",
    "pymysql": "aiomysql takes it",
    "rich.console": "4 MiB: for the output of commands that people read",
    "unittest": "for tests",
}
"""What may be kept out of memory, and what it costs there. A failed import is named too, but no module that would have been
imported within: of packages that are tried, such a one stands here."""

COMMANDS: Final = {"proxy.cli.__main__", "proxy.cli.configuration", "proxy.cli.run", "proxy.cli.screen"}
PAGES: Final = {"jinja2", "proxy.admin.api", "proxy.admin.pages"}


class Running:
    """`run` under `-X importtime`, which names every module as it is imported."""

    def __init__(self, folder: pathlib.Path, source: str) -> None:
        self._err = folder / "imports"
        config = folder / "proxy.toml"
        config.write_text(
            f'state_dir = "{folder / "state"}"\n[upstream]\nurl = "http://127.0.0.1:1"\n[listen]\nport = 0\n[ops]\nport = 0\n'
            f'[log]\ndestination = "{folder / "log"}"\n{source}\n'
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_WITNESS_")}
        with self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "importtime", "-m", "proxy.cli", "run", "--config", str(config)],
                env={**environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=subprocess.DEVNULL,
                stderr=err,
            )

    def ask(self, path: str) -> int:
        """Ask the ops listener, once it says where it is."""
        deadline = time.monotonic() + 30
        while (found := re.search(r"operators: ([0-9.]+:[0-9]+)", self._err.read_text())) is None:
            assert self._process.poll() is None, self._err.read_text()[-500:]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        connection = http.client.HTTPConnection(found[1], timeout=30)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def imported(self) -> set[str]:
        """Every module so far, and the packages that each is in."""
        names = re.findall(r"^import time:.*\| +(\S+)$", self._err.read_text(), re.MULTILINE)
        return {".".join(parts[:n]) for name in names for parts in [name.split(".")] for n in range(1, len(parts) + 1)}

    def end(self) -> int:
        """SIGTERM; returns the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["doorkeeper_postgres", "token_file"])
def test_run_imports_what_its_configuration_needs(tmp_path, kind):
    tables = f'[source]\nkind = "{kind}"\ndsn = "postgresql://nobody@/none?host={tmp_path}/none"'
    running = Running(tmp_path, tables if kind == "doorkeeper_postgres" else token_file(tmp_path, {"a-good-token": "acme"}))
    try:
        assert 200 == running.ask("/livez")
        assert 200 == running.ask("/metrics")
        imported = running.imported()
        assert {"uvloop", "redis", "prometheus_client"} <= imported
        needed = {"asyncpg"} if kind == "doorkeeper_postgres" else set()
        assert needed == imported & MEMORY.keys()
        assert COMMANDS >= {name for name in imported if name.startswith("proxy.cli.")}
        assert 404 == running.ask("/incidents/none")
        assert needed | PAGES == running.imported() & MEMORY.keys()
    finally:
        status = running.end()
    assert 0 == status
