"""A SCIM client in Python: `python_client.py LIBRARY BASE TOKEN STEPS`; see test_clients.py for steps and answers."""

from __future__ import annotations

import asyncio
import base64
import gzip
import pathlib
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import aiohttp
import httpx
import requests

LIBRARY, BASE, TOKEN, STEPS = sys.argv[1:5]
FIELDS = {"Authorization": f"Bearer {TOKEN}"}


def parts(body: bytes) -> Iterator[bytes]:
    yield body[:5]
    yield body[5:]


def by_httpx():
    client = httpx.Client(headers=FIELDS)

    def ask(method, url, body, chunked, kind):
        content = parts(body) if chunked else body or None
        answer = client.request(method, url, content=content, headers=kind)
        return answer.status_code, answer.headers, answer.content

    return ask


def by_requests():
    session = requests.Session()

    def ask(method, url, body, chunked, kind):
        answer = session.request(method, url, data=parts(body) if chunked else body or None, headers={**FIELDS, **kind})
        return answer.status_code, answer.headers, answer.content

    return ask


def by_urllib():
    def ask(method, url, body, chunked, kind):
        data = parts(body) if chunked else body or None
        request = urllib.request.Request(url, data, {**FIELDS, **kind}, method=method)  # noqa: S310 - a loopback address of the test
        try:
            answer = urllib.request.urlopen(request)  # noqa: S310 - the same
        except urllib.error.HTTPError as error:
            answer = error
        content = answer.read()
        if answer.headers.get("Content-Encoding") == "gzip" and content:
            content = gzip.decompress(content)
        return answer.status, answer.headers, content

    return ask


def by_aiohttp():
    loop = asyncio.new_event_loop()

    async def start():
        return aiohttp.ClientSession(headers=FIELDS)

    session = loop.run_until_complete(start())

    async def chunks(body):
        for part in parts(body):
            yield part

    async def once(method, url, body, chunked, kind):
        async with session.request(method, url, data=chunks(body) if chunked else body or None, headers=kind) as answer:
            return answer.status, answer.headers, await answer.read()

    return lambda *step: loop.run_until_complete(once(*step))


ask = {"httpx": by_httpx, "requests": by_requests, "urllib": by_urllib, "aiohttp": by_aiohttp}[LIBRARY]()
identity = ""
for line in pathlib.Path(STEPS).read_text().splitlines():
    method, path, body, framing = line.split("\t")
    kind = {"Content-Type": "application/scim+json"} if body else {}
    status, fields, content = ask(method, BASE + path.replace("{id}", identity), body.encode(), framing == "chunked", kind)
    if method == "POST" and (found := re.search(rb'"id"\s*:\s*"([^"]+)"', content)):
        identity = found[1].decode()
    shown = [str(status), fields.get("Content-Type") or "", fields.get("Location") or "", fields.get("ETag") or ""]
    print("\t".join([*shown, base64.b64encode(content).decode()]))
