"""The road under fuzz: whatever comes in, nothing reaches the backend that was not authenticated, nothing ambiguous goes out,
no 5xx is of our own making, nothing hangs, and no token is in any answer or record."""

from __future__ import annotations

import asyncio
import contextlib
import re

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.edge.world import GOOD, LOOKUP, PATIENCE, REVOKED, World

SECRET = b"SECRETSECRETSECRET"
PIECES = [
    b"GET /scim/v2/Users HTTP/1.1\r\n",
    b"POST /scim/v2/Users HTTP/1.1\r\n",
    b"HEAD /a HTTP/1.1\r\n",
    b"PUT /a?b HTTP/1.0\r\n",
    b"DELETE //x/../y HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET http://h/a HTTP/1.1\r\n",
    b"TRACE / HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"Host: h\r\n",
    b"Host: h\r\n",
    b"Host: h\r\n",
    b"Authorization: Bearer " + GOOD + b"\r\n",
    b"Authorization: Bearer " + GOOD + b"\r\n",
    b"Authorization: Bearer " + LOOKUP + b"\r\n",
    b"Authorization: Bearer " + SECRET + b"\r\n",
    b"Authorization: Bearer " + SECRET + b"\x00\r\n",
    b"Authorization: " + SECRET + b"\r\n",
    b"Authorization: Bearer " + REVOKED + b"\r\n",
    b'authorization: bearer "' + SECRET + b'"\r\n',
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 50\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade, host\r\n",
    b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"Expect: x\r\n",
    b"User-Agent: " + SECRET + b"\r\n",
    b"X-Forwarded-User: admin\r\n",
    b"A: b\r\n c\r\n",
    b"A: b\rc\r\n",
    b"A : b\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"hello",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nX-Forwarded-User: a\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\n\r\n",
    b"xyz\r\n",
    b"\x00",
    b"\xff",
    b"-1\r\n",
]
WHOLE = [
    b"GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + GOOD + b"\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + GOOD + b"\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer "
    + LOOKUP
    + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + SECRET + b"\r\nContent-Length: 5\r\n\r\nhello",
]
stream = st.lists(st.sampled_from(PIECES) | st.sampled_from(WHOLE) | st.binary(max_size=4), min_size=1, max_size=24)


async def drive(parts: list[bytes]) -> None:
    sent = b"".join(parts)
    async with World.open() as world:
        async with world.client() as client:
            reading = asyncio.create_task(client.read_to_end())
            await client.send_pieces(parts)
            if not client.writer.is_closing():
                with contextlib.suppress(OSError):
                    client.writer.write_eof()
            said = await asyncio.wait_for(reading, PATIENCE)
        allowed = sent.count(b"Bearer " + GOOD) + sent.count(b"Bearer " + LOOKUP)
        assert len(world.backend.requests) <= allowed
        for request in world.backend.requests:
            assert request.values(b"authorization") in ([b"Bearer " + GOOD], [b"Bearer " + LOOKUP])
            assert [] == request.values(b"x-forwarded-user")
            assert 1 == len(request.values(b"host"))
        own = {int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\nServer: scim-witness", said)}
        assert not {status for status in own if status >= 500} - {501, 505}, said
        assert not [secret for secret in (SECRET, GOOD, LOOKUP, REVOKED) if secret in said]
        assert SECRET.decode() not in world.witness.written()
        await world.good()
        world.check()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stream)
@example([WHOLE[3], WHOLE[0]])
@example([WHOLE[1][:-3], WHOLE[0]])
@example([WHOLE[0], b"\x00"])
@example([WHOLE[2], WHOLE[2], WHOLE[1]])
def test_road(parts: list[bytes]):
    asyncio.run(drive(parts))
