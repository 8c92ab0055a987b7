"""The OAuth endpoints at the edge, on raw sockets: untouched both ways, never delayed, refusals on record before they leave."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.headers import Forwarding
from proxy.core.incident import Kind
from proxy.core.memory import OauthEvent
from proxy.core.oauth import Paths
from proxy.edge.forward import Forwarder
from proxy.edge.oauth import OauthFront
from tests.edge.backend import Talk
from tests.edge.world import World, until

NAME = Fingerprinter(b"k" * 32).of
PLANTED = [f"PLANTED-{what}-0123456789abcdef" for what in ("code", "client", "refresh", "access", "newrefresh", "password")]
CODE, CLIENT_SECRET, REFRESH, ACCESS, NEW_REFRESH, PASSWORD = PLANTED
ISSUED = json.dumps({"access_token": ACCESS, "token_type": "Bearer", "expires_in": 7200, "refresh_token": NEW_REFRESH}).encode()
FORM = f"grant_type=refresh_token&refresh_token={REFRESH}&client_id=okta&client_secret={CLIENT_SECRET}".encode()


class FakeLedger:
    """Keeps every call; `owners` are refresh tokens that are known."""

    def __init__(self) -> None:
        self.events: list[OauthEvent] = []
        self.issued: list[Secret | None] = []
        self.owners: dict[str, str] = {}

    def owner_of(self, refresh: str) -> str:
        return self.owners.get(refresh, "")

    def recalled(self, event: OauthEvent) -> OauthEvent:
        before = (e.at for e in self.events if e.refresh_presented == event.refresh_presented and e.created)
        tenant = "acme" if event.presented else ""
        return msgspec.structs.replace(event, exchanged_at=next(before, None), tenant=tenant)

    def saw(self, event: OauthEvent, issued: Secret | None) -> None:
        self.events.append(event)
        self.issued.append(issued)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[tuple[World, FakeLedger]]:
    async with World.open() as world:
        ledger = FakeLedger()
        forwarder = Forwarder(world.upstream, Forwarding())
        fingerprinter = Fingerprinter(b"k" * 32)
        world.handler._oauth = OauthFront(Paths(), "i1", fingerprinter, forwarder, world.witness, ledger)
        yield world, ledger
        world.check()
        written = world.witness.written() + msgspec.json.encode(ledger.events).decode()
        assert [] == [secret for secret in PLANTED if secret in written]


@pytest.fixture
async def front() -> AsyncIterator[tuple[World, FakeLedger]]:
    async with opened() as both:
        yield both


def call(body: bytes = FORM, path: bytes = b"/oauth/token", extra: bytes = b"", method: bytes = b"POST") -> bytes:
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
    head = b"%b %b HTTP/1.1\r\nHost: vendor.example\r\nUser-Agent: Okta SCIM Client 1.0.0\r\n%bContent-Length: %d\r\n%b\r\n"
    return head % (method, path, kind, len(body), extra) + body


def says(body: bytes, status: bytes = b"200 OK", extra: bytes = b"Cache-Control: no-store\r\n") -> Any:
    async def script(talk: Talk) -> None:
        head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
        await talk.send(head % (status, len(body), extra) + body)

    return script


REFUSED = says(b'{"error":"invalid_grant","error_description":"' + REFRESH.encode() + b'"}', b"400 Bad Request")


async def test_off_by_default_it_needs_a_token_like_everything(world_without_front):
    answer = await world_without_front.ask(call())
    assert (401, []) == (answer.status, world_without_front.backend.requests)


@pytest.fixture
async def world_without_front() -> AsyncIterator[World]:
    async with World.open() as world:
        yield world


async def test_a_refresh_passes_untouched_and_is_noted(front):
    world, ledger = front
    world.backend.script = says(ISSUED)
    ledger.owners[NAME(REFRESH.encode())] = "f" * 32
    answer = await world.ask(call(extra=b"X-Thing: 1\r\n"))
    assert (200, ISSUED, FORM) == (answer.status, answer.body, world.backend.last.body)
    assert [b"1"] == world.backend.last.values(b"x-thing")
    await until(lambda: ledger.events)
    (event,) = ledger.events
    assert ("token", 200, "refresh_token", "okta", 7200, True, "f" * 32, "acme") == (
        event.endpoint, event.status, event.grant_type, event.client, event.expires_in, event.refresh_issued, event.presented,
        event.tenant,
    )  # fmt: skip
    assert (NAME(ACCESS.encode()), NAME(NEW_REFRESH.encode())) == (event.created, event.refresh_created)
    assert [] == world.witness.incidents
    (exchange,) = world.witness.exchanges
    assert ("oauth", "token.oauth", "", "acme") == (
        exchange.credential, exchange.operation, exchange.verdict, exchange.tenant
    )  # fmt: skip


async def test_a_refusal_is_an_incident_before_it_leaves(front):
    world, ledger = front
    world.backend.script = REFUSED
    answer = await world.ask(call())
    (incident,) = world.witness.incidents
    assert (400, [incident.id.encode()]) == (answer.status, answer.values(b"x-incident-id"))
    assert "invalid_grant" == answer.json()["error"], "the body is the server's own"
    assert (Kind.OAUTH_REFUSAL, "invalid_grant", NAME(REFRESH.encode())) == (
        incident.kind, incident.reason, incident.fingerprint
    )  # fmt: skip
    assert [incident.oauth] == ledger.events


async def test_a_refusal_knows_that_its_refresh_token_was_exchanged_before(front):
    world, ledger = front
    world.backend.script = says(ISSUED)
    await world.ask(call())
    await until(lambda: ledger.events)
    world.backend.script = REFUSED
    await world.ask(call())
    (incident,) = world.witness.incidents
    assert ledger.events[0].at == incident.oauth.exchanged_at


async def test_refused_codes_and_clients_are_told_apart_where_a_network_is_shared(front, monkeypatch):
    world, _ = front
    world.backend.script = REFUSED
    cases: list[Any] = []
    admit = world.witness.admit

    def admitted(case: Any) -> Any:
        cases.append(case)
        return admit(case)

    monkeypatch.setattr(world.witness, "admit", admitted)
    for form in (
        "code=c1&client_id=okta",
        "code=c2&client_id=okta",
        "client_id=okta",
        "client_id=entra",
        "code=c1&client_id=okta",
    ):
        await world.ask(call(f"grant_type=authorization_code&{form}".encode()))
    of = [case.fingerprint for case in cases]
    assert (4, of[0]) == (len(set(of)), of[-1])


async def test_a_refusal_that_cannot_be_recorded_does_not_leave(front):
    world, _ = front
    world.backend.script = REFUSED
    world.witness.full = True
    answer = await world.ask(call())
    assert 503 == answer.status


async def test_a_code_is_exchanged_with_a_basic_credential(front):
    world, ledger = front
    world.backend.script = says(ISSUED)
    basic = base64.b64encode(f"okta:{CLIENT_SECRET}".encode())
    answer = await world.ask(
        call(f"grant_type=authorization_code&code={CODE}".encode(), extra=b"Authorization: Basic %b\r\n" % basic)
    )
    assert (200, b"Basic " + basic) == (answer.status, world.backend.last.values(b"authorization")[0])
    await until(lambda: ledger.events)
    assert ("authorization_code", "okta") == (ledger.events[0].grant_type, ledger.events[0].client)


async def test_a_secret_in_the_user_agent_and_the_query_is_masked(front):
    world, ledger = front
    world.backend.script = REFUSED
    agent = f"User-Agent: {PASSWORD} {REFRESH}\r\n".encode()
    body = f"grant_type=password&password={PASSWORD}&client_secret={CLIENT_SECRET}&refresh_token={REFRESH}".encode()
    request = call(body, path=f"/oauth/token?code={CODE}".encode()).replace(b"User-Agent: Okta SCIM Client 1.0.0\r\n", agent)
    answer = await world.ask(request)
    assert 400 == answer.status
    assert ["<token> <token>"] == [event.user_agent for event in ledger.events]


@pytest.mark.parametrize(
    "path", [b"/oauth/token/", b"/oauth//token", b"/oauth/tok%65n", b"/oauth/Token", b"/oauth/token;x", b"/oauth/token/x"]
)
async def test_what_is_not_exactly_an_endpoint_needs_a_token(front, path):
    world, ledger = front
    answer = await world.ask(call(path=path))
    assert (401, [], []) == (answer.status, world.backend.requests, ledger.events)


async def test_a_get_of_the_token_endpoint_needs_a_token(front):
    world, _ = front
    answer = await world.ask(call(b"", method=b"GET"))
    assert (401, []) == (answer.status, world.backend.requests)


async def test_a_gzip_answer_is_read_and_passes_as_it_is(front):
    world, ledger = front
    packed = gzip.compress(ISSUED)
    world.backend.script = says(packed, extra=b"Content-Encoding: gzip\r\nCache-Control: no-store\r\n")
    answer = await world.ask(call())
    assert packed == answer.body
    await until(lambda: ledger.events)
    assert (NAME(ACCESS.encode()), ()) == (ledger.events[0].created, ledger.events[0].lint)


async def test_a_huge_answer_streams_and_is_said_to_be_unread(front):
    world, ledger = front
    huge = ISSUED[:-1] + b',"x":"' + b"x" * 3_000_000 + b'"}'
    world.backend.script = says(huge)
    answer = await world.ask(call())
    assert len(huge) == len(answer.body)
    await until(lambda: ledger.events)
    assert ("", "too_large") == (ledger.events[0].created, ledger.events[0].unread)


async def test_a_huge_request_streams(front):
    world, ledger = front
    world.backend.script = says(b"{}")
    body = FORM + b"&x=" + b"x" * 500_000
    answer = await world.ask(call(body))
    assert (200, body) == (answer.status, world.backend.last.body)
    await until(lambda: ledger.events)
    assert "too_large" == ledger.events[0].unread


async def test_the_first_octets_of_an_answer_do_not_wait_for_the_last(front):
    world, ledger = front
    gate = asyncio.Event()

    async def slowly(talk: Talk) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ISSUED)
        await talk.send(head + ISSUED[:10])
        await gate.wait()
        await talk.send(ISSUED[10:])

    world.backend.script = slowly
    async with world.client() as client:
        await client.send(call())
        while ISSUED[:10] not in client.seen:
            assert await client._more()
        assert [] == ledger.events
        gate.set()
        while ISSUED[10:] not in client.seen:
            assert await client._more()
    await until(lambda: ledger.events)
    assert NAME(ACCESS.encode()) == ledger.events[0].created


async def test_a_lost_answer_has_changed_the_token_all_the_same(front):
    """The client leaves before it has the answer; the server has issued the token."""
    world, ledger = front
    left = asyncio.Event()

    async def late(talk: Talk) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        await talk.send(head % (len(ISSUED) + 1_000_000) + ISSUED)
        await left.wait()
        with contextlib.suppress(ConnectionError):
            await talk.send(b" " * 1_000_000)

    world.backend.script = late
    async with world.client() as client:
        await client.send(call())
        while ISSUED not in client.seen:
            assert await client._more()
        client.leave()
    left.set()
    await until(lambda: ledger.events)
    assert ("refresh_token", 200, NAME(REFRESH.encode())) == (
        ledger.events[0].grant_type, ledger.events[0].status, ledger.events[0].refresh_presented
    )  # fmt: skip


async def test_a_revocation_names_the_token(front):
    world, ledger = front
    world.backend.script = says(b"{}")
    answer = await world.ask(call(f"token={ACCESS}&client_id=okta".encode(), path=b"/oauth/revoke"))
    assert 200 == answer.status
    await until(lambda: ledger.events)
    assert ("revoke", NAME(ACCESS.encode())) == (ledger.events[0].endpoint, ledger.events[0].presented)


async def test_authorize_keeps_no_code(front):
    world, ledger = front
    to = f"Location: https://okta.example/cb?code={CODE}\r\n".encode()
    world.backend.script = says(b"", b"302 Found", to)
    answer = await world.ask(call(b"", path=b"/oauth/authorize?client_id=okta&state=s", method=b"GET"))
    assert [f"https://okta.example/cb?code={CODE}".encode()] == answer.values(b"location")
    await until(lambda: ledger.events)
    assert ("authorize", 302, "okta") == (ledger.events[0].endpoint, ledger.events[0].status, ledger.events[0].client)


async def test_the_backend_away_is_a_502_and_no_incident(front):
    world, ledger = front
    await world.backend.stop()
    answer = await world.ask(call())
    assert (502, [], []) == (answer.status, world.witness.incidents, ledger.events)


async def test_a_second_request_follows_on_the_same_connection(front):
    world, ledger = front
    world.backend.script = says(ISSUED)
    async with world.client() as client:
        for _ in range(3):
            await client.send(call())
            answer = await client.answer(b"POST")
            assert (200, ISSUED) == (answer.status, answer.body)
    await until(lambda: len(ledger.events) == 3)
