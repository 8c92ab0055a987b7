"""What supervisor and worker say to each other, over a socket pair that nobody else has. Frames: four octets of length, JSON.

The first frame goes to the worker and tells it who it is; then it answers what it is asked. Its first answer, number 0, says
that it serves, or why it cannot.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

import msgspec

from proxy.admin.health import Part

FRAME_LIMIT: Final = 64 << 20
"""Octets of one frame: metrics of 10,000 named tenants are about 2 MB."""

_LENGTH: Final = struct.Struct(">I")


class ChannelClosed(Exception):  # noqa: N818 - what happened, not whose fault
    """The other end has gone, or does not answer."""


class Begin(msgspec.Struct, frozen=True):
    """Who a worker is: its number from 1, the settings (`Settings.values`), where the store is."""

    worker: int
    values: dict[str, Any]
    store_url: str


class Ask(msgspec.Struct, frozen=True):
    """`what` is status, metrics, prepare (with values), commit, discard or reopen_log."""

    number: int
    what: str
    values: dict[str, Any] | None = None


class Status(msgspec.Struct, frozen=True):
    """How a worker is: readiness, and the totals of the pages. `grown` are the counts of the last five minutes, per bucket, by
    the name of a part: percentiles of several workers cannot be added up, counts can."""

    ready: bool
    parts: tuple[Part, ...]
    requests: float
    incidents: float
    inflight: float
    lag: float
    durations: tuple[int, ...] = ()
    grown: dict[str, tuple[int, ...]] = {}


class Answer(msgspec.Struct, frozen=True):
    """`text` is the metrics, or why it is not `ok`."""

    number: int
    ok: bool
    text: str = ""
    status: Status | None = None


def encode(message: Begin | Ask | Answer) -> bytes:
    """Return a frame. Values that JSON does not know (dates) go as text, which settings read as well."""
    body = msgspec.json.encode(message, enc_hook=str)
    if len(body) > FRAME_LIMIT:
        raise ValueError(f"a frame of {len(body)} octets is larger than {FRAME_LIMIT}")
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> bytes:
    """Read one frame. ChannelClosed."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > FRAME_LIMIT:
            raise ChannelClosed
        return await reader.readexactly(length)
    except (OSError, asyncio.IncompleteReadError):
        raise ChannelClosed from None


def receive_first(sock: socket.socket) -> Begin:
    """Read the first frame, before there is an event loop. ChannelClosed."""
    sock.setblocking(True)  # noqa: FBT003
    (length,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size))
    return msgspec.json.decode(_exactly(sock, min(length, FRAME_LIMIT)), type=Begin)


def _exactly(sock: socket.socket, octets: int) -> bytes:
    found = b""
    while len(found) < octets:
        more = sock.recv(octets - len(found))
        if not more:
            raise ChannelClosed
        found += more
    return found
