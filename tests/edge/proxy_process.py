"""A proxy alone in a process, so that its memory can be measured: `python -m tests.edge.proxy_process BACKEND_PORT`."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.edge.world import World


async def main() -> None:
    """Say the port, then serve until the standard input ends."""
    async with World.open(upstream={"port": int(sys.argv[1])}) as world:
        print(world.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


uvloop.run(main())
