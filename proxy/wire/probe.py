"""The heartbeat's own request: through the real socket, as a client would, answered by the road itself."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import Final

from proxy.core.credential import Fingerprinter

_LABEL: Final = b"scim-witness heartbeat probe"


def target_of(fingerprinter: Fingerprinter) -> bytes:
    """The target that only this deployment's processes know; the same for all workers and replicas."""
    return b"/.well-known/scim-witness/" + hashlib.sha256(fingerprinter.of(_LABEL).encode()).hexdigest().encode()


async def probe(host: str, port: int, target: bytes) -> tuple[bool, str]:
    """Make one request. Returns whether it was answered as it should be, and if not why. Raises OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET %b HTTP/1.1\r\nHost: scim-witness\r\nConnection: close\r\n\r\n" % target)
        line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    good = line.startswith(b"HTTP/1.1 204")
    return good, "" if good else f"self-probe was answered {line[:12].decode('latin-1')!r}"
