"""A backend in a process of its own, so that it can be killed and frozen: `python -m tests.faults.backend PORT`."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """Take the body and say yes."""
    body = await request.read()
    return web.json_response({"took": len(body)})


async def main(port: int) -> None:
    """Serve for ever."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
