"""One demo and one Prometheus for all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.running import Prometheus, demo, program, prometheus


@pytest.fixture(scope="session")
def scraping() -> Iterator[Prometheus]:
    """A real Prometheus with our rules that scrapes the running demo."""
    program("prometheus")  # before the demo is started for nothing
    with demo() as target, prometheus(target) as server:
        yield server
