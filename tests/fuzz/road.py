"""The plain road and the express one, each with a proxy on real sockets: the same bytes of a client come to the same end."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final

import uvloop

from tests.edge.test_road_fuzz import PIECES, SECRET, WHOLE
from tests.edge.world import GOOD, LOOKUP, PATIENCE, REVOKED, World, warm
from tests.fuzz.target import Target, splits

OURS: Final = re.compile(rb"(?im)^(date|x-incident-id|retry-after): [^\r]*\r\n|[0-9A-HJKMNP-TV-Z]{26}")
"""What differs between two answers that are the same: clocks and names of incidents."""

Seen = tuple[bytes, list[tuple[bytes, bytes, bytes]], list[tuple[str, str]]]


def only_presented(secret: bytes, sent: bytes) -> bool:
    """Whether a secret stands in Authorization fields alone: who writes it into his User-Agent, of a request with another
    token or none, finds it in the record."""
    return sent.count(secret) == len(re.findall(rb"(?m)^(?i:authorization):[^\r\n]*?%b(?![^\r\n]*%b)" % (secret, secret), sent))


class Road:
    """One proxy that stays open from input to input, in an event loop of its own."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._stack = contextlib.AsyncExitStack()
        self._world = runner.run(self._stack.enter_async_context(_world()))

    def drive(self, parts: list[bytes]) -> Seen:
        """What the client read, what reached the backend whole, what is on record."""
        return self._runner.run(self._drive(parts))

    def close(self) -> None:
        """Stop proxy, backend and loop."""
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def _drive(self, parts: list[bytes]) -> Seen:
        world = self._world
        world.backend.requests.clear()
        world.backend.connections.clear()
        world.witness.incidents.clear()
        world.witness.exchanges.clear()
        if not world.upstream._idle:
            await warm(world.upstream)
        async with world.client() as client:
            reading = asyncio.create_task(client.read_to_end())
            await client.send_pieces(parts)
            if not client.writer.is_closing():
                with contextlib.suppress(OSError):
                    client.writer.write_eof()
            said = await asyncio.wait_for(reading, PATIENCE)
        assert [] == world.failures
        assert [] == world.backend.complaints
        sent = b"".join(parts)
        requests = [(one.method, one.target, one.body) for one in world.backend.requests]
        assert len(requests) <= len(re.findall(rb"(?i:bearer) (?:%b|%b)" % (GOOD, LOOKUP), sent))
        for request in world.backend.requests:
            assert [value[7:] for value in request.values(b"authorization")] in ([GOOD], [LOOKUP])
        own = {int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\nServer: scim-witness", said)}
        assert not {status for status in own if status >= 500} - {501, 505}, said
        written = said + world.witness.written().encode()
        assert not [secret for secret in (SECRET, GOOD, LOOKUP, REVOKED) if only_presented(secret, sent) and secret in written]
        recorded = [(one.kind.value, one.reason) for one in world.witness.incidents]
        return OURS.sub(b"", said), requests, recorded


@contextlib.asynccontextmanager
async def _world() -> AsyncIterator[World]:
    async with World.open() as world:
        yield world


_ROADS: list[Road] = []


def roads(data: bytes) -> bool:
    """Client, backend and record see the same on either road, and no secret is in what they see."""
    if not _ROADS:
        for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
            _ROADS.append(Road(asyncio.Runner(loop_factory=factory)))
            atexit.register(_ROADS[-1].close)
    plain, express = (road.drive([data]) for road in _ROADS)
    assert plain == express
    for road in _ROADS:
        again = road.drive(next(splits(data)))
        # whether a refused body is here already decides whether the connection goes on: nothing else depends on how it came
        reached, recorded = (min(len(again[at]), len(plain[at])) for at in (1, 2))
        assert plain[1][:reached] == again[1][:reached]
        assert plain[2][:recorded] == again[2][:recorded]
    return bool(express[1])


TARGETS: Final = (
    Target(
        "roads",
        roads,
        [
            *WHOLE,
            WHOLE[0] * 3,
            WHOLE[1] + WHOLE[2],
            WHOLE[0] + b"\x00",
            WHOLE[1][:-2],
            PIECES[0] + PIECES[9] + b"Authorization: Bearer " + REVOKED + b"\r\n\r\n",
        ],
        sorted({*PIECES, *WHOLE}),
    ),
)
