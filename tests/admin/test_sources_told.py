"""What metrics, readiness and the overview of the wired program say of a table and the endpoint that checks it."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.end_to_end.running import get
from tests.sources.doorkeeper_tables import digest
from tests.sources.issuer import says
from tests.sources.test_wired import introspection, issuer, running

__all__ = ["issuer"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


async def metric(proxy, name):
    """The samples of a metric, by their labels."""
    _, _, body = await get(f"{proxy.ops}/metrics")
    found = re.findall(rf"^scim_witness_{name}(?:{{(.*)}})? (\S+)$", body.decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found}


async def test_a_breaker_and_a_disagreement_are_told_everywhere(tmp_path, issuer):
    table = tmp_path / "table.toml"
    table.write_text(
        f'[[token]]\nname = "a"\ntenant = "acme"\ndigest = "{digest("good-token")}"\ncreated_at = 2026-05-03T10:00:00Z\n'
        f"expires_in = 315576000\n"
    )
    source = f'[[source]]\nkind = "token_file"\nname = "table"\npath = "{table}"\n'
    async with running(tmp_path, source + introspection(issuer, 'cross_check = "table"')) as proxy:
        assert (await get(f"{proxy.data}/Users", "good-token"))[0] == 200
        async with asyncio.timeout(60):
            while (await metric(proxy, "source_disagreements_total")) != {'source="table"': 1.0}:
                await asyncio.sleep(0.05)
        assert {'source="introspection",state="closed"': 1.0} == await metric(proxy, "validator_breaker_state")
        assert {'tenant="acme"': 2_093_378_400.0} == await metric(proxy, "token_expiry_timestamp_seconds")

        issuer.script = says("", 500)
        async with asyncio.timeout(60):
            number = 0
            while (await metric(proxy, "validator_breaker_opened_total")) != {'source="introspection"': 1.0}:
                number += 1
                assert (await get(f"{proxy.data}/Users", f"guess-{number}"))[0] == 401
        _, _, body = await get(f"{proxy.ops}/readyz?verbose")
        parts = {part["name"]: part for part in json.loads(body)["parts"]}
        assert parts["introspection"]["breaker"] in {"open", "half_open"}
        assert parts["listener"]["p95"] > 0
        assert parts["backend"]["p95"] > 0
        _, _, page = await get(f"{proxy.ops}/")
        assert re.search(r"breaker (half )?open", page.decode())
        assert "95 % within" in page.decode()
