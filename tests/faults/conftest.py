"""One rig for the whole matrix, and its table at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.faults.rig import Rig, running_rig
from tests.faults.table import Table


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rig() -> AsyncIterator[Rig]:
    """All parts, running; every cell leaves them as it found them."""
    async with running_rig() as ready:
        yield ready


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """Collects rows, and prints them when the last cell is done."""
    found = Table()
    yield found
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(found.text())
