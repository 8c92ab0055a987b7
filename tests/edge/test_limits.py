"""Over a limit: a 429 that says when to come again, never a 401; and who is not over it notices nothing."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.core.policy import Mode, Policy
from proxy.edge.limits import Rate, rate
from tests.edge.world import DOWN, GOOD, REVOKED, World, get, post

UNKNOWN = b"unknown-token-0123456789"
TRUSTED = (ipaddress.ip_network("127.0.0.0/8"),)


def of(address: bytes, token: bytes = GOOD, method: bytes = b"GET") -> bytes:
    return get(token=token, method=method, extra=b"X-Forwarded-For: " + address + b"\r\n")


async def statuses(world: World, *sent: bytes) -> list[int]:
    return [(await world.ask(one)).status for one in sent]


async def test_refusals_of_an_address_are_limited_and_good_tokens_from_there_are_not():
    async with World.open(refusals=Rate(3, 0), trusted=TRUSTED) as world:
        bad, good = of(b"203.0.113.9", UNKNOWN), of(b"203.0.113.9")
        assert [401, 401, 200, 401, 429, 200, 429, 200] == await statuses(world, bad, bad, good, bad, bad, good, bad, good)
        assert [401] == await statuses(world, of(b"203.0.113.10", UNKNOWN)), "another address"
        assert 4 == len(world.witness.incidents), "each 401 is on record, and nothing else is"
        limited = [exchange for exchange in world.witness.exchanges if exchange.status == 429]
        assert [("too_many_refusals", "proxy", "deny", "unknown", "")] * 2 == [
            (e.fault, e.answered_by, e.verdict, e.reason, e.incident) for e in limited
        ]
        world.check()


async def test_strangers_at_an_address_keep_no_known_token_off_the_record():
    async with World.open(refusals=Rate(2, 0), trusted=TRUSTED) as world:
        bad, revoked = of(b"203.0.113.9", UNKNOWN), of(b"203.0.113.9", REVOKED)
        assert [401, 401, 429, 401, 401] == await statuses(world, bad, bad, bad, revoked, revoked)
        assert 4 == len(world.witness.incidents)


async def test_what_one_over_the_limit_is_told():
    async with World.open(refusals=Rate(1, 0)) as world, world.client() as client:
        await client.send(get(token=UNKNOWN) * 2)
        assert 401 == (await client.answer()).status
        answer = await client.answer()
        assert (429, "429") == (answer.status, answer.json()["status"])
        assert 1 <= int(answer.values(b"retry-after")[0]) <= 60
        assert [] == answer.values(b"www-authenticate")
        assert [] == answer.values(b"x-incident-id")
        assert [b"application/scim+json"] == answer.values(b"content-type")
        await client.send(get(extra=b"X-Case: same\r\n"))
        assert "same" == (await client.answer()).json()["case"], "the connection goes on"
        await client.send(get(token=UNKNOWN, method=b"HEAD"))
        headed = await client.answer(b"HEAD")
        assert (429, b"") == (headed.status, headed.body)
        await client.send(post(b"hello", token=UNKNOWN) + get(extra=b"X-Case: after\r\n"))
        assert 429 == (await client.answer()).status
        assert "after" == (await client.answer()).json()["case"], "a body that is here does not end the connection"
        await client.send(post(b"x" * 100_000, token=UNKNOWN)[:-1])
        assert 429 == (await client.answer()).status
        assert await client.closed(), "with a body that is not here"


@pytest.mark.parametrize("odd", [b"Authorization: Bearer x\x00\r\n", b"", b'Authorization: Bearer "x"\r\n'])
async def test_refusals_of_every_kind_count(odd: bytes):
    async with World.open(refusals=Rate(1, 0)) as world:
        sent = b"GET / HTTP/1.1\r\nHost: h\r\n" + odd + b"\r\n"
        assert [401, 429] == await statuses(world, sent, sent)
        world.check()


async def test_refusals_of_a_tenant_are_limited_whatever_the_address():
    async with World.open(refusals=Rate(0, 2), trusted=TRUSTED) as world:
        revoked = [of(b"203.0.113.%d" % number, REVOKED) for number in range(4)]
        assert [401, 401, 429, 429] == await statuses(world, *revoked)
        strangers = [of(b"203.0.113.%d" % number, UNKNOWN) for number in range(4)]
        assert [401] * 4 == await statuses(world, *strangers), "they share no limit"
        assert [200] == await statuses(world, of(b"203.0.113.9"))


async def test_trouble_of_ours_is_no_refusal():
    async with World.open(refusals=Rate(1, 1)) as world:
        assert [503] * 3 == await statuses(world, *[get(token=DOWN)] * 3)
        assert [401] == await statuses(world, get(token=UNKNOWN))


async def test_observe_mode_refuses_nobody_and_limits_no_refusals():
    async with World.open(refusals=Rate(1, 1), policy=Policy(mode=Mode.OBSERVE)) as world:
        assert [200] * 3 == await statuses(world, *[get(token=UNKNOWN)] * 3)
        assert 3 == len(world.witness.incidents)


async def test_requests_of_an_address_are_limited_before_anything_is_looked_up():
    async with World.open(requests=Rate(2, 0), trusted=TRUSTED) as world:
        here = of(b"2001:db8::1", UNKNOWN)
        assert [200, 401, 429, 429] == await statuses(world, of(b"2001:db8::2"), here, here, of(b"2001:db8::3"))
        assert 1 == len(world.backend.requests)
        reads = world.tokens.reads
        assert [429, 200] == await statuses(world, here, of(b"203.0.113.9"))
        assert reads == world.tokens.reads
        assert ["too_many_requests"] * 3 == [e.fault for e in world.witness.exchanges if e.status == 429]
        assert [1] == [len(world.witness.incidents)]
        world.check()


async def test_requests_of_a_tenant_are_limited_and_post_reaches_nobody():
    async with World.open(requests=Rate(0, 2)) as world:
        assert [200, 200, 429] == await statuses(world, get(), post(b"x"), post(b"y"))
        assert 2 == len(world.backend.requests)
        assert "acme" == world.witness.exchanges[-1].tenant
        assert [401] == await statuses(world, get(token=UNKNOWN))


async def test_no_token_is_written_of_one_over_the_limit():
    async with World.open(requests=Rate(1, 0)) as world:
        hides = get(b"/scim/v2/Users/" + GOOD, extra=b"User-Agent: " + GOOD + b"\r\n")
        assert [200, 429] == await statuses(world, get(), hides)
        world.check()


def test_no_limit_is_nothing_at_all():
    assert rate(0, 0) is None
    assert rate(1, 0) is not None
    assert rate(0, 1) is not None
