"""Scripts and styles of others: which there are, where the pages find them, and the hashes by which a browser knows them."""

from __future__ import annotations

import importlib.resources
from typing import Final

import msgspec

from proxy.admin.http import Handler, Request, Response, Route

KEEP: Final = {"Cache-Control": "private, max-age=31536000, immutable"}
"""For a year: the version is part of the address. Private, for the answer may have needed a credential."""

_TYPES: Final = {"css": "text/css", "js": "text/javascript"}
_FOLDER: Final = importlib.resources.files("proxy.admin") / "static" / "vendor"


class Package(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the manifest. `files` gives the hash of each file of its folder, as `integrity` has it (W3C SRI)."""

    package: str
    name: str
    version: str
    licence: str
    source: str
    files: dict[str, str]


class Asset(msgspec.Struct, frozen=True):
    """A file that pages load: its path, and the hash that the browser compares."""

    url: str
    integrity: str
    package: str
    file: str


def packages() -> list[Package]:
    """Read the manifest."""
    return msgspec.json.decode((_FOLDER / "manifest.json").read_bytes(), type=list[Package])


def assets() -> dict[str, Asset]:
    """Scripts and styles by their file's name."""
    return {
        file: Asset(f"/static/vendor/{package.package}-{package.version}/{file}", integrity, package.package, file)
        for package in packages()
        for file, integrity in package.files.items()
        if file.rpartition(".")[2] in _TYPES
    }


def vendored_routes() -> list[Route]:
    """The routes of all of them: 110 kB in all, read once."""
    return [Route(asset.url, _file(asset)) for asset in assets().values()]


def _file(asset: Asset) -> Handler:
    body = (_FOLDER / asset.package / asset.file).read_bytes()
    content_type = f"{_TYPES[asset.file.rpartition('.')[2]]}; charset=utf-8"

    async def serve(_request: Request) -> Response:
        return Response(body, content_type=content_type, headers=KEEP)

    return serve
