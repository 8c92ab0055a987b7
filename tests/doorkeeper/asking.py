"""One HTTP request written byte by byte and its answer: what a library would tidy up is what these tests are about."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

Address = tuple[str, int]

PATIENCE: Final = 60.0
"""Seconds for an answer on a machine that is busy with other tests."""


class Answer(NamedTuple):
    """`fields` has lower-case names; of repeated ones the last."""

    status: int
    fields: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def from_rails(self) -> bool:
        """The vendor answered it: Rack::Runtime signs every answer, and the proxy passes that on."""
        return "x-runtime" in self.fields

    @property
    def word(self) -> str:
        """What whoever answered thinks of the token: alive, unknown, revoked, expired, scopes, or the status of a breakdown."""
        said = self.fields.get("www-authenticate", "")
        match self.status:
            case 200 | 201:
                return "alive"
            case 401:
                return next((word for word in ("revoked", "expired") if word in said), "unknown")
            case 403:
                return "scopes"
        return str(self.status)


async def ask(
    address: Address,
    target: str = "/scim/v2/Users",
    *,
    method: str = "GET",
    fields: Sequence[tuple[str, bytes]] = (),
    body: bytes = b"",
) -> Answer:
    """Send one request with exactly these fields (and Host, Connection, Content-Length) and read the whole answer."""
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: scim.example", b"Connection: close"]
    lines += [name.encode() + b":" + value for name, value in fields]
    if body or method not in ("GET", "HEAD"):
        lines.append(b"Content-Length: %d" % len(body))
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            raw = await reader.read()
        finally:
            writer.close()
    return _parsed(raw)


async def post(address: Address, target: str, **form: object) -> Answer:
    """Send a form, as an OAuth client and the vendor's console do."""
    body = urllib.parse.urlencode({name: str(value) for name, value in form.items()}).encode()
    kind = ("Content-Type", b" application/x-www-form-urlencoded")
    return await ask(address, target, method="POST", fields=[kind], body=body)


def bearer(token: str) -> list[tuple[str, bytes]]:
    """The field as it should be."""
    return [("Authorization", b" Bearer " + token.encode())]


def _parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("transfer-encoding", "") == "chunked":
        body = _joined(body)
    return Answer(int(first.split(" ")[1]), fields, body)


def _joined(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]
    return whole
