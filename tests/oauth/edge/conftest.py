"""A scripted OAuth server behind the edge, on both event loops."""

from __future__ import annotations

import asyncio

import uvloop


def pytest_asyncio_loop_factories() -> dict[str, object]:
    """See pytest-asyncio."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
