"""Requests and answers of the ops listener as values, and which handler a path has. No I/O: wiring gives it a server.

Answers are built whole, but for a stream, which is written as it comes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

from proxy.admin.certificate import Certificate

METHODS: Final = ("GET", "HEAD")
"""Everything here only reads. The server leaves the body of an answer to HEAD out."""


class Request(msgspec.Struct, frozen=True):
    """A request, decoded; bytes that are no UTF-8 became U+FFFD. `segments` are those of its path, each by itself; of a field
    of the query that comes twice the first counts; `named` holds what stands where its route has a name in braces;
    `certificate` is the client's, which was verified."""

    method: str
    path: str
    segments: tuple[str, ...]
    query: Mapping[str, str]
    host: str = ""
    peer: str = ""
    authorization: tuple[str, ...] = ()
    accept: str = ""
    named: Mapping[str, str] = {}
    certificate: Certificate | None = None


class Response(msgspec.Struct, frozen=True):
    """A whole answer. `content_type` is written as it is."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = {}


class Stream(msgspec.Struct, frozen=True):
    """An answer that goes on until the client leaves or `chunks` end; it is closed then."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str
    status: int = 200
    headers: Mapping[str, str] = {}


Answer = Response | Stream
Handler = Callable[[Request], Awaitable[Answer]]


class Route(msgspec.Struct, frozen=True):
    """A path, in which a segment `{name}` stands for any that is not empty, and who answers it."""

    path: str
    handler: Handler


def read(method: str, target: bytes) -> Request:
    """Read a target in origin-form; any bytes give a request."""
    path, _, query = target.decode("ascii", "replace").partition("?")
    pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
    return Request(
        method=method,
        path=unquote(path, errors="replace"),
        segments=tuple(unquote(segment, errors="replace") for segment in path.split("/")),
        query=dict(reversed(pairs)),
    )


def text(words: str, status: int = 200, content_type: str = "text/plain", headers: Mapping[str, str] | None = None) -> Response:
    """Answer with words."""
    return Response(words.encode(), status, f"{content_type}; charset=utf-8", headers or {})


def found(place: str) -> Response:
    """Send the client to another path of ours."""
    return Response(status=302, headers={"Location": place})


def plain(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a status and its phrase alone."""
    return text(f"{status} {HTTPStatus(status).phrase}\n", status, headers=headers)


class Routes:
    """Finds a handler. Of two routes the one that was given first."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(tuple(route.path.split("/")), route.handler) for route in routes]

    async def answer(self, request: Request) -> Answer | None:
        """Let the route of a request answer it; None where it has none."""
        for pattern, handler in self._routes:
            named = _match(pattern, request.segments)
            if named is not None:
                if request.method not in METHODS:
                    return plain(405, {"Allow": ", ".join(METHODS)})
                return await handler(msgspec.structs.replace(request, named=named))
        return None


def _match(pattern: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    named = {}
    for wanted, given in zip(pattern, segments, strict=True):
        if wanted[:1] == "{":
            if not given:
                return None
            named[wanted[1:-1]] = given
        elif wanted != given:
            return None
    return named
