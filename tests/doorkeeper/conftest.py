"""One application and one proxy per configuration and worker, started when the first test asks for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from tests.doorkeeper.proxied import Proxied
from tests.doorkeeper.vendor import Vendor, required
from tests.servers import process
from tests.servers.postgres import PostgresServer

DIFFERENCES: dict[str, tuple[str, str, str]] = {}
"""What is presented -> the vendor's answer, the proxy's, and why they differ on purpose; told at the end of the run."""


@pytest.fixture(scope="session")
def vendors(postgres: PostgresServer) -> Iterator[Callable[..., Vendor]]:
    """vendors(TOKEN_SECRETS="hashed"): the running application with these options."""
    required()
    running: dict[tuple[tuple[str, str], ...], Vendor] = {}
    with contextlib.ExitStack() as stack:

        def vendor(**options: str) -> Vendor:
            key = tuple(sorted(options.items()))
            if key not in running:
                name = _apart(postgres.create_database("vendor"))
                started = Vendor(postgres.dsn(name, tcp=True), stack.enter_context(process.room()), **options)
                stack.callback(started.process.stop)
                started.process.start()
                running[key] = started
            return running[key]

        yield vendor


@pytest.fixture(scope="session")
def proxies() -> Iterator[Callable[..., Proxied]]:
    """proxies(vendor, more): the running proxy in front of it, with `more` in its configuration."""
    running: dict[tuple[str, str], Proxied] = {}
    with contextlib.ExitStack() as stack:

        def proxied(vendor: Vendor, more: str = "") -> Proxied:
            key = vendor.dsn, more
            if key not in running:
                started = Proxied(vendor, stack.enter_context(process.room()), more)
                stack.callback(started.process.stop)
                started.process.start()
                running[key] = started
            return running[key]

        yield proxied


def _apart(work: Coroutine[Any, Any, str]) -> str:
    """Run a coroutine to its end in a loop of its own: the loop of this test is running already."""
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(work)))
    thread.start()
    thread.join()
    return results[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name every answer of the proxy that is not the vendor's own."""
    if DIFFERENCES:
        terminalreporter.section("Where the proxy answers otherwise than Doorkeeper, on purpose")
        for presented, (vendor, proxy, why) in sorted(DIFFERENCES.items()):
            terminalreporter.write_line(f"{presented:<55} Doorkeeper {vendor:<8} proxy {proxy:<8} {why}")
