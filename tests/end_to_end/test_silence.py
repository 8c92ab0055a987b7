"""A tenant that went silent, told by the wired program: event, gauge, and `tenants`."""

from __future__ import annotations

import json
import time

from proxy.core.exchange import AnsweredBy
from proxy.evidence.activity import Activity
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.heartbeat import Beat, Heartbeat
from proxy.evidence.redis_store import RedisStore
from tests.end_to_end.running import get, until
from tests.evidence.conftest import make_exchange

HOUR = 3600.0


async def seed(url: str, last: float, now: float) -> None:
    """Traffic every ten minutes of ten hours up to `last`, and heartbeats until now."""
    store = RedisStore(connect(StoreOptions(url=url)))
    moment = 0.0

    async def nothing() -> tuple[bool, str]:
        return True, ""

    activity = Activity(store, "before", "before", clock=lambda: moment)
    for moment in [last - n * 600 for n in range(60, 0, -1)] + [last]:
        good = {"status": 200, "answered_by": AnsweredBy.BACKEND, "verdict": "allow", "reason": "active"}
        activity.saw(make_exchange(moment, tenant="acme", **good))
    await activity.flush()
    heartbeat = Heartbeat(store, "before", nothing, lambda: 0, nothing)
    for n in range(int((now - last) // 15) + 1):
        heartbeat.note(Beat(last + n * 15, True, "", 0))
    await heartbeat.flush()
    await store.close()


async def test_went_silent(deploy, backend, own_store):
    now = time.time()
    await seed(own_store.url, now - 5 * HOUR, now)
    proxy = deploy(backend, more=f'[store]\nurl = "{own_store.url}"\n[tenants.acme]\nexpected_every = 3600\nclient = "entra"')
    proxy.start()
    until(lambda: [line for line in proxy.lines() if line["event"] == "went_silent"])
    (told,) = [line for line in proxy.lines() if line["event"] == "went_silent"]
    assert ("acme", 200, "entra", 7200) == (told["tenant"], told["status"], told["client"], told["allowed_pause"])
    assert told["proven_listening"] > 0.99
    _, _, metrics = await get(f"{proxy.ops}/metrics")
    assert b'scim_witness_tenant_silent_since_timestamp_seconds{tenant="acme"}' in metrics
    (row,) = json.loads(proxy.command("tenants", "--json").stdout)
    assert ("acme", "entra") == (row["tenant"], row["silence"]["silence"]["client"])
    assert b"silent" in proxy.command("tenants").stdout
    assert b"silent" in proxy.command("last-seen", "acme").stdout
