"""The ledger: bounded, idempotent, and patient while the store is away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from proxy.core.credential import Secret
from proxy.core.memory import OauthEvent
from proxy.core.token import Known, Reading, Unavailable
from proxy.evidence import oauth_ledger
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.oauth_ledger import Link, OauthLedger, calls_of_tenant, calls_of_token, link_of, together
from proxy.evidence.redis_store import RedisStore, StoreError
from tests.servers.valkey import StoreServer, engine

NOW = 1_800_000_000.0
ROW = Known(1, "acme", NOW, 7200, application_name="Okta at Acme", refreshable=True)


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as running:
        yield running


@pytest.fixture
async def store(server: StoreServer) -> AsyncIterator[RedisStore]:
    server.flush()
    opened = RedisStore(connect(StoreOptions(url=server.url)))
    yield opened
    await opened.close()


class Away:
    async def run(self, commands: Any) -> list[Any]:
        raise StoreError("unreachable", "it is away")


def ledger(store: Any, row: Known | Unavailable = ROW) -> OauthLedger:
    async def look(secret: Secret) -> Reading:
        return Reading(row, "fake", "primary", NOW)

    return OauthLedger(store, look, lambda _: "", lambda *_, **__: None, clock=lambda: NOW)


def born(number: int = 1, **more: Any) -> tuple[OauthEvent, Secret]:
    name = f"{number:032x}"
    event = OauthEvent(
        NOW + number, "token", 200, "authorization_code", created=name, expires_in=7200, refresh_issued=True, client="okta",
        exchange=f"x{number}", refresh_created=f"{number + 1_000_000:032x}",
    )  # fmt: skip
    return event, Secret(b"t%d" % number, name)


async def test_a_token_gets_its_tenant_from_its_row_and_its_refresh_token_leads_to_it(store):
    book = ledger(store)
    event, secret = born()
    book.saw(event, secret)
    assert event.created == book.owner_of(event.refresh_created), "at once, before any row was read"
    await book.flush()
    (kept,) = await calls_of_token(store, event.created)
    assert ("acme", "Okta at Acme") == (kept.tenant, kept.application)
    assert [kept] == await calls_of_tenant(store, "acme", NOW, NOW + 10)
    assert Link(event.created, "acme") == await link_of(store, event.refresh_created)


async def test_a_source_that_is_down_costs_the_tenant_and_not_the_call(store):
    book = ledger(store, Unavailable("refused"))
    event, secret = born()
    book.saw(event, secret)
    await book.flush()
    assert [""] == [kept.tenant for kept in await calls_of_token(store, event.created)]


async def test_written_twice_it_is_there_once(store):
    for _ in range(2):
        book = ledger(store)
        book.saw(*born())
        await book.flush()
    assert 1 == len(await calls_of_token(store, born()[0].created))


async def test_the_store_away_keeps_calls_waiting_in_bounds(store, monkeypatch):
    monkeypatch.setattr(oauth_ledger, "WAITING_LIMIT", 10)
    book = ledger(Away())
    for number in range(15):
        book.saw(born(number)[0], None)
    with pytest.raises(StoreError):
        await book.flush()
    assert 5 == book.lost
    book._store = store
    await book.flush()
    assert [[], 1] == [await calls_of_token(store, born(4)[0].created), len(await calls_of_token(store, born(5)[0].created))]


async def test_links_are_bounded_and_the_oldest_go(monkeypatch):
    monkeypatch.setattr(oauth_ledger, "LINKS_LIMIT", 3)
    book = ledger(None)
    for number in range(5):
        book.saw(born(number)[0], None)
    assert ["", True] == [book.owner_of(born(0)[0].refresh_created), bool(book.owner_of(born(4)[0].refresh_created))]


async def test_another_instance_learns_the_link(store):
    one, other = ledger(store), ledger(store)
    event, secret = born()
    await other.learn()
    one.saw(event, secret)
    await one.flush()
    other._learn_at = 0.0
    await other.learn()
    assert event.created == other.owner_of(event.refresh_created)
    refusal = OauthEvent(NOW + 5, "token", 400, "refresh_token", "invalid_grant", refresh_presented=event.refresh_created)
    assert "acme" == other.tenant_of(refusal)


async def test_a_refusal_that_nobody_could_link_is_linked_by_the_store(store):
    one, other = ledger(store), ledger(store)
    event, secret = born()
    one.saw(event, secret)
    await one.flush()
    refusal = OauthEvent(NOW + 5, "token", 400, "refresh_token", "invalid_grant", refresh_presented=event.refresh_created)
    other.saw(refusal, None)
    await other.flush()
    kept = (await calls_of_token(store, event.created))[-1]
    assert ("invalid_grant", event.created, "acme") == (kept.error, kept.presented, kept.tenant)


async def test_a_client_of_several_tenants_names_none():
    rows = iter([ROW, Known(2, "globex", NOW, 7200)])

    async def look(secret: Secret) -> Reading:
        return Reading(next(rows), "fake", "primary", NOW)

    book = OauthLedger(None, look, lambda _: "", lambda *_, **__: None)
    consent = OauthEvent(NOW, "authorize", 302, client="okta")
    book.saw(*born(1))
    await book.flush()
    assert "acme" == book.tenant_of(consent)
    book.saw(*born(2))
    await book.flush()
    assert "" == book.tenant_of(consent)


async def test_whose_a_client_is_outlives_a_restart_and_is_known_to_other_instances(store):
    one, other = ledger(store), ledger(store)
    await other.learn()
    one.saw(*born())
    await one.flush()
    consent = OauthEvent(NOW, "authorize", 302, client="okta")
    refused = OauthEvent(NOW + 5, "token", 400, "authorization_code", "invalid_grant", client="okta", exchange="y")
    restarted = ledger(store)
    await restarted.learn()
    other._learn_at = 0.0
    await other.learn()
    assert ["acme", "acme", ""] == [restarted.tenant_of(consent), other.tenant_of(refused), ledger(store).tenant_of(consent)]
    restarted.saw(restarted.recalled(refused), None)
    await restarted.flush()
    assert "y" == (await calls_of_tenant(store, "acme", NOW, NOW + 10))[-1].exchange


def test_two_accounts_of_one_call_are_one_and_the_linked_one_counts():
    bare = OauthEvent(NOW, "token", 400, exchange="x")
    linked = OauthEvent(NOW, "token", 400, exchange="x", presented="f" * 32)
    assert [[linked], [linked]] == [together([bare], [linked]), together([linked], [bare])]
