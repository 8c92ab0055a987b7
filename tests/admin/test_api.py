"""The API against its own document: every route and field is described, and whatever is asked, the answer is one of those."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from proxy.admin.api import ROUTES
from proxy.admin.openapi import document
from tests.pages.world import FINGERPRINT

V1 = "/api/v1"


async def get(world, path, status=200) -> Any:
    async with world.client.get(V1 + path) as answer:
        assert (status, "application/json") == (answer.status, answer.content_type), await answer.text()
        return await answer.json()


async def test_an_incident_with_its_cause(world):
    found = await get(world, f"/incidents/{world.incident.id}")
    assert found["incident"]["id"] == world.incident.id
    assert found["diagnosis"]["cause"]["code"] == "token_superseded"
    assert ["reread+1s"] == [note["name"] for note in found["notes"]]
    assert found["notes"] == (await get(world, f"/incidents/{world.incident.id}/notes"))["notes"]


async def test_pages_by_cursor_hold_each_incident_once(world):
    first = await get(world, "/incidents?limit=1")
    second = await get(world, f"/incidents?limit=1&before={first['next']}")
    assert [world.stranger.id, world.incident.id] == [p["incidents"][0]["id"] for p in (first, second)]
    assert [] == (await get(world, f"/incidents?before={world.incident.id}"))["incidents"]


@pytest.mark.parametrize(
    "path",
    [
        "/incidents?limit=0", "/incidents?limit=9999", "/incidents?before=x", "/incidents?kind=x", "/incidents?token=pasted",
        "/incidents/x", "/tokens/pasted", "/tenants/acme/activity?from=x", "/tenants/acme/absence?from=5&to=4",
        "/tenants/acme/absence?from=1&to=1700000000", "/tenants/acme/activity?to=nan",
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_said(world, path):
    assert (await get(world, path, 400))["error"]


async def test_tenants_activity_absence_overview(world):
    assert "acme" in {t["tenant"] for t in (await get(world, "/tenants"))["tenants"]}
    assert 1 == sum(m["traffic"]["requests"] for m in (await get(world, "/tenants/acme/activity"))["minutes"])
    absence = await get(world, "/tenants/acme/absence")
    assert ("arrived", 0) == (absence["answer"]["code"], absence["answer"]["coverage"]["share"])
    assert {"listener", "doorkeeper", "issuer", "backend"} == {
        part["name"] for part in (await get(world, "/overview"))["parts"]
    }
    assert (await get(world, f"/tokens/{FINGERPRINT}", 404))["error"]


async def test_a_store_that_is_away_is_a_503_and_the_list_says_so(world):
    world.stop_store()
    assert "does not answer" in (await get(world, "/tenants", 503))["error"]
    found = await get(world, "/incidents")
    assert (2, True) == (len(found["incidents"]), bool(found["store_error"]))


async def test_nothing_is_changed_by_any_method(world):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        async with world.client.request(method, f"{V1}/incidents/{world.incident.id}") as answer:
            assert answer.status == 405


async def test_every_route_is_in_the_document_and_every_value_is_described(world):
    described = await get(world, "/openapi.json")
    assert {route.path for route in ROUTES} == set(described["paths"])
    assert [] == [name for name, schema in described["components"]["schemas"].items() if not schema.get("description")]
    for path, operations in described["paths"].items():
        for parameter in operations["get"]["parameters"]:
            assert parameter["description"], (path, parameter)


async def test_answers_are_as_described_whatever_is_asked(world):
    url = f"http://127.0.0.1:{world.port}"
    schema = schemathesis.openapi.from_dict(document(ROUTES))
    asked: set[str] = set()

    def ask(operation) -> None:
        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def each(case) -> None:
            asked.add(case.operation.path)
            # how `from` and `to` bound each other, no schema can say: that a valid value is taken is not checked
            case.validate_response(case.call(base_url=url), excluded_checks=[positive_data_acceptance])

        each()

    for found in schema.get_all_operations():
        await asyncio.to_thread(ask, found.ok())
    assert {route.path for route in ROUTES} == asked
