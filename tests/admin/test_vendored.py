"""What others wrote is served as it was taken in: by its hash, with its licence, and nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import pathlib
import re

import pytest

import proxy.admin
from proxy.admin.vendored import KEEP, packages

FOLDER = pathlib.Path(proxy.admin.__path__[0]) / "static" / "vendor"


def hash_of(body: bytes) -> str:
    return "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.package)
def test_each_file_is_the_one_that_the_manifest_names(package):
    found = {file.name: hash_of(file.read_bytes()) for file in (FOLDER / package.package).iterdir()}
    assert package.files == found
    assert "LICENSE" in found


def test_nothing_lies_there_that_the_manifest_does_not_name():
    named = {f"{package.package}/{file}" for package in packages() for file in package.files}
    found = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    assert {*named, "README.md", "manifest.json"} == found


@pytest.mark.parametrize("package, file", [("htmx.org", "htmx.min.js"), ("uplot", "uPlot.iife.min.js")])
def test_the_version_is_what_the_file_says_itself(package, file):
    version = next(one.version for one in packages() if one.package == package)
    assert re.search(rf"[\"v]{re.escape(version)}\b", (FOLDER / package / file).read_text())


@pytest.mark.parametrize("path", ["/", "/incidents", "/tenants/acme"])
async def test_pages_load_them_by_hash_and_browsers_may_keep_them(world, path):
    async with world.client.get(path) as answer:
        page = await answer.text()
    loaded = re.findall(r'(?:src|href)="(/static/vendor/[^"]+)" integrity="([^"]+)"', page)
    assert {"htmx.min.js"} <= {url.rpartition("/")[2] for url, _ in loaded}
    assert len(loaded) == page.count("/static/vendor/")
    for url, integrity in loaded:
        async with world.client.get(url) as answer:
            assert (200, KEEP["Cache-Control"]) == (answer.status, answer.headers["Cache-Control"]), url
            assert 1 == len(answer.headers.getall("Cache-Control"))
            assert integrity == hash_of(await answer.read())
