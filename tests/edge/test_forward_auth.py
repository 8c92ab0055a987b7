"""Fronts that only ask: each in its own way, believed only where trusted, answered like the request itself."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from proxy.core.forward_auth import Front
from proxy.core.policy import Mode, Policy
from proxy.core.token import Known
from proxy.edge.limits import Rate
from tests.edge.world import DOWN, GOOD, LOOKUP, REVOKED, Answer, World

UNKNOWN = b"unknown-token-0123456789"
TARGET = b"/scim/v2/Users/a%2Fb?filter=userName%20eq%20%22x%22&x=//y"
MINE = (ipaddress.ip_network("127.0.0.0/8"),)


def asks(
    front: Front, *lines: bytes, token: bytes = GOOD, method: bytes = b"GET", target: bytes = TARGET, more: bytes = b""
) -> bytes:
    """How each front asks about a request; `lines` in place of the ones that name it."""
    named = {
        Front.NGINX: (b"X-Original-Method: " + method, b"X-Original-URI: " + target),
        Front.TRAEFIK: (
            b"X-Forwarded-Method: " + method, b"X-Forwarded-Uri: " + target, b"X-Forwarded-Host: scim.example",
        ),
        Front.ENVOY: (),
    }[front]  # fmt: skip
    line = method + b" /_auth" + target if front is Front.ENVOY else b"GET /_auth"
    fields = [
        b"Host: scim.example" if front is not Front.TRAEFIK else b"Host: witness",
        b"Authorization: Bearer " + token,
        b"X-Forwarded-For: 203.0.113.9",
        *(lines or named),
    ]
    return line + b" HTTP/1.1\r\n" + b"\r\n".join(fields) + b"\r\n" + more + b"\r\n"


@contextlib.asynccontextmanager
async def fronted(front: Front, **more: Any) -> AsyncIterator[World]:
    async with World.open(front=front, **{"trusted": MINE, **more}) as world:
        yield world
        assert [] == [request for request in world.backend.requests if b"auth" in request.target]
        world.check()


async def ask(world: World, sent: bytes) -> Answer:
    answer = await world.ask(sent)
    assert answer is not None
    return answer


EVERY = pytest.mark.parametrize("front", Front)


@EVERY
async def test_the_answer_and_the_record_are_about_the_request_that_is_asked_about(front: Front):
    async with fronted(front) as world:
        async with world.client() as client:
            for token in (GOOD, LOOKUP):
                await client.send(asks(front, token=token))
                answer = await client.answer()
                assert (200, b"", [b"acme"]) == (answer.status, answer.body, answer.values(b"x-scim-witness-tenant"))
        said = world.witness.exchanges[0]
        assert ("GET", "scim.example", "203.0.113.9") == (said.method, said.host, said.client)
        assert said.target.startswith("/scim/v2/Users/a%2Fb")
        assert (200, "proxy", "active", "Users.get") == (said.status, said.answered_by, said.reason, said.operation)
        assert [said.fingerprint.encode()] != answer.values(b"x-scim-witness-token")
        assert [world.witness.exchanges[1].fingerprint.encode()] == answer.values(b"x-scim-witness-token")
        assert [] == world.backend.requests


@EVERY
@pytest.mark.parametrize("token, status", [(UNKNOWN, 401), (REVOKED, 401), (b'"x"', 401), (DOWN, 503)])
async def test_a_refusal_is_one_like_any_other(front: Front, token: bytes, status: int):
    async with fronted(front) as world:
        answer = await ask(world, asks(front, token=token, method=b"POST"))
        assert (status, str(status)) == (answer.status, answer.json()["status"])
        assert (status == 401) == bool(answer.values(b"www-authenticate"))
        assert (status == 503) == bool(answer.values(b"retry-after"))
        assert [incident.id.encode() for incident in world.witness.incidents] == answer.values(b"x-incident-id")
        said = world.witness.exchanges[-1]
        assert ("POST", "203.0.113.9") == (said.method, said.client)
        assert "/_auth" not in said.target


@EVERY
async def test_scopes_are_judged_by_the_method_that_is_asked_about(front: Front):
    policy = Policy(read_scopes=frozenset({"read"}), write_scopes=frozenset({"write"}))
    async with fronted(front, policy=policy) as world:
        good = world.tokens.states[GOOD]
        assert isinstance(good, Known)
        world.tokens.states[GOOD] = msgspec.structs.replace(good, scopes=("read", "ünïcode"), tenant="käse\r\nX: y")
        answer = await ask(world, asks(front))
        assert (200, [b"read %C3%BCn%C3%AFcode"]) == (answer.status, answer.values(b"x-scim-witness-scopes"))
        assert [b"k%C3%A4se%0D%0AX:%20y".replace(b"%20", b" ")] == answer.values(b"x-scim-witness-tenant")
        for method in (b"POST", b"PUT", b"PATCH", b"DELETE"):
            refused = await ask(world, asks(front, method=method))
            assert (403, True) == (refused.status, b"insufficient_scope" in refused.values(b"www-authenticate")[0])


@pytest.mark.parametrize("front", [Front.NGINX, Front.TRAEFIK])
async def test_a_head_is_asked_about_by_a_get_whose_answer_has_a_body(front: Front):
    async with fronted(front) as world, world.client() as client:
        await client.send(asks(front, method=b"HEAD", token=UNKNOWN) + asks(front, method=b"HEAD"))
        answer = await client.answer()
        assert (401, "401") == (answer.status, answer.json()["status"])
        assert 200 == (await client.answer()).status


@EVERY
async def test_who_is_not_trusted_may_not_ask(front: Front):
    async with fronted(front, trusted=()) as world:
        for token in (GOOD, UNKNOWN):
            answer = await ask(world, asks(front, token=token))
            assert (400, True) == (answer.status, "peer_not_trusted" in answer.json()["detail"])
        assert ([], []) == (world.backend.requests, world.witness.incidents)


def pair(front: Front) -> tuple[bytes, bytes]:
    return (b"X-Original-Method", b"X-Original-URI") if front is Front.NGINX else (b"X-Forwarded-Method", b"X-Forwarded-Uri")


BAD: dict[str, tuple[bytes, bytes, bytes]] = {
    "no method": (b"X: y", b"%b: /a", b"method"),
    "no target": (b"%b: GET", b"X: y", b"uri"),
    "method twice": (b"%b: GET\r\n%b: POST", b"%b: /a", b"method"),
    "target twice": (b"%b: GET", b"%b: /a\r\n%b: /b", b"uri"),
    "method in a list": (b"%b: GET, POST", b"%b: /a", b"request"),
    "method unknown": (b"%b: PROPFIND", b"%b: /a", b"request"),
    "method in small letters": (b"%b: get", b"%b: /a", b"request"),
    "method empty": (b"%b: ", b"%b: /a", b"request"),
    "TRACE": (b"%b: TRACE", b"%b: /a", b"request"),
    "target with a space": (b"%b: GET", b"%b: /a b", b"request"),
    "target with a line within": (b"%b: GET", b"%b: /a HTTP/1.1 /b", b"request"),
    "target with a fragment": (b"%b: GET", b"%b: /a#b", b"request"),
    "target empty": (b"%b: GET", b"%b: ", b"request"),
    "target without a slash": (b"%b: GET", b"%b: a", b"request"),
    "target with obs-text": (b"%b: GET", b"%b: /\xe9", b"request"),
    "target too long": (b"%b: GET", b"%b: /" + b"a" * 17_000, b"request"),
    "respelt": (b"X_Original_Method: GET\r\nX_Forwarded_Method: GET", b"%b: /a", b"method"),
}


@pytest.mark.parametrize("front", [Front.NGINX, Front.TRAEFIK])
async def test_a_question_that_is_none_is_a_400_and_never_a_200(front: Front):
    method, target = pair(front)
    async with fronted(front) as world:
        for name, (first, second, why) in BAD.items():
            lines = first.replace(b"%b", method) + b"\r\n" + second.replace(b"%b", target)
            answer = await ask(world, asks(front, lines))
            assert (400, True) == (answer.status, why.decode() in answer.json()["detail"].lower()), name
        posted = await ask(world, asks(front).replace(b"GET /_auth", b"POST /_auth"))
        assert (400, True) == (posted.status, "forward_auth_method" in posted.json()["detail"])
        assert [] == world.backend.requests


async def test_only_the_front_s_own_way_is_read():
    """What a client can send beside it says nothing: CVE-2026-40575 was a decision by a client's X-Forwarded-Uri."""
    policy = Policy(read_scopes=frozenset(), write_scopes=frozenset({"write"}))
    claims = b"X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /public\r\nX-HTTP-Method: GET\r\n"
    async with fronted(Front.NGINX, policy=policy) as world:
        assert 403 == (await ask(world, asks(Front.NGINX, method=b"DELETE", more=claims))).status
    claims = claims.replace(b"X-Forwarded", b"X-Original") + claims
    async with fronted(Front.ENVOY, policy=policy) as world:
        assert 403 == (await ask(world, asks(Front.ENVOY, method=b"DELETE", more=claims))).status


@EVERY
async def test_every_other_target_is_a_request_as_ever(front: Front):
    async with World.open(front=front, trusted=MINE) as world:
        for target in (b"/", b"/_authority", b"/_auth?x=/y", b"/_AUTH", b"//_auth", b"/a/_auth"):
            sent = b"GET " + target + b" HTTP/1.1\r\n" + asks(front).partition(b"\r\n")[2]
            assert 200 == (await ask(world, sent)).status
            assert target == world.backend.requests.pop().target


@EVERY
async def test_observe_mode_lets_pass_and_records(front: Front):
    async with fronted(front, policy=Policy(mode=Mode.OBSERVE)) as world:
        assert 200 == (await ask(world, asks(front, token=REVOKED))).status
        assert ["would_refuse"] == [incident.kind for incident in world.witness.incidents]


@EVERY
async def test_limits_hold_for_questions_too(front: Front):
    async with fronted(front, refusals=Rate(1, 0), requests=Rate(0, 1)) as world:
        sent = [asks(front, token=UNKNOWN), asks(front, token=UNKNOWN), asks(front), asks(front)]
        assert [401, 429, 200, 429] == [(await ask(world, one)).status for one in sent]


@EVERY
async def test_no_record_no_refusal(front: Front):
    async with fronted(front) as world:
        world.witness.full = True
        answer = await ask(world, asks(front, token=UNKNOWN))
        assert (503, []) == (answer.status, answer.values(b"www-authenticate"))


@EVERY
async def test_an_odd_byte_in_the_credential_is_a_refusal_of_the_request_that_is_asked_about(front: Front):
    async with fronted(front) as world:
        answer = await ask(world, asks(front, token=b"SECRET\x00"))
        assert 401 == answer.status
        said = world.witness.exchanges[-1]
        assert "malformed:characters" == said.credential
        assert said.target.startswith("/scim/v2/Users/a%2Fb")
