"""Everything at the edge is tested twice: the plain road on asyncio's own loop, the express road on uvloop as in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from tests.edge.world import World


def pytest_asyncio_loop_factories() -> dict[str, object]:
    """See pytest-asyncio."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A proxy with its usual settings, and a backend behind it."""
    async with World.open() as opened:
        yield opened
        opened.check()
