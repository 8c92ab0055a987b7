"""The pages of the installed program come with all that they load: what a wheel forgot would be missing here."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.end_to_end.running import get


async def test_whatever_a_page_loads_is_there_and_is_what_its_hash_says(deploy, backend):
    proxy = deploy(backend)
    proxy.start()
    loaded: dict[str, str] = {}
    for path in ("/", "/incidents", "/tenants/acme"):
        status, _, page = await get(f"{proxy.ops}{path}")
        assert 200 == status
        loaded |= re.findall(r'(?:src|href)="(/static/[^"]+)"(?: integrity="sha384-([^"]+)")?', page.decode())
    names = {url.rpartition("/")[2] for url in loaded}
    assert {
        "htmx.min.js",
        "sse.min.js",
        "uPlot.iife.min.js",
        "uPlot.min.css",
        "ops.css",
        "ops.js",
        "charts.js",
        "icon.svg",
    } == names
    for url, integrity in loaded.items():
        status, _, body = await get(f"{proxy.ops}{url}")
        assert 200 == status, url
        assert bool(integrity) == ("/vendor/" in url)
        if integrity:
            assert integrity == base64.b64encode(hashlib.sha384(body).digest()).decode(), url
