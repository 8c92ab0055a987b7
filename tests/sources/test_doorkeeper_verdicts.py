"""The table of verdicts against real rows, in databases whose sessions live in other zones."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known
from proxy.core.verdict import decide
from proxy.sources.doorkeeper.options import Hashing
from tests.core.verdict_table import CASES, NOW
from tests.sources.conftest import secret, tables_in
from tests.sources.doorkeeper_tables import MODERN, WITH_TIME_ZONE, digest


def written(offset: float) -> str:
    """SQL for NOW and so many seconds. A timestamp column takes the digits, as Rails writes them: UTC."""
    if math.isinf(offset):
        return "='infinity'" if offset > 0 else "='-infinity'"
    return f"='{(NOW + dt.timedelta(microseconds=round(offset * 1e6))).isoformat()}'"


@pytest.mark.parametrize("hashing", [Hashing.PLAIN, Hashing.SHA256])
@pytest.mark.parametrize("schema", [MODERN, WITH_TIME_ZONE], ids=["timestamp", "timestamptz"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
async def test_verdict_by_verdict(postgres, opened, zone, schema, hashing):
    name = await postgres.create_database(timezone=zone)
    store = digest if hashing is Hashing.SHA256 else str
    async with tables_in(postgres.dsn(name), schema) as tables:
        application = await tables.application()
        for case in CASES:
            times = {"created_at": written(case.created)}
            if case.revoked is not None:
                times["revoked_at"] = written(case.revoked)
            await tables.token(
                store(case.name), application_id=application, expires_in=case.expires_in, scopes=case.scopes, **times
            )
        source = opened(tables.dsn, hashing=hashing)
        verdicts = {}
        for case in CASES:
            state = (await source.read(secret(case.name))).state
            assert isinstance(state, Known)
            again = (await source.reread([state]))[state.row].state
            assert again == state
            policy = Policy(read_scopes=case.required)
            verdicts[case.name] = decide(state, NOW.timestamp(), 0.0, policy, OTHER_READ).reason
        await source.close()
    assert {case.name: case.expected for case in CASES} == verdicts
    await postgres.drop_database(name)


async def test_the_databases_clock_is_utc_in_every_zone(postgres, opened):
    offsets = []
    for zone in ("America/New_York", "Asia/Tokyo"):
        name = await postgres.create_database(timezone=zone)
        async with tables_in(postgres.dsn(name)) as tables:
            source = opened(tables.dsn)
            offsets.append((await source.read(secret("nobody"))).clock_offset)
            await source.close()
        await postgres.drop_database(name)
    assert offsets == pytest.approx([0, 0], abs=5)
