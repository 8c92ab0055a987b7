"""Turns a template and values into an answer, and serves the few files that pages need. Escapes everything."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib.resources
import math
import shlex
from typing import Any, Final
from urllib.parse import quote

import jinja2

from proxy import __version__
from proxy.admin.charts import clock, table
from proxy.admin.http import Handler, Request, Response, Route, text
from proxy.admin.vendored import assets, vendored_routes
from proxy.core.diagnosis.words import ago, utc

_TYPES: Final = {
    "ops.css": "text/css",
    "ops.js": "text/javascript",
    "charts.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


def _iso(at: float) -> str:
    try:
        return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def _short(at: float) -> str:
    """`24 Nov 2026 17:51:11`; the year matters where tokens live ten."""
    try:
        when = dt.datetime.fromtimestamp(math.floor(at), dt.UTC)
    except (ValueError, OverflowError, OSError):
        return utc(at)
    return f"{when.day} {when:%b %Y %H:%M:%S}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _path(name: str) -> str:
    return quote(name, safe="")


class Room:
    """Renders templates off the event loop."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("proxy.admin"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "utc": utc, "ago": ago, "iso": _iso, "short": _short, "milliseconds": _milliseconds, "path": _path, "clock": clock,
            "table": table, "shell": shlex.quote,
        }  # fmt: skip
        self._environment.globals |= {"version": __version__, "vendored": assets()}

    async def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a page. Templates see `now` in epoch seconds, `here` (which part of the menu) and `store_error`."""
        values = {"here": "", "store_error": ""} | values
        return text(await self.part(template, **values), status, "text/html")

    async def part(self, template: str, **values: Any) -> str:
        """Return a part of a page, which takes the place of what stands there."""
        return await asyncio.to_thread(self._environment.get_template(template).render, **values)


def static_routes() -> list[Route]:
    """The routes of styles, scripts and icon: read once."""
    folder = importlib.resources.files("proxy.admin") / "static"
    return [
        *(Route(f"/static/{name}", _file((folder / name).read_bytes(), kind)) for name, kind in _TYPES.items()),
        *vendored_routes(),
    ]


def _file(body: bytes, content_type: str) -> Handler:
    async def serve(_request: Request) -> Response:
        return Response(body, content_type=content_type if "svg" in content_type else f"{content_type}; charset=utf-8")

    return serve
