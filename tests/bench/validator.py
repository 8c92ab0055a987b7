"""The validator that nginx, Envoy and Caddy ask: a token is looked up in Redis for each request.

Run as `python -m tests.bench.validator PORT REDIS_URL`. It is what a good engineer would write in an afternoon, tuned:
aiohttp's low-level server without routes or middlewares, no access log, uvloop, redis-py with hiredis and a pool of
connections, one GET per request. It knows tokens by digest only.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import sys
from typing import Final

import redis.asyncio
import uvloop
from aiohttp import web

PREFIX: Final = "bench:token:"
POOL: Final = 64
"""Connections to Redis: as many as there are requests at once."""


def key(token: str) -> str:
    """Where a token is kept."""
    return PREFIX + hashlib.sha256(token.encode()).hexdigest()


async def serve(port: int, url: str) -> None:
    """Until the process is ended."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=POOL, timeout=5)
    client = redis.asyncio.Redis(connection_pool=pool)

    async def validate(request: web.BaseRequest) -> web.StreamResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            tenant = await client.get(key(token))
            if tenant is not None:
                return web.Response(headers={"X-Tenant": tenant.decode()})
        return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer realm="SCIM", error="invalid_token"'})

    runner = web.ServerRunner(web.Server(validate, access_log=None, keepalive_timeout=300))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
