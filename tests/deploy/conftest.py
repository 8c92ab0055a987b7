"""One demo and one Prometheus for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.demo.running import demo
from tests.deploy.running import Prometheus, program, prometheus


@pytest.fixture(scope="session")
def scraping() -> Iterator[Prometheus]:
    """A real Prometheus with our rules that scrapes the running demo."""
    program("prometheus")  # before the demo is started for nothing
    with demo() as running, prometheus(running.printed.ops) as server:
        yield server
