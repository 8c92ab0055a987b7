"""The heartbeat's own request: through the real socket, as a client would, answered by the road itself."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from typing import Final

from proxy.core.credential import Fingerprinter

_OURSELVES: Final = ssl.create_default_context()
"""The listener's own certificate speaks of its public name, not of the address by which it is called here. What is sent is
worth nothing to whoever might sit in between on this machine."""
_OURSELVES.check_hostname = False
_OURSELVES.verify_mode = ssl.CERT_NONE

_LABEL: Final = b"scim-witness heartbeat probe"


def target_of(fingerprinter: Fingerprinter) -> bytes:
    """The target that only this deployment's processes know: the same for all of them, and while a key is changed."""
    return b"/.well-known/scim-witness/" + hashlib.sha256(fingerprinter.lasting(_LABEL).encode()).hexdigest().encode()


async def probe(host: str, port: int, target: bytes, *, header: bool = False, tls: bool = False) -> tuple[bool, str]:
    """Make one request, after a PROXY header that names nobody and within TLS where the listener wants these. Returns whether
    it was answered as it should be, and if not why. Raises OSError."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if header:
            writer.write(b"PROXY UNKNOWN\r\n")
        if tls:
            await writer.start_tls(_OURSELVES)
        writer.write(b"GET %b HTTP/1.1\r\nHost: scim-witness\r\nConnection: close\r\n\r\n" % target)
        line = await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    good = line.startswith(b"HTTP/1.1 204")
    return good, "" if good else f"self-probe was answered {line[:12].decode('latin-1')!r}"
