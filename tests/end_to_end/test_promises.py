"""The promises of the design, on the wired program: nothing lost, nothing leaked, our own trouble never a 401."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import Any, cast

import pytest
import redis
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import get, until
from tests.servers.valkey import StoreServer
from tests.sources.doorkeeper_tables import MODERN

PLANTED = "PLANTED-9f3kd02mcmq8sj2la0-token-nobody-may-write"


async def test_a_good_token_reaches_the_backend_and_a_bad_one_does_not(deploy, backend):
    proxy = deploy(backend)
    proxy.start()
    status, _, body = await get(f"{proxy.data}/scim/v2/Users?startIndex=1&count=2", GOOD)
    assert (200, 0) == (status, json.loads(body)["totalResults"])
    status, headers, body = await get(f"{proxy.data}/scim/v2/Users", "not-a-token-that-anybody-issued")
    error = json.loads(body)
    assert (401, "401", ["urn:ietf:params:scim:api:messages:2.0:Error"]) == (status, error["status"], error["schemas"])
    assert headers["X-Incident-Id"] in error["detail"]
    assert 'Bearer realm="SCIM", error="invalid_token"' in headers["WWW-Authenticate"]
    assert proxy.stop() == 0


async def test_kill_9_right_after_a_401_loses_nothing(deploy, backend):
    proxy = deploy(backend)
    proxy.start()
    _, headers, _ = await get(f"{proxy.data}/scim/v2/Users", "gone")
    proxy.kill()
    incident = headers["X-Incident-Id"]
    assert proxy.shown(incident) is not None, "the record lies in the spool"
    proxy.start()
    until(lambda: proxy.shown(incident))
    until(lambda: incident.encode() in proxy.command("incidents", "list", "--json").stdout)


async def test_a_thousand_refusals_without_redis_are_a_thousand_incidents_once(deploy, backend, own_store: StoreServer):
    proxy = deploy(backend, more=f'[store]\nurl = "{own_store.url}"')
    proxy.start()
    own_store.stop()
    ids: list[str] = []

    async def refused(number: int) -> None:
        status, headers, _ = await get(f"{proxy.data}/scim/v2/Users", f"guess-{number}")
        assert status == 401
        ids.append(headers["X-Incident-Id"])

    for start in range(0, 1000, 50):
        await asyncio.gather(*(refused(n) for n in range(start, start + 50)))
    assert len(set(ids)) == 1000
    own_store.start()
    client = redis.Redis.from_url(own_store.url)

    def stored() -> list[Any]:
        streams = [key for key in client.scan_iter("sw:*:inc") if client.type(key) == b"stream"]
        entries: list[Any] = [entry for key in streams for entry in cast("list[Any]", client.xrange(key))]
        return [entry[1][b"d"] for entry in entries]

    until(lambda: len(stored()) >= 1000)
    found = [json.loads(entry)["id"] for entry in stored()]
    assert sorted(found) == sorted(ids)
    client.close()


async def test_a_planted_token_stands_nowhere(deploy, scripted):
    url, script = scripted
    script.append(
        lambda _: web.Response(
            status=401, text=f"no such token: {PLANTED}", headers={"WWW-Authenticate": f"Bearer x={PLANTED}"}
        )
    )
    proxy = deploy(url, more='[policy]\nmode = "observe"')
    proxy.start()
    target = f"{proxy.data}/scim/v2/{PLANTED}/Users?filter={PLANTED}&{PLANTED}=1"
    incidents = []
    for headers in (
        {"Authorization": f"Bearer {PLANTED}", "User-Agent": f"agent {PLANTED}"},
        {"Authorization": f"Bearer  {PLANTED}"},
        {"Authorization": f"Bearer Bearer {PLANTED}"},
        {"Authorization": PLANTED},
        {"Authorization": f'Bearer "{PLANTED}"'},
        {"Authorization": f"Basic {PLANTED}", "X-Request-Id": PLANTED, "traceparent": PLANTED},
    ):
        status, answer, _ = await get(target.replace(PLANTED, "x") if "Basic" in str(headers) else target, headers=headers)
        assert status == 401
        incidents.append(answer["X-Incident-Id"])
    _, _, metrics = await get(f"{proxy.ops}/metrics")
    assert PLANTED.encode() not in metrics
    shown = [proxy.shown(incident) for incident in incidents]
    assert all(shown)
    assert PLANTED not in json.dumps(shown)
    for incident in incidents:
        assert PLANTED.encode() not in proxy.command("explain", incident).stdout
    assert proxy.stop() == 0
    written = [path for path in proxy.directory.rglob("*") if path.is_file() and path.name != "proxy.toml"]
    assert {"proxy.log"} <= {path.name for path in written}
    assert [] == [str(path) for path in written if PLANTED.encode() in path.read_bytes()]


async def test_the_log_has_one_line_per_exchange(deploy, backend):
    proxy = deploy(backend)
    proxy.start()
    for token in (GOOD, "bad", None):
        await get(f"{proxy.data}/scim/v2/Users?filter=userName%20eq%20%22ada%22", token)
    until(lambda: len([line for line in proxy.lines() if line["event"] == "exchange"]) == 3)
    good, bad, missing = [line for line in proxy.lines() if line["event"] == "exchange"]
    assert ("acme", "Users.list", 200, "active", "backend") == tuple(
        good[key] for key in ("tenant", "operation", "status", "reason", "answered_by")
    )
    assert "/scim/v2/Users?filter" == good["target"]
    assert ("unknown", 401, "proxy") == (bad["reason"], bad["status"], bad["answered_by"])
    assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", bad["incident"])
    assert ("missing_credential", "missing") == (missing["reason"], missing["credential"])


async def test_the_database_down_at_start_is_a_503_and_heals(deploy, backend, own_postgres):
    connection = await own_postgres.connect()
    await connection.execute(MODERN)
    await connection.close()
    own_postgres.stop()
    proxy = deploy(backend, f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{own_postgres.dsn(tcp=True)}"')
    proxy.start()
    status, headers, body = await get(f"{proxy.data}/scim/v2/Users", "whatever")
    assert (503, True) == (status, "Retry-After" in headers)
    assert b"source_unavailable" in body
    assert (503, b"not_ready\n") == ((ready := await get(f"{proxy.ops}/readyz"))[0], ready[2])
    own_postgres.start()
    async with asyncio.timeout(60):
        while 200 != (await get(f"{proxy.ops}/readyz"))[0]:  # though no request comes
            await asyncio.sleep(0.05)
    assert 401 == (await get(f"{proxy.data}/scim/v2/Users", "whatever"))[0]


async def test_the_backend_down_is_a_502_with_a_scim_body(deploy):
    proxy = deploy("http://127.0.0.1:1")
    proxy.start()
    status, _, body = await get(f"{proxy.data}/scim/v2/Users", GOOD)
    assert (502, "502") == (status, json.loads(body)["status"])
    status, _, _ = await get(f"{proxy.ops}/livez")
    assert status == 200


async def test_the_metrics_of_the_wired_program_are_filled(deploy, backend):
    proxy = deploy(backend)
    proxy.start()
    for token in (GOOD, "bad"):
        await get(f"{proxy.data}/scim/v2/Users", token)
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def value(name: str, **labels: str) -> float:
        return samples.get((f"scim_witness_{name}", frozenset(labels.items())), 0.0)

    deadline = asyncio.get_running_loop().time() + 20
    while value("incidents_total", result="stored") < 1:
        assert asyncio.get_running_loop().time() < deadline, samples
        text = (await get(f"{proxy.ops}/metrics"))[2].decode()
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    assert value("requests_total", route="Users.list", method="GET", code="200") == 1
    assert sum(v for (name, _), v in samples.items() if name == "scim_witness_auth_denials_total") == 1
    assert value("validator_duration_seconds_count", source="token_file", result="known") == 1
    assert value("store_operation_seconds_count", op="batch") > 0
    assert value("store_up") == 1


@pytest.mark.parametrize("tenant, answer", [("watched", 200), ("held", 401)])
async def test_observe_mode_is_by_tenant_and_records_what_enforce_would_have_done(deploy, backend, tmp_path, tenant, answer):
    token = f"a-revoked-token-of-{tenant}"
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(
        f'[[token]]\nname = "one"\ndigest = "{hashlib.sha256(token.encode()).hexdigest()}"\ntenant = "{tenant}"\n'
        "created_at = 2026-05-03T10:00:00Z\nrevoked_at = 2026-05-04T10:00:00Z\n"
    )
    proxy = deploy(backend, f'[source]\nkind = "token_file"\npath = "{tokens}"', '[tenants.watched]\nmode = "observe"')
    proxy.start()
    status, _, _ = await get(f"{proxy.data}/scim/v2/Users", token)
    assert answer == status
    until(lambda: [line for line in proxy.lines() if line["event"] == "exchange"])
    line = next(line for line in proxy.lines() if line["event"] == "exchange")
    assert ("deny", "revoked", tenant == "watched") == (line["verdict"], line["reason"], line.get("observed", False))
    shown = proxy.shown(line["incident"])
    assert shown is not None
    assert ("would_refuse" if tenant == "watched" else "refusal") == shown["incident"]["kind"]


JWT = """
[source]
kind = "jwt"
issuer = "https://idp.example"
audience = ["scim"]
jwks_url = "https://idp.example/keys"
"""


async def test_a_source_that_is_asked_over_http_needs_the_c_parser(deploy, backend):
    with pytest.raises(AssertionError, match="AIOHTTP_NO_EXTENSIONS"):
        deploy(backend, JWT).start({"AIOHTTP_NO_EXTENSIONS": "1"})


async def test_spans_of_the_wired_program_reach_a_collector(deploy, backend, collector):
    proxy = deploy(backend, more=f'[traces]\nendpoint = "{collector.url}"\n')
    proxy.start()
    await get(f"{proxy.data}/scim/v2/Users", GOOD)
    await get(f"{proxy.data}/scim/v2/Users", PLANTED)
    assert proxy.stop() == 0
    names = sorted(span.name for span in collector.spans)
    assert ["GET Users.list", "GET Users.list", "backend", "decide", "decide", "look up", "look up"] == names
    assert PLANTED not in str(collector.spans)
