"""Signed tokens: what is taken, what is refused and under which name, keys that rotate, and an issuer on bad days."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt as jose
from joserfc.jwk import ECKey, OKPKey, RSAKey

from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known, Unavailable, Unknown
from proxy.core.verdict import Allow, Deny, Reason, Unable, decide
from proxy.edge.judge import Judge
from proxy.sources.breaker import BreakerOptions
from proxy.sources.endpoint import EndpointOptions
from proxy.sources.fresh import Fresh
from proxy.sources.jwt.facts import ENTRA_AUDIENCE, Rules
from proxy.sources.jwt.keys import ABSENT_LIMIT, KeySet, KeysOptions
from proxy.sources.jwt.source import Jwt, JwtOptions
from proxy.sources.jwt.verify import ALGORITHMS, Refused, open_token
from tests.sources.conftest import FINGERPRINTER, secret
from tests.sources.issuer import Issuer, cut, half_open, hangs, resets, says

ISSUER: Final = "https://issuer.example.com"
RULES: Final = Rules((ISSUER,), frozenset({"scim"}))
RSA: Final = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
EC: Final = ECKey.generate_key("P-256", {"kid": "e1"})
ED: Final = OKPKey.generate_key("Ed25519", {"kid": "o1"})
NEW: Final = RSAKey.generate_key(2048, {"kid": "r2"})
WEAK_PARTS: Final = {
    "kty": "RSA",
    "kid": "weak",
    "e": "AQAB",
    "n": base64.urlsafe_b64encode(b"\xff" * 128).decode().rstrip("="),
}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def claims(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    said = {"iss": ISSUER, "aud": "scim", "sub": "acme", "scope": "scim", "iat": now - 60, "exp": now + 600} | more
    return {name: value for name, value in said.items() if value is not None}


def token(key: Any = RSA, alg: str = "RS256", header: dict[str, Any] | None = None, **more: Any) -> str:
    head = {"alg": alg, "kid": key.kid} | (header or {})
    return jose.encode({n: v for n, v in head.items() if v is not None}, claims(**more), key, algorithms=[alg])


def raw_token(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"x" * 32) -> str:
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def by_hmac(key: bytes) -> str:
    signed = raw_token({"alg": "HS256", "kid": "r1"}, claims(), b"").rstrip(".")
    signature = base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).decode().rstrip("=")
    return f"{signed}.{signature}"


def public(*keys: Any) -> list[dict[str, Any]]:
    return [key.as_dict(private=False) for key in keys]


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    server = await Issuer().start()
    server.keys = public(RSA, EC, ED)
    yield server
    await server.close()


@pytest.fixture
async def reading(issuer, tasks) -> AsyncIterator:
    made = []

    def build(rules: Rules = RULES, clock: Clock | None = None, timeout: float = 5.0, limit: int = 100, **more) -> Jwt:
        keys = KeysOptions(EndpointOptions(f"{issuer.url}/keys", timeout, breaker=BreakerOptions(failures=1_000)), **more)
        options = JwtOptions(keys, rules, ALGORITHMS - {"RS512"}, verified_limit=limit)
        made.append(Jwt(options, FINGERPRINTER, tasks, monotonic=clock or Clock()))
        return made[-1]

    yield build
    for source in made:
        await source.close()


async def state_of(source: Jwt, presented: str):
    return (await source.read(secret(presented))).state


@pytest.mark.parametrize("key, alg", [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "Ed25519")])
async def test_each_kind_of_key(reading, key, alg):
    source = reading()
    state = await state_of(source, token(key, alg, azp="okta"))
    assert isinstance(state, Known)
    assert (state.tenant, state.scopes, state.application, state.owner) == ("acme", ("scim",), "okta", "acme")
    assert decide(state, time.time(), 0.0, Policy(), OTHER_READ).reason is Reason.ACTIVE
    assert (await source.reread([state]))[state.row].state == state


CONFUSED: Final = {
    "none": (lambda: raw_token({"alg": "none"}, claims(), b"") + "", "malformed"),
    "none with a signature": (lambda: raw_token({"alg": "none"}, claims()), "algorithm"),
    "NONE in capitals": (lambda: raw_token({"alg": "NONE"}, claims()), "algorithm"),
    "HMAC with the public key's PEM": (
        lambda: by_hmac(RSA.as_pem(private=False)), "algorithm"
    ),
    "HMAC with the public key's DER": (
        lambda: by_hmac(RSA.as_der(private=False)), "algorithm"
    ),
    "an algorithm that is not pinned": (lambda: token(RSA, "RS512"), "algorithm"),
    "no algorithm": (lambda: raw_token({"kid": "r1"}, claims()), "algorithm"),
    "a list of algorithms": (lambda: raw_token({"alg": ["RS256"]}, claims()), "algorithm"),
    "RS256 with the kid of an EC key": (lambda: token(RSA, header={"kid": "e1"}), "bad_signature"),
    "ES256 with the kid of an RSA key": (lambda: token(EC, "ES256", {"kid": "r1"}), "bad_signature"),
    "a stranger's key under our kid": (lambda: token(NEW, header={"kid": "r1"}), "bad_signature"),
    "a key brought along": (lambda: token(NEW, header={"kid": "r1", "jwk": NEW.as_dict(private=False)}), "bad_signature"),
    "crit": (lambda: raw_token({"alg": "RS256", "kid": "r1", "crit": ["exp"]}, claims()), "critical_header"),
    "crit empty": (lambda: raw_token({"alg": "RS256", "crit": []}, claims()), "critical_header"),
    "b64 false": (lambda: raw_token({"alg": "RS256", "b64": False}, claims()), "critical_header"),
    "a kid that is no text": (lambda: raw_token({"alg": "RS256", "kid": 7}, claims()), "malformed"),
    "a key id that nobody has": (lambda: token(NEW), "unknown_key"),
    "oversized": (lambda: token(padding="x" * 9_000), "oversized"),
    "an opaque token": (lambda: "Tk-4cLmQ8xYpRw2Nd7sVbJh5Ze9uGf3AtKoXyEiCqMn", "not_a_jwt"),
    "a JWE": (lambda: "eyJhbGciOiJSU0EifQ.a.b.c.d", "not_a_jwt"),
    "no JSON": (lambda: "eyJhbGci.eyJ.x", "malformed"),
    "half a character, which no record could hold": (
        lambda: raw_token({"alg": "RS256", "kid": "r1"}, claims(sub="u\ud800")), "malformed"
    ),
    "a repeated member": (lambda: "eyJhbGciOiJSUzI1NiIsImFsZyI6Im5vbmUifQ.e30.eHg", "malformed"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFUSED)
async def test_what_is_refused_has_its_own_name(reading, case):
    make, why = CONFUSED[case]
    assert await state_of(reading(), make()) == Unknown(why)


@pytest.mark.parametrize(
    "more, why",
    [
        ({"iss": "https://elsewhere.example.com"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"iss": [ISSUER]}, "wrong_issuer"),
        ({"aud": "other"}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": ["a", 7]}, "wrong_audience"),
        ({"exp": None}, "no_expiry"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"nbf": 4_000_000_000}, "not_yet_valid"),
    ],
)
async def test_claims_that_do_not_do(reading, more, why):
    assert await state_of(reading(), token(**more)) == Unknown(why)


async def test_every_other_spelling_of_a_token_is_another_token(reading):
    source, good = reading(), token()
    assert isinstance(await state_of(source, good), Known)
    for other in (
        good + "=",
        good + "\0",
        good[:-1],
        good.replace(".", ".!", 1),
        good + ".",
        good[:-1] + chr(ord(good[-1]) ^ 1),
    ):
        assert isinstance(await state_of(source, other), Unknown), other


async def test_an_expired_token_is_known_so_that_it_is_called_expired(reading):
    now = int(time.time())
    state = await state_of(reading(), token(iat=now - 7_200, exp=now - 3_600))
    assert isinstance(state, Known)
    assert decide(state, time.time(), 0.0, Policy(), OTHER_READ).reason is Reason.EXPIRED


async def test_the_leeway_is_for_clocks_that_differ(reading):
    now = int(time.time())
    state = await state_of(reading(), token(iat=now - 100, exp=now - 10, nbf=now + 10))
    assert isinstance(state, Known)
    assert decide(state, time.time(), 0.0, Policy(), OTHER_READ).reason is Reason.ACTIVE


ACME_DIRECTORY: Final = "4a7f2e0c-1111-4222-8333-9b1f3c2d5e6f"
ENTRA: Final = Rules(("https://sts.windows.net/{tenant}/",), frozenset({ENTRA_AUDIENCE}), tenants={ACME_DIRECTORY: "acme"})


def entra(directory: str = ACME_DIRECTORY, **more: Any) -> str:
    said = {"iss": f"https://sts.windows.net/{directory}/", "aud": ENTRA_AUDIENCE, "tid": directory, "appid": "app", "sub": "s"}
    return token(**(said | more))


async def test_entras_own_token_belongs_to_the_tenant_of_its_directory(reading):
    state = await state_of(reading(ENTRA), entra())
    assert isinstance(state, Known)
    assert (state.tenant, state.application_name) == ("acme", "Microsoft Entra provisioning")


@pytest.mark.parametrize(
    "presented, why",
    [
        (lambda: entra("99999999-1111-4222-8333-9b1f3c2d5e6f"), "unmapped_tenant"),
        (lambda: entra(tid="99999999-1111-4222-8333-9b1f3c2d5e6f"), "wrong_issuer"),
        (lambda: entra(aud="https://graph.microsoft.com"), "wrong_audience"),
        (lambda: entra(iss=f"https://sts.windows.net.evil.example/{ACME_DIRECTORY}/"), "wrong_issuer"),
        (lambda: entra(iss=f"https://sts.windows.net/x/{ACME_DIRECTORY}/"), "wrong_issuer"),
        (lambda: entra(iss=f"https://sts.windows.net/{ACME_DIRECTORY}"), "wrong_issuer"),
    ],
)
async def test_a_strangers_directory_is_refused_although_entra_signed_it(reading, presented, why):
    assert await state_of(reading(ENTRA), presented()) == Unknown(why)


async def test_the_first_token_of_a_new_key_shows_the_rotation(issuer, reading):
    source = reading()
    old = await state_of(source, token())
    issuer.keys = public(NEW)
    assert isinstance(await state_of(source, token(NEW)), Known)
    assert issuer.fetched == 2
    assert (await source.reread([old]))[old.row].state == Unknown("unknown_key")
    assert await state_of(source, token()) == Unknown("unknown_key")


async def test_a_key_that_was_replaced_under_its_old_id(issuer, reading):
    source = reading()
    await state_of(source, token())
    issuer.keys = [NEW.as_dict(private=False) | {"kid": "r1"}]
    assert isinstance(await state_of(source, token(NEW, header={"kid": "r1"})), Known)


@pytest.mark.parametrize("kid", ["r1", None])
async def test_a_new_key_that_cannot_be_fetched_now_is_no_refusal(issuer, reading, kid):
    """Neither while the issuer is away nor while forgeries use up what we may ask; those are refused while the set is young."""
    clock = Clock()
    source, new = reading(clock=clock), token(NEW, header={"kid": kid})
    await state_of(source, token())
    forged = [await state_of(source, token(NEW, header={"kid": "r1"}, jti=str(number))) for number in range(20)]
    assert {Unknown("bad_signature")} == set(forged)
    issuer.keys = [NEW.as_dict(private=False) | {"kid": "r1"}]
    clock.now += 10.5
    while source.keys._surprises.take():
        pass
    assert await state_of(source, new) == Unavailable(
        "overload", "a signature that does not fit, and the key set was asked for too often just now"
    )
    clock.now += 10.5
    issuer.script = resets
    assert isinstance(await state_of(source, new), Unavailable)
    issuer.script = None
    clock.now += 10.5
    assert isinstance(await state_of(source, new), Known)


async def test_a_token_without_a_key_id_is_tried_with_every_key(reading):
    assert isinstance(await state_of(reading(), token(EC, "ES256", {"kid": None})), Known)


async def test_guesses_cost_the_issuer_few_fetches_and_nobody_a_refusal(issuer, reading):
    clock = Clock()
    source = reading(clock=clock)
    guesses = [token(NEW, header={"kid": f"guess-{number}"}) for number in range(30)]
    states = [await state_of(source, guess) for guess in guesses]
    assert issuer.fetched <= 7
    assert {s.why for s in states if isinstance(s, Unavailable)} == {"overload"}
    assert Unknown("unknown_key") in states
    assert isinstance(await state_of(source, token()), Known)
    fetched = issuer.fetched
    assert await state_of(source, guesses[0]) == Unknown("unknown_key")
    assert issuer.fetched == fetched
    clock.now += 10
    issuer.keys = public(RSA, NEW)
    assert isinstance(await state_of(source, token(NEW)), Known)


def test_absent_ids_are_bounded(reading):
    keys = reading().keys
    for number in range(ABSENT_LIMIT + 10):
        keys._remember_absent(str(number))
    assert len(keys._absent) == ABSENT_LIMIT


FAULTS: Final = {
    "slow": (hangs, "timeout"),
    "half-open": (half_open, "timeout"),
    "reset": (resets, "error"),
    "cut": (cut, "error"),
    "500": (says("", 500), "error"),
    "404": (says('{"keys":[]}', 404), "error"),
    "a page": (says("<html>"), "error"),
    "no keys": (says('{"keys":[]}'), "error"),
    "null": (says('{"keys":null}'), "error"),
    "keys that are none": (says('{"keys":[7,null,{"kty":"RSA"},{"kty":["x"]}]}'), "error"),
    "a weak key alone": (says(json.dumps({"keys": [WEAK_PARTS]})), "error"),
    "a symmetric key alone": (says('{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}'), "error"),
    "a private key alone": (says(json.dumps({"keys": [NEW.as_dict(private=True)]})), "error"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_issuer_on_bad_days_is_no_refusal(issuer, reading, fault):
    clock = Clock()
    issuer.script, why = FAULTS[fault]
    source = reading(clock=clock, timeout=0.3, grace=100)
    async with asyncio.timeout(60):
        state = await state_of(source, token())
    assert isinstance(state, Unavailable)
    assert state.why == why
    assert [finding.level for finding in await source.check()] == ["fault"]
    issuer.script = None
    row = await state_of(source, token())
    assert isinstance(row, Known)
    issuer.script = FAULTS[fault][0]
    new = await state_of(source, token(NEW))
    assert isinstance(new, Unavailable), "an unknown key while the issuer is away may be a new one"
    assert isinstance(await state_of(source, token(sub="other")), Known), "within the grace the keys at hand serve"
    clock.now += 101
    assert isinstance((await source.reread([row]))[row.row].state, Unavailable)
    assert isinstance(await state_of(source, token()), Unavailable)
    assert await state_of(source, "opaque") == Unknown("not_a_jwt")
    issuer.script = None
    await source.keys.fetch()
    assert (await source.reread([row]))[row.row].state == row


async def test_the_key_set_is_fetched_in_its_rhythm_and_sooner_after_a_failure(issuer, tasks):
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        issuer.script = says("", 500) if len(pauses) == 1 else None
        if len(pauses) == 3:
            raise asyncio.CancelledError

    keys = KeySet(KeysOptions(EndpointOptions(f"{issuer.url}/keys", 5.0)), tasks, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await keys.run()
    assert pauses == [300.0, 5.0, 300.0]


async def test_verified_tokens_are_not_verified_again_and_bounded(reading, monkeypatch):
    source = reading(limit=3)
    good = token()
    row = await state_of(source, good)
    monkeypatch.setattr("proxy.sources.jwt.source.signed_by", lambda *_: pytest.fail("verified again"))
    assert await state_of(source, good) == row
    monkeypatch.undo()
    rows = [await state_of(source, token(sub=f"s{number}")) for number in range(5)]
    assert (len(source), len(await source.reread(rows))) == (3, 3)


async def test_a_mangled_token_is_recognised(reading):
    source, good = reading(), token()
    await state_of(source, good)
    for presented, change in (
        (f"Bearer Bearer {good}", "scheme_doubled"),
        (f'"{good}"', "quoted"),
        (f"{good}%0A", "percent_encoded"),
    ):
        around = await source.surroundings(secret(presented), Unknown())
        assert [(m.change, m.fingerprint) for m in around.near_misses] == [(change, secret(good).fingerprint)]


@settings(deadline=None)
@given(st.binary(max_size=300) | st.lists(st.binary(max_size=30), min_size=3, max_size=3).map(
    lambda parts: b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"RS256"', *parts[1:]))
))  # fmt: skip
def test_any_bytes_are_opened_or_refused(raw):
    found = open_token(raw, ALGORITHMS)
    assert isinstance(found, Refused) or found.raw == raw


async def test_by_a_clock_of_ours_that_is_wrong_nobody_is_refused_and_nobody_let_in(issuer, reading, tasks):
    source = reading()
    judge = Judge(Fresh(source, tasks), Policy())
    now = time.time()
    lives = token(exp=now + 1_800)
    source._wall = lambda: time.time() + 3_600
    assert Unable(Reason.SOURCE_UNAVAILABLE) == (await judge.from_source(secret(lives), OTHER_READ)).verdict
    assert isinstance((await judge.from_source(secret(token(exp=now + 7_200)), OTHER_READ)).verdict, Allow)
    assert isinstance((await judge.from_source(secret(token(exp=now - 60)), OTHER_READ)).verdict, Deny)
    source._wall = lambda: time.time() - 3_600
    begun = await state_of(source, token(nbf=now - 60, iat=now - 60, exp=now + 1_800))
    assert begun == Unavailable("error", "it begins later by our clock, and not by the issuer's")
    assert await state_of(source, token(nbf=now + 600, iat=now - 60, exp=now + 1_800)) == Unknown("not_yet_valid")
    assert Unable(Reason.SOURCE_UNAVAILABLE) == (await judge.from_source(secret(token(exp=now - 600)), OTHER_READ)).verdict
