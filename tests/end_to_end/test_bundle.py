"""The evidence bundle, and chains that were tampered with, through the commands on the wired program."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import msgspec
import redis

from proxy.evidence.bundle import Seal, holds
from tests.end_to_end.running import get, until

PLANTED = "PLANTED-token-3kd02mcmq8sj2la0"


async def refused(proxy, *tokens):
    found = []
    for token in tokens:
        _, headers, _ = await get(f"{proxy.data}/scim/v2/Users", token, headers={"User-Agent": f"</pre><b>{PLANTED}"})
        found.append(headers["X-Incident-Id"])
    return found


async def test_a_bundle_is_whole_and_proves_itself(deploy, backend, own_store, tmp_path):
    proxy = deploy(backend, more=f'[store]\nurl = "{own_store.url}"')
    proxy.start()
    (incident,) = await refused(proxy, PLANTED)
    file = tmp_path / "bundle.html"

    def exported():
        assert proxy.command("incidents", "export", incident, "-o", str(file), "--force").returncode == 0
        return "SHA-256" in file.read_text()

    until(exported)
    text = file.read_text()
    assert PLANTED not in text
    assert 0o600 == file.stat().st_mode & 0o777
    assert not re.search(r"<script|<b>|(src|href)=", text), "it loads nothing and is what we wrote"
    (raw,) = re.findall(r'<pre id="record">(.*?)</pre>', text, re.DOTALL)
    record = json.loads(html.unescape(raw))
    assert (incident, "token_unknown") == (record["incident"]["id"], record["cause"]["code"])
    sealed = msgspec.convert(record["chain"], Seal)
    assert holds(sealed)
    assert not holds(msgspec.structs.replace(sealed, record=sealed.record.replace("401", "200")))
    assert incident in text.partition('<pre id="record">')[0], "the readable part names it"


async def test_verify_names_what_was_altered_and_what_was_removed(deploy, backend, own_store):
    proxy = deploy(backend, more=f'[store]\nurl = "{own_store.url}"')
    proxy.start()
    incidents = await refused(proxy, "one", "two", "three")
    client: Any = redis.Redis.from_url(own_store.url)

    def verified():
        done = proxy.command("incidents", "verify", "--json")
        return done.returncode, [chain["fault"] for chain in json.loads(done.stdout) if chain["fault"]]

    def entry(incident):
        key = next(key for key in client.scan_iter("sw:*:inc") if client.type(key) == b"stream")
        return key, next(item for item in client.xrange(key) if item[1][b"i"].decode() == incident)

    until(lambda: len(list(client.scan_iter("sw:*:i:*"))) == 3)
    assert (0, []) == verified()
    key, (place, fields) = entry(incidents[2])
    client.xdel(key, place)
    status, (fault,) = verified()
    assert (1, "removed", incidents[2]) == (status, fault["what"], fault["incident"])
    key, (place, fields) = entry(incidents[1])
    client.execute_command("XDEL", key, place)
    fields[b"d"] = fields[b"d"].replace(b'"GET"', b'"PUT"')
    # a stream takes no older id: the forger has to write it anew and to point to it
    pointer = next(k for k in client.scan_iter("sw:*:i:*") if k.endswith(incidents[1].encode()))
    client.set(pointer, client.xadd(key, fields))
    status, (fault,) = verified()
    assert (1, "altered", incidents[1]) == (status, fault["what"], fault["incident"])
    client.close()
