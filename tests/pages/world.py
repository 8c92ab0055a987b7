"""An ops listener over evidence in a real store: a customer whose token was regenerated, and a stranger without a token."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import SimpleNamespace

import aiohttp
import pytest

from proxy.admin.api import Api
from proxy.admin.health import Health, Part, State, Ticker
from proxy.admin.overview import Outlook
from proxy.admin.pages import Pages
from proxy.admin.ring import Ring, Totals
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.history import ClientIdentity, StateChange, TokenHistory
from proxy.core.incident import Incident, Kind, Note, new_id
from proxy.core.token import Known, Reading, Sibling, Surroundings
from proxy.evidence.activity import Activity
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore
from proxy.evidence.spool import Spool
from proxy.evidence.witness import Witness
from proxy.observe.lately import p95
from proxy.wire.answering import Answers
from proxy.wire.ops_listener import OpsListener
from proxy.wire.program import report

FINGERPRINT = "ab" * 16
HOSTILE = "<script>alert(1)</script>"
DAY = 86_400.0


def incident_at(at: float, tenant: str = "acme", **changes: object) -> Incident:
    row = Known(7, tenant, at - 100 * DAY, 3650 * 86_400, at - 60, ("scim",), "1", "okta", "5")
    exchange = Exchange(
        f"r{at:.3f}", at, "GET", "/scim/v2/Users?filter", "Users.list", tenant, "192.0.2.7", 401, AnsweredBy.PROXY, "bearer",
        FINGERPRINT, "deny", "revoked", user_agent=f"Okta SCIM Client {HOSTILE}", total_seconds=0.004, lookup_seconds=0.003,
    )  # fmt: skip
    alive = Known(7, tenant, at - 100 * DAY, 3650 * 86_400, None, ("scim",), "1", "okta", "5")
    history = TokenHistory(
        FINGERPRINT, tenant, at - 90 * DAY, at - 90, at - 90, "Users.list", counts={"200": 9},
        clients=(ClientIdentity("Okta", "192.0.2.0/24", at - 90 * DAY, at),),
        changes=(StateChange(alive, row, at - 61, at - 59),), last_reading=Reading(row, "doorkeeper", "primary", at - 1),
    )  # fmt: skip
    around = Surroundings(at, "doorkeeper", (Sibling("newer", 8, at - 60, application="1", owner="5"),))
    reading = Reading(row, "doorkeeper", "primary", at, at)
    values: dict = {
        "id": new_id(at, tenant), "at": at, "kind": Kind.REFUSAL, "tenant": tenant, "fingerprint": FINGERPRINT,
        "reason": "revoked", "exchange": exchange, "instance": "one", "reading": reading, "second_look": reading,
        "surroundings": around, "history": history,
    }  # fmt: skip
    return Incident(**(values | changes))


class Source:
    """A source whose row came back to life, so that then and now differ."""

    name = "doorkeeper"

    def __init__(self) -> None:
        self.asked = 0

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        self.asked += 1
        row = known[0]
        alive = Known(row.row, row.tenant, row.created_at, row.expires_in, None, row.scopes, row.application, "okta", row.owner)
        return {row.row: Reading(alive, "doorkeeper", "replica", time.time())}


@pytest.fixture
async def world(own_store, tmp_path) -> AsyncIterator[SimpleNamespace]:
    """The listener's client, the incidents in the spool, and the store."""
    now = time.time()
    store = RedisStore(connect(StoreOptions(own_store.unix_url)))
    spool = Spool(tmp_path / "spool", 1 << 20, 1 << 24, "one")
    witness = Witness(spool)
    regenerated = incident_at(now - 30)
    stranger = incident_at(
        now - 20, "_unknown", fingerprint="", reason="missing_credential", reading=None, second_look=None, surroundings=None,
        history=None,
        exchange=Exchange("r2", now - 20, "GET", "/scim/v2/Users", "Users.list", "_unknown", "192.0.2.9", 401, AnsweredBy.PROXY,
                          "missing", verdict="deny", reason="missing_credential"),
    )  # fmt: skip
    for one in (regenerated, stranger):
        witness.record(one)
    witness.note(
        Note(regenerated.id, "reread+1s", now - 29, Reading(regenerated.reading.state, "doorkeeper", "primary", now - 29))
    )
    activity = Activity(store, "one.1", "one")
    activity.saw(regenerated.exchange)
    await activity.flush()
    reader = EvidenceReader(store, tmp_path / "spool")
    source = Source()
    settings = SimpleNamespace(policy=SimpleNamespace(write_scopes=(), read_scopes=(), read_only_tenants=()), tenants={})
    answers = Answers(reader, source, settings)  # type: ignore[arg-type]
    ring = Ring(lambda: Totals(0, 0, 0, 0), p95)
    parts = [
        Part("listener", State.OK, kind="vital", p95=0.0123), Part("doorkeeper", State.OK, "ok", "source", 0.0042),
        Part("issuer", State.DEGRADED, "the breaker is open", breaker="open"), Part("backend", State.OK, kind="backend"),
    ]  # fmt: skip
    health = Health(Ticker(), lambda: parts)
    outlook = Outlook(answers, health, ring, lambda: "http://backend")
    routes = [*Pages(answers, outlook).routes(), *Api(answers, outlook).routes()]

    def listen(port: int) -> OpsListener:
        return OpsListener(
            "127.0.0.1",
            port,
            token=None,
            health=health,
            render_metrics=lambda _: ("text/plain", b""),
            report=report,
            routes=lambda: routes,
        )

    listener = listen(0)
    await listener.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.port}") as client:
        yield SimpleNamespace(
            client=client, incident=regenerated, stranger=stranger, store=store, source=source, port=listener.port, spool=spool,
            witness=witness, stop_store=own_store.stop, listener=listener, listen=listen,
        )  # fmt: skip
    await listener.stop()
    spool.close()
    await store.close()
