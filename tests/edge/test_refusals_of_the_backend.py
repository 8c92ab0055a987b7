"""A backend that refuses a token which is alive: recorded with the fresh reading, then passed, tried again, or made a 503."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.incident import Kind
from proxy.core.policy import Mode, OnDisagreement, Policy
from proxy.core.token import Unknown
from proxy.edge.faults import ExchangeError, FaultKind
from tests.edge.backend import Script, Talk, echo
from tests.edge.world import GOOD, LOOKUP, World, get, post, until

CHALLENGE = b'Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token was revoked"'


def refuses(body: bytes = b"", kind: bytes = b"", status: bytes = b"401 Unauthorized", times: int = 1_000) -> Script:
    """A backend that refuses the first `times` requests."""
    left = [times]

    async def script(talk: Talk) -> None:
        if not left[0]:
            await echo(talk)
            return
        left[0] -= 1
        line = b"Content-Type: " + kind + b"\r\n" if kind else b""
        head = b"HTTP/1.1 %b\r\nWWW-Authenticate: %b\r\nX-Own: 1\r\nContent-Language: en\r\n%bContent-Length: %d\r\n\r\n"
        await talk.send(head % (status, CHALLENGE, line, len(body)) + (b"" if talk.request.method == b"HEAD" else body))

    return script


def policy(word: OnDisagreement, **more: object) -> Policy:
    return Policy(on_disagreement=word, **more)  # type: ignore[arg-type]


HTML = (b"<html>no</html>", b"text/html")
SCIM = (b'{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"401"}', b"application/scim+json;charset=utf-8")


@pytest.mark.parametrize("explain", [True, False])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("status", [b"401 Unauthorized", b"403 Forbidden"])
@pytest.mark.parametrize("body, kind", [(b"", b""), (b"", b"application/json"), HTML, SCIM, (b"no", b"")])
async def test_refusal_is_passed_and_explained(explain: bool, method: bytes, status: bytes, body: bytes, kind: bytes):
    async with World.open(road={"explain_refusals": explain}) as world:
        world.backend.script = refuses(body, kind, status)
        async with world.client() as client:
            await client.send(post(b"hello") if method == b"POST" else get(method=method))
            answer = await client.answer(method)
            code = int(status[:3])
            (incident,) = world.witness.incidents
            assert (code, [CHALLENGE], [b"1"]) == (answer.status, answer.values(b"www-authenticate"), answer.values(b"x-own"))
            assert [incident.id.encode()] == answer.values(b"x-incident-id")
            explained = explain and not (b"json" in kind and (body or method == b"HEAD"))
            if method == b"HEAD":
                assert b"" == answer.body
            elif explained:
                said = answer.json()
                assert (str(code), True) == (said["status"], incident.id in said["detail"])
                assert "active at its source" in said["detail"]
            else:
                assert body == answer.body
            assert (Kind.BACKEND_REFUSAL, code) == (incident.kind, incident.backend.status)
            assert (CHALLENGE.decode(),) == incident.backend.www_authenticate
            assert incident.second_look is not None
            assert ("" if method == b"HEAD" else body.decode()) == incident.backend.body
            world.backend.script = echo
            await client.send(get(extra=b"X-Case: own\r\n"))
            assert "own" == (await client.answer()).json()["case"]
        world.check()


async def test_an_echoed_token_is_masked_even_where_the_record_cuts_it(world: World):
    for pad in (0, 2_030, 2_040, 2_044):
        world.backend.script = refuses(b"x" * pad + GOOD + b"y" * 100, b"text/plain")
        await world.ask(get())
    assert not [i for i in world.witness.incidents if GOOD[:8].decode() in i.backend.body]
    assert world.witness.incidents[0].backend.body.startswith("<token>y")


async def test_a_refusal_with_an_endless_body_is_recorded_and_explained_in_time(world: World):
    async def script(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\n\r\n")
        while True:
            await talk.send(b"x" * 10_000)

    world.backend.script = script
    answer = await world.ask(get())
    assert 401 == answer.status
    assert world.witness.incidents[0].backend.body_truncated
    await until(world.backend.connections[0].ended.is_set)


async def test_without_a_record_no_refusal_is_passed_on(world: World):
    world.witness.full = True
    world.backend.script = refuses()
    assert 503 == (await world.ask(get())).status


async def test_refused_by_both_is_no_disagreement():
    for word in OnDisagreement:
        async with World.open(policy=policy(word)) as world:

            async def script(talk: Talk, world: World = world) -> None:
                world.tokens.states[GOOD] = Unknown()
                await refuses()(talk)

            world.backend.script = script
            assert 401 == (await world.ask(get())).status
            assert [(Kind.BACKEND_REFUSAL, "unknown")] == [(i.kind, i.reason) for i in world.witness.incidents]
            assert 1 == len(world.backend.requests)


REPLAYED = [get(), get(method=b"HEAD"), post(b"hello"), post(b"hello", method=b"PATCH")]


@pytest.mark.parametrize("request_bytes", REPLAYED, ids=lambda r: r[:5].decode())
async def test_retry_once_succeeds(request_bytes: bytes):
    async with World.open(policy=policy(OnDisagreement.RETRY_ONCE)) as world:
        world.backend.script = refuses(*HTML, times=1)
        answer = await world.ask(request_bytes)
        assert (200, 2) == (answer.status, len(world.backend.requests))
        assert [Kind.DISAGREEMENT] == [i.kind for i in world.witness.incidents]
        assert world.backend.requests[0].body == world.backend.requests[1].body
        assert 2 == len(world.backend.connections), "the second try takes a new connection"
        assert 2 == world.witness.exchanges[-1].attempts
        world.check()


async def test_retry_once_is_once():
    async with World.open(policy=policy(OnDisagreement.RETRY_ONCE)) as world:
        world.backend.script = refuses()
        answer = await world.ask(post(b"hello"))
        assert (401, 2) == (answer.status, len(world.backend.requests))
        assert [Kind.DISAGREEMENT, Kind.BACKEND_REFUSAL] == [i.kind for i in world.witness.incidents]
        world.check()


async def test_retry_once_needs_the_whole_body_kept():
    async with World.open(policy=policy(OnDisagreement.RETRY_ONCE), road={"retry_body_limit": 4}) as world:
        world.backend.script = refuses()
        answer = await world.ask(post(b"hello"))
        assert (401, 1) == (answer.status, len(world.backend.requests))
        world.check()


async def test_retry_once_never_for_403():
    async with World.open(policy=policy(OnDisagreement.RETRY_ONCE)) as world:
        world.backend.script = refuses(status=b"403 Forbidden")
        assert (403, 1) == ((await world.ask(get())).status, len(world.backend.requests))


async def test_failed_retry_does_not_touch_the_connection_it_gave_back():
    """The refused exchange's connection went back into the pool and may carry another client's request by now."""
    async with World.open(policy=policy(OnDisagreement.RETRY_ONCE)) as world:
        world.backend.script = refuses(*HTML, times=1)
        gate = asyncio.Event()

        async def fails_once_asked_again():
            if world.backend.requests and not other:
                world.backend.script = slow
                other.append(asyncio.create_task(world.ask(post(b"x", extra=b"X-Case: other\r\n"))))
                await until(lambda: len(world.backend.requests) == 2)
                raise ExchangeError(FaultKind.BACKEND_UNREACHABLE, untouched=True)
            return await world.upstream.really_connect()

        async def slow(talk: Talk) -> None:
            await gate.wait()
            await echo(talk)

        other: list[asyncio.Task] = []
        world.upstream.connects = fails_once_asked_again
        answer = await world.ask(get())
        assert 502 == answer.status
        gate.set()
        following = await other[0]
        assert (200, "other") == (following.status, following.json()["case"])
        assert len(set(map(id, world.upstream._idle))) == len(world.upstream._idle) == 1
        world.check()


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_unavailable(method: bytes):
    async with World.open(policy=policy(OnDisagreement.UNAVAILABLE)) as world:
        world.backend.script = refuses()
        async with world.client() as client:
            for _ in range(2):
                await client.send(get(method=method))
                answer = await client.answer(method)
                assert (503, [b"10"]) == (answer.status, answer.values(b"retry-after"))
                assert [] == answer.values(b"www-authenticate")
                assert [world.witness.incidents[-1].id.encode()] == answer.values(b"x-incident-id")
        assert {Kind.DISAGREEMENT} == {i.kind for i in world.witness.incidents}
        world.check()


async def test_unavailable_passes_a_403():
    async with World.open(policy=policy(OnDisagreement.UNAVAILABLE)) as world:
        world.backend.script = refuses(status=b"403 Forbidden")
        assert 403 == (await world.ask(get())).status


async def test_observe_forwards_what_enforce_would_refuse():
    async with World.open(policy=Policy(mode=Mode.OBSERVE)) as world:
        for sent in (get(token=b"unknown-token-0123456789"), get().replace(b"Authorization", b"X-Auth")):
            assert 200 == (await world.ask(sent)).status
        assert {Kind.WOULD_REFUSE} == {i.kind for i in world.witness.incidents}
        assert all(exchange.observed for exchange in world.witness.exchanges)
        assert 2 == len(world.backend.requests)
        world.witness.full = True
        assert 200 == (await world.ask(get(token=b"unknown-token-0123456789"))).status


async def test_observe_never_makes_a_backend_s_refusal_a_disagreement():
    async with World.open(policy=Policy(mode=Mode.OBSERVE, on_disagreement=OnDisagreement.UNAVAILABLE)) as world:
        world.backend.script = refuses()
        assert 401 == (await world.ask(get(token=b"unknown-token-0123456789"))).status
        assert [Kind.WOULD_REFUSE, Kind.BACKEND_REFUSAL] == [i.kind for i in world.witness.incidents]


async def test_the_token_of_the_source_serves_like_one_in_memory(world: World):
    assert 200 == (await world.ask(get(token=LOOKUP))).status
