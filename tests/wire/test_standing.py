"""Readiness follows the sources by questions of the proxy's own: without requests, and not by one token's trouble."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.core.token import Reading, Unavailable, Unknown
from proxy.wire.standing import Standing
from tests.end_to_end.running import get
from tests.sources.issuer import Issuer, says
from tests.sources.test_wired import KEY, introspection, issuer, running

__all__ = ["issuer"]

NO_ANSWER = says("", 500)


async def ready(proxy) -> bool:
    return 200 == (await get(f"{proxy.ops}/readyz"))[0]


async def parts(proxy) -> dict[str, dict[str, str]]:
    return {part["name"]: part for part in json.loads((await get(f"{proxy.ops}/readyz?verbose"))[2])["parts"]}


async def until_ready(proxy, wanted: bool) -> None:
    async with asyncio.timeout(60):
        while wanted is not await ready(proxy):
            await asyncio.sleep(0.02)


def keys_of(issuer: Issuer) -> str:
    return f'[source]\nkind = "jwt"\njwks_url = "{issuer.url}/keys"\nissuer = ["https://i"]\naudience = ["a"]'


@pytest.mark.parametrize("source", [introspection, keys_of])
async def test_who_was_never_answered_is_not_ready_and_becomes_so_without_a_request(tmp_path, issuer, source):
    issuer.keys = [KEY.as_dict(private=False)]
    issuer.script = NO_ANSWER
    async with running(tmp_path, source(issuer)) as proxy:
        assert not await ready(proxy)
        issuer.script = None
        await until_ready(proxy, True)


async def test_an_outage_is_noticed_at_the_first_request_and_its_end_without_one(tmp_path, issuer):
    async with running(tmp_path, introspection(issuer)) as proxy:
        await until_ready(proxy, True)
        issuer.script = NO_ANSWER
        assert 503 == (await get(f"{proxy.data}/Users", "guess"))[0]
        await until_ready(proxy, False)
        issuer.script = None
        await until_ready(proxy, True)


async def test_an_outage_is_noticed_without_a_request_while_tokens_are_in_use(tmp_path, issuer):
    issuer.tokens["good"] = {"active": True, "client_id": "acme", "exp": 0, "iat": 1}
    async with running(tmp_path, introspection(issuer, "recheck_every = 1")) as proxy:
        assert 200 == (await get(f"{proxy.data}/Users", "good"))[0]
        await until_ready(proxy, True)
        issuer.script = NO_ANSWER
        await until_ready(proxy, False)
        issuer.script = None
        await until_ready(proxy, True)


async def test_trouble_with_one_token_is_none_of_the_source(tmp_path, issuer):
    issuer.tokens["odd"] = {"active": True, "iat": "yesterday"}
    async with running(tmp_path, introspection(issuer)) as proxy:
        await until_ready(proxy, True)
        for _ in range(3):
            asked = len(issuer.asked)
            assert 503 == (await get(f"{proxy.data}/Users", "odd"))[0]
            async with asyncio.timeout(60):
                while "odd" == issuer.asked[-1] or len(issuer.asked) == asked:  # until our own question was put
                    assert await ready(proxy)
                    await asyncio.sleep(0.02)
            assert await ready(proxy)


async def test_one_of_two_sources_is_enough(tmp_path, issuer):
    file = tmp_path / "tokens.toml"
    file.write_text("")
    issuer.script = NO_ANSWER
    source = f'[[source]]\nkind = "token_file"\nname = "file"\npath = "{file}"\n'
    async with running(tmp_path, source + introspection(issuer)) as proxy:
        await until_ready(proxy, True)
        found = await parts(proxy)
        assert ("ok", "degraded") == (found["file"]["state"], found["introspection"]["state"])
        _, _, metrics = await get(f"{proxy.ops}/metrics")
        assert b'scim_witness_validator_state{source="file",state="ok"} 1.0' in metrics
        assert b'scim_witness_validator_state{source="introspection",state="error"} 1.0' in metrics


def test_a_look_raises_doubt_and_an_answer_decides():
    standing = Standing()
    trouble = Reading(Unavailable("timeout"), "one", "primary", 0.0)
    assert ("unasked", ["one"]) == (standing.together(["one"]), standing.due(["one"]))
    standing.answered(Reading(Unknown(), "one", "primary", 0.0))
    assert ("ok", []) == (standing.together(["one"]), standing.due(["one"]))
    standing.saw(trouble)
    assert ("ok", ["one"]) == (standing.together(["one"]), standing.due(["one"]))
    standing.answered(trouble)
    assert ("timeout", ["one"]) == (standing.together(["one"]), standing.due(["one"]))
    assert "timeout" == standing.together(["one", "two"])
    standing.answered(Reading(Unknown(), "two", "primary", 0.0))
    assert ("ok", ["one"]) == (standing.together(["one", "two"]), standing.due(["one", "two"]))
    standing.doubt(["two"])
    assert ["one", "two"] == standing.due(["one", "two"])
    for name in ("one", "two"):
        standing.answered(Reading(Unknown(), name, "primary", 0.0))
    assert [] == standing.due(["one", "two"])
