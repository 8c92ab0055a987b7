"""Credentials as Doorkeeper reads them (facts: measured on 5.5.0): each accepted or refused with a reason, never a 500."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import quote

import msgspec
import pytest

from proxy.core.policy import Policy
from tests.edge.world import DOWN, FEEDS, GOOD, LOOKUP, REVOKED, World, get, pieces, post

UNKNOWN = b"unknown-token-0123456789"


@dataclass(frozen=True)
class Case:
    """Header lines and what they lead to: `reason` of a 401, or nothing for a request that passes."""

    name: str
    lines: bytes
    reason: str = ""
    shape: str = "bearer"
    closes: bool = False


def header(value: bytes) -> bytes:
    return b"Authorization: " + value + b"\r\n"


TABLE = [
    Case("as everybody sends it", header(b"Bearer " + GOOD)),
    Case("scheme in lower case", header(b"bearer " + GOOD)),
    Case("scheme in capitals", header(b"BEARER " + GOOD)),
    Case("scheme in mixed case", header(b"bEaReR " + GOOD)),
    Case("leading spaces", header(b"   Bearer " + GOOD)),
    Case("trailing space", header(b"Bearer " + GOOD + b" ")),
    Case("trailing tab", header(b"Bearer " + GOOD + b"\t")),
    Case("no space after the colon", b"Authorization:Bearer " + GOOD + b"\r\n"),
    Case("name in capitals", b"AUTHORIZATION: Bearer " + GOOD + b"\r\n"),
    Case("only the source knows it", header(b"Bearer " + LOOKUP)),
    Case("none", b"", "missing_credential", "missing"),
    Case("empty", header(b""), "missing_credential", "missing"),
    Case("white space", header(b" \t "), "missing_credential", "missing"),
    Case("respelt name", b"Authorization_: Bearer " + GOOD + b"\r\n", "missing_credential", "missing"),
    Case("another field", b"Proxy-Authorization: Bearer " + GOOD + b"\r\n", "missing_credential", "missing"),
    Case("unknown", header(b"Bearer " + UNKNOWN), "unknown"),
    Case("revoked", header(b"Bearer " + REVOKED), "revoked"),
    Case("token with a letter in another case", header(b"Bearer " + GOOD.upper()), "unknown"),
    Case("token cut", header(b"Bearer " + GOOD[:-1]), "unknown"),
    Case("token with a comma", header(b"Bearer " + GOOD + b","), "unknown"),
    Case("percent-encoded", header(b"Bearer " + GOOD.replace(b"-", b"%2D")), "unknown"),
    Case("Bearer alone", header(b"Bearer"), "malformed_credential", "malformed:empty"),
    Case("Bearer and a space", header(b"Bearer "), "malformed_credential", "malformed:empty"),
    Case("two spaces", header(b"Bearer  " + GOOD), "malformed_credential", "malformed:whitespace"),
    Case("a tab", header(b"Bearer\t" + GOOD), "malformed_credential", "malformed:whitespace"),
    Case("a space and a tab", header(b"Bearer \t" + GOOD), "malformed_credential", "malformed:whitespace"),
    Case("in double quotes", header(b'Bearer "' + GOOD + b'"'), "malformed_credential", "malformed:quoted"),
    Case("in single quotes", header(b"Bearer '" + GOOD + b"'"), "malformed_credential", "malformed:quoted"),
    Case("scheme doubled", header(b"Bearer Bearer " + GOOD), "malformed_credential", "malformed:scheme_doubled"),
    Case("token alone", header(GOOD), "malformed_credential", "malformed:scheme_missing"),
    Case("Token scheme", header(b"Token " + GOOD), "malformed_credential", "malformed:scheme_other"),
    Case("Basic scheme", header(b"Basic dTpw"), "malformed_credential", "malformed:scheme_other"),
    Case("Bearer with a colon", header(b"Bearer: " + GOOD), "malformed_credential", "malformed:scheme_other"),
    Case("two tokens", header(b"Bearer " + GOOD + b" " + LOOKUP), "malformed_credential", "malformed:whitespace"),
    Case("a list", header(b"Bearer " + GOOD + b", Bearer " + GOOD), "malformed_credential", "malformed:whitespace"),
    Case("two fields, equal", header(b"Bearer " + GOOD) * 2, "several_credentials", "several"),
    Case("two fields, good first", header(b"Bearer " + GOOD) + header(b"Bearer " + UNKNOWN), "several_credentials", "several"),
    Case("two fields, good last", header(b"Basic dTpw") + header(b"Bearer " + GOOD), "several_credentials", "several"),
    Case("two fields, one empty", header(b"") + header(b"Bearer " + GOOD), "several_credentials", "several"),
    Case("obs-text in the token", header(b"Bearer " + GOOD + b"\xff"), "malformed_credential", "malformed:characters"),
    Case("UTF-8 in the token", header("Bearer tökén".encode()), "malformed_credential", "malformed:characters"),
    Case("no-break space after the scheme", header(b"Bearer\xa0" + GOOD), "malformed_credential", "malformed:scheme_missing"),
    Case("NUL at the end", header(b"Bearer SECRET\x00"), "malformed_credential", "malformed:characters", closes=True),
    Case("NUL in the scheme", header(b"Bea\x00rer " + GOOD), "malformed_credential", "malformed:characters", closes=True),
    Case(
        "escape sequence",
        header(b"Bearer " + GOOD + b"\x1b[0m"),
        "malformed_credential",
        "malformed:characters",
        closes=True,
    ),
    Case(
        "delete in the token", header(b"Bearer " + GOOD + b"\x7f"), "malformed_credential", "malformed:characters", closes=True
    ),
    Case("9 KB", header(b"Bearer " + b"SECRET" * 1_500), "malformed_credential", "malformed:too_long"),
    Case("9 KB without a scheme", header(b"SECRET" * 1_500), "malformed_credential", "malformed:too_long"),
    Case("1 MB", header(b"Bearer " + b"SECRET" * 170_000), "malformed_credential", "malformed:too_long", closes=True),
]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
async def test_header(world: World, case: Case, method: bytes, feed: str):
    async with world.client() as client:
        echo = GOOD if GOOD in case.lines and case.shape != "missing" else b""
        request = b"%b /scim/v2/Users HTTP/1.1\r\nHost: a\r\nUser-Agent: x%b\r\n%b\r\n" % (method, echo, case.lines)
        await client.send_pieces(list(pieces(request, feed)))
        answer = await client.answer(method)
        assert answer is not None
        if not case.reason:
            assert 200 == answer.status
            assert 1 == len(world.backend.requests)
        else:
            assert 401 == answer.status
            assert [] == world.backend.requests
            assert case.reason == world.witness.incidents[-1].reason
            assert [world.witness.incidents[-1].id.encode()] == answer.values(b"x-incident-id")
            challenge = answer.values(b"www-authenticate")[0]
            assert challenge.startswith(b'Bearer realm="SCIM"')
            assert (b"error=" in challenge) == (case.reason != "missing_credential")
            if method == b"GET":
                said = answer.json()
                assert ("401", ["urn:ietf:params:scim:api:messages:2.0:Error"]) == (said["status"], said["schemas"])
                assert case.reason in said["detail"]
        assert case.shape == world.witness.exchanges[-1].credential
        assert case.closes == (answer.values(b"connection") == [b"close"])
        assert not [word for word in (b"SECRET", GOOD, UNKNOWN, REVOKED) if word in client.seen]
    await world.good()


FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
JSON = b"Content-Type: application/json; charset=utf-8\r\n"
SCIM = b"Content-Type: application/scim+json\r\n"
BAD = b"Authorization: Bearer " + UNKNOWN + b"\r\n"


@dataclass(frozen=True)
class Elsewhere:
    """Query, header lines and body, and what they lead to with both permissions: a status, and where the token stood."""

    name: str
    query: bytes = b""
    lines: bytes = b""
    body: bytes = b""
    status: int = 200
    place: str = "query"


def as_json(**members: object) -> bytes:
    return json.dumps({k: v.decode() if isinstance(v, bytes) else v for k, v in members.items()}).encode()


ELSEWHERE = [
    Elsewhere("access_token in the query", b"?a=b&access_token=" + GOOD),
    Elsewhere("bearer_token in the query", b"?bearer_token=" + LOOKUP),
    Elsewhere("percent-encoded", b"?access%5ftoken=" + quote(GOOD, safe="").replace("-", "%2d").encode()),
    Elsewhere("twice: the last counts", b"?access_token=x&access_token=" + GOOD),
    Elsewhere("twice: the last counts, and is bad", b"?access_token=" + GOOD + b"&access_token=x", status=401),
    Elsewhere("access_token before bearer_token", b"?bearer_token=x&access_token=" + GOOD),
    Elsewhere("an empty access_token gives way to bearer_token", b"?access_token=&bearer_token=" + GOOD),
    Elsewhere("a list", b"?access_token[]=" + GOOD, status=401),
    Elsewhere("a list beside a token", b"?access_token=" + GOOD + b"&access_token[]=x", status=401),
    Elsewhere("empty", b"?access_token=", status=401),
    Elsewhere("another name", b"?token=" + GOOD, status=401),
    Elsewhere("with a space", b"?access_token=+" + GOOD, status=401),
    Elsewhere("with NUL", b"?access_token=" + GOOD + b"%00", status=401),
    Elsewhere("header wins over query", b"?access_token=" + GOOD, BAD, status=401),
    Elsewhere("malformed bearer wins over query", b"?access_token=" + GOOD, b"Authorization: Bearer  x\r\n", status=401),
    Elsewhere("another scheme gives way", b"?access_token=" + GOOD, b"Authorization: Basic dTpw\r\n"),
    Elsewhere("form", b"", FORM, b"a=b&access_token=" + GOOD, place="form"),
    Elsewhere("form, bearer_token", b"", FORM, b"bearer_token=" + GOOD, place="form"),
    Elsewhere("form, twice: the last counts", b"", FORM, b"access_token=x&access_token=" + GOOD, place="form"),
    Elsewhere("form, a list", b"", FORM, b"access_token[]=" + GOOD, 401),
    Elsewhere("header wins over form", b"", FORM + BAD, b"access_token=" + GOOD, 401),
    Elsewhere("query wins over form", b"?access_token=" + GOOD, FORM, b"access_token=x"),
    Elsewhere("bad query wins over form", b"?access_token=x", FORM, b"access_token=" + GOOD, 401),
    Elsewhere("empty query wins over form", b"?access_token=", FORM, b"access_token=" + GOOD, 401),
    Elsewhere("by name: access_token first", b"?bearer_token=x", FORM, b"access_token=" + GOOD, place="form"),
    Elsewhere("json", b"", JSON, as_json(a=1, access_token=GOOD), place="form"),
    Elsewhere("json, twice: the last counts", b"", JSON, b'{"access_token":"x","access_token":"%b"}' % GOOD, place="form"),
    Elsewhere("json, a list", b"", JSON, as_json(access_token=[1]), 401),
    Elsewhere("json, nested", b"", JSON, b'{"a":{"access_token":"%b"}}' % GOOD, 401),
    Elsewhere("json that is none", b"", JSON, b'{"access_token":"%b"' % GOOD, 401),
    Elsewhere("json, deep", b"", JSON, b"[" * 60_000, 401),
    Elsewhere("scim+json is never searched", b"", SCIM, as_json(access_token=GOOD), 401),
    Elsewhere("text is never searched", b"", b"Content-Type: text/plain\r\n", b"access_token=" + GOOD, 401),
    Elsewhere("json beyond the bound", b"", JSON, as_json(a="x" * 70_000, access_token=GOOD), 401),
    Elsewhere("form at the bound", b"", FORM, b"access_token=" + GOOD + b"&a=" + b"x" * 65_000, place="form"),
]


@pytest.mark.parametrize("feed", ["whole", "split2"])
@pytest.mark.parametrize("case", ELSEWHERE, ids=lambda case: case.name)
async def test_query_and_form(case: Elsewhere, feed: str):
    async with World.open(road={"query_token": True, "form_token": True}) as world:
        line = b"POST /scim/v2/Users%b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n" % (
            case.query,
            case.lines,
            len(case.body),
        )
        async with world.client() as client:
            await client.send_pieces(list(pieces(line + case.body, feed)))
            answer = await client.answer()
            assert answer is not None
            assert case.status == answer.status
            if case.status == 200:
                assert case.body == world.backend.last.body
                assert b"/scim/v2/Users" + case.query == world.backend.last.target
                await client.send(get(extra=b"X-Case: next\r\n"))
                following = await client.answer()
                assert following is not None
                assert "next" == following.json()["case"]
            else:
                assert [] == world.backend.requests
        world.check()


@pytest.mark.parametrize("case", [case for case in ELSEWHERE if case.status == 200], ids=lambda case: case.name)
async def test_query_and_form_are_refused_unless_allowed(world: World, case: Elsewhere):
    lines = case.lines + b"Content-Length: %d\r\n" % len(case.body)
    answer = await world.ask(b"POST /scim/v2/Users%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (case.query, lines) + case.body)
    assert answer is not None
    assert 401 == answer.status
    assert [] == world.backend.requests


async def test_where_only_the_form_may_hold_one_a_query_with_another_is_refused_and_reaches_nobody():
    """Rails lets the query win, so that the backend would go by a token that nobody has judged."""
    async with World.open(road={"form_token": True}) as world:
        body = b"access_token=" + GOOD
        for query in (b"?access_token=x", b"?bearer_token=x", b"?access%5Ftoken=x", b"?access_token[]=x"):
            answer = await world.ask(
                b"POST /Users%b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (query, FORM, len(body), body)
            )
            assert answer is not None
            assert (401, 0) == (answer.status, len(world.backend.requests))
        world.check()


async def test_chunked_form_is_forwarded_whole_after_the_verdict():
    async with World.open(road={"form_token": True}) as world:
        body = b"access_token=" + GOOD
        request = b"POST / HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        answer = await world.ask(request % (FORM, len(body), body))
        assert answer is not None
        assert (200, body) == (answer.status, world.backend.last.body)
        world.check()


async def test_broken_form_is_a_400_and_reaches_nobody():
    async with World.open(road={"form_token": True}) as world:
        answer = await world.ask(b"POST / HTTP/1.1\r\nHost: a\r\n" + FORM + b"Transfer-Encoding: chunked\r\n\r\n5x\r\n")
        assert answer is not None
        assert (400, 0) == (answer.status, len(world.backend.requests))
        world.check()


async def test_source_down_is_503_and_never_401(world: World):
    answer = await world.ask(get(token=DOWN))
    assert answer is not None
    assert (503, [b"10"], []) == (answer.status, answer.values(b"retry-after"), answer.values(b"www-authenticate"))
    assert [] == world.witness.incidents
    assert [] == world.backend.requests


async def test_no_401_leaves_without_its_record(world: World):
    world.witness.full = True
    answer = await world.ask(get(token=UNKNOWN))
    assert answer is not None
    assert (503, []) == (answer.status, world.backend.requests)


async def test_body_of_a_refused_post_is_no_request(world: World):
    hidden = get(b"/hidden")
    async with world.client() as client:
        await client.send(post(hidden, token=UNKNOWN) + get(extra=b"X-Case: after\r\n"))
        refusal, following = await client.answer(), await client.answer()
        assert refusal is not None
        assert following is not None
        assert (401, 200, "after") == (refusal.status, following.status, following.json()["case"])
    assert [b"/scim/v2/Users"] == [request.target for request in world.backend.requests]


@pytest.mark.parametrize("framing", [b"Content-Length: 3000000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_refusal_is_readable_while_the_body_is_still_being_sent(world: World, framing: bytes):
    """RFC 9112 section 9.6: a close with unread bytes would reset the connection and take the refusal with it."""
    async with world.client() as client:
        await client.send(get(token=UNKNOWN, method=b"POST", extra=framing))
        if framing.startswith(b"Transfer"):
            await client.send(b"2dc6c0\r\n")
        await client.send_pieces([b"x" * 100_000] * 20)
        answer = await client.answer()
        assert answer is not None
        assert (401, [b"close"]) == (answer.status, answer.values(b"connection"))
        assert await client.closed()
    assert not client.reset
    await world.good()


async def test_continue_only_after_the_token_is_accepted(world: World):
    world.tokens.gate.clear()
    async with world.client() as client:
        await client.send(get(token=LOOKUP, method=b"POST", extra=b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
        while world.tokens.reads == 0:
            await asyncio.sleep(0)
        assert b"" == bytes(client.seen)
        world.tokens.gate.set()
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.reader.readexactly(25)
        await client.send(b"hello")
        answer = await client.answer()
        assert answer is not None
        assert (200, b"hello", []) == (answer.status, world.backend.last.body, world.backend.last.values(b"expect"))


async def test_no_continue_for_a_refused_token(world: World):
    async with world.client() as client:
        await client.send(get(token=UNKNOWN, method=b"POST", extra=b"Expect: 100-continue\r\nContent-Length: 5\r\n"))
        answer = await client.answer()
        assert answer is not None
        assert (401, [], [b"close"]) == (answer.status, answer.interim, answer.values(b"connection"))
        assert await client.closed()


async def test_method_override_is_judged_as_a_write():
    async with World.open(policy=Policy(write_scopes=frozenset(("write",)))) as world:
        good = world.tokens.states[GOOD]
        world.tokens.states[GOOD] = msgspec.structs.replace(good, scopes=("read",))
        for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"):
            answer = await world.ask(get(extra=name + b": DELETE\r\n"))
            assert answer is not None
            assert 403 == answer.status
        assert [] == world.backend.requests
        answer = await world.ask(get(extra=b"X_HTTP_Method_Override: DELETE\r\n"))
        assert answer is not None
        assert 200 == answer.status
        assert [] == [v for v in world.backend.last.headers if b"ethod" in v[0]]
