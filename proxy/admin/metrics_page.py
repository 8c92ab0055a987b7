"""GET /metrics: rendered in a thread, a few at a time, so that a scrape is not felt by requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.admin.http import Handler, Request, Response

Render = Callable[[str], tuple[str, bytes]]
"""From a scraper's Accept field to content type and body."""

AT_ONCE: Final = 2
"""Renderings at the same time: two Prometheus servers scrape as a pair; more would only contend for the interpreter."""


def metrics_page(render: Render) -> Handler:
    """Return the handler of /metrics."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def show(request: Request) -> Response:
        async with slots:
            content_type, body = await asyncio.to_thread(render, request.accept)
        return Response(body, content_type=content_type)

    return show
