"""RFC 7662: what answers mean, whose fault a 401 is, how often is asked, and an endpoint on bad days."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known, Unavailable, Unknown
from proxy.core.verdict import Allow, Deny, Reason, Unable, decide
from proxy.edge.judge import Judge
from proxy.sources import endpoint
from proxy.sources.breaker import BreakerOptions, State
from proxy.sources.endpoint import EndpointOptions, _date
from proxy.sources.fresh import Fresh
from proxy.sources.introspection.answer import Claims, read_answer
from proxy.sources.introspection.source import FORGET_AFTER, Caller, Introspection, IntrospectionOptions
from tests.sources.conftest import FINGERPRINTER, secret
from tests.sources.issuer import BEARER, CLIENT, PASSWORD, Issuer, cut, half_open, hangs, resets, says

ACTIVE = {"active": True, "scope": "scim Other", "client_id": "acme", "token_type": "Bearer", "exp": 0, "iat": 1_777_802_400}
BASIC = Caller(CLIENT, PASSWORD)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    server = await Issuer().start()
    server.tokens["t"] = ACTIVE
    yield server
    await server.close()


@pytest.fixture
async def asking(issuer) -> AsyncIterator:
    made = []

    def build(caller: Caller = BASIC, clock: Clock | None = None, timeout: float = 5.0, **more) -> Introspection:
        at = EndpointOptions(
            more.pop("url", f"{issuer.url}/introspect"), timeout, breaker=more.pop("breaker", BreakerOptions())
        )
        made.append(Introspection(IntrospectionOptions(at, caller, **more), FINGERPRINTER, monotonic=clock or Clock()))
        return made[-1]

    yield build
    for source in made:
        await source.close()


ANY: Final = Claims()


def state_of(claims: Claims = ANY, **said):
    return read_answer(json.dumps(ACTIVE | said).encode(), "row", claims)


def test_a_token_of_doorkeeper_lives_for_ever_when_exp_is_0():
    state = state_of()
    assert state == Known(
        "row", "acme", 1_777_802_400.0, None, scopes=("scim", "Other"), application="acme", application_name="acme",
        stored="at the issuer",
    )  # fmt: skip
    assert decide(state, 4e9, 0.0, Policy(), OTHER_READ).reason is Reason.ACTIVE


@pytest.mark.parametrize(
    "said, expected",
    [
        ({"exp": 1_777_802_460}, (1_777_802_400.0, 60)),
        ({"exp": "1777802460", "iat": "1777802400"}, (1_777_802_400.0, 60)),
        ({"exp": 1_777_802_460.5}, (1_777_802_400.0, 61)),
        ({"exp": 60, "iat": None}, (0.0, 60)),
        ({"exp": None, "iat": None}, (0.0, None)),
    ],
)
def test_times_as_servers_write_them(said, expected):
    state = state_of(**said)
    assert (state.created_at, state.expires_in) == expected


@pytest.mark.parametrize("wrong", [-1, True, [], {}, "soon", 1e30, "9" * 20, "٣"])
def test_a_time_that_is_none_is_no_refusal(wrong):
    assert isinstance(state_of(exp=wrong), Unavailable)
    assert isinstance(state_of(iat=wrong), Unavailable)


HALF = b'{"active": true, "client_id": "okta\\ud800"}'
"""Half a character: JSON to Python, and nothing that a record of a refusal could hold."""


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"active":"true"}', b'{"active":1}', b"[" * 9_999, b"\xff", HALF]
)
def test_what_is_no_answer_is_no_refusal(body):
    assert isinstance(read_answer(body, "row", Claims()), Unavailable)


VALUES = st.integers() | st.text() | st.none() | st.lists(st.text(), max_size=2)
SAID = st.dictionaries(st.sampled_from([*ACTIVE, "sub", "aud"]), VALUES).map(lambda more: json.dumps(ACTIVE | more).encode())


@settings(deadline=None)
@given(st.binary(max_size=60) | SAID)
def test_any_bytes_are_a_state(body):
    assert isinstance(read_answer(body, "row", Claims(audiences=frozenset("a"))), Known | Unknown | Unavailable)


@pytest.mark.parametrize("said", [{"token_use": "refresh_token"}, {"typ": "Refresh"}, {"token_type": "refresh_token"}])
def test_a_refresh_token_is_refused_where_the_server_tells(said):
    assert state_of(**said) == Unknown("refresh_token")


@pytest.mark.parametrize("aud, taken", [("scim", True), (["x", "scim"], True), ("other", False), (None, False), (7, False)])
def test_an_audience_is_asked_for_where_one_is_configured(aud, taken):
    state = state_of(Claims(audiences=frozenset({"scim"})), aud=aud)
    assert isinstance(state, Known) if taken else state == Unknown("wrong_audience")


def test_a_claim_names_the_tenant_and_a_table_renames_it():
    assert state_of(Claims("org"), org="o-7").tenant == "o-7"
    assert state_of(Claims("org", {"o-7": "acme"}), org="o-7").tenant == "acme"
    assert state_of(Claims("org"), org=7).tenant == "_none"
    assert state_of(sub="u1").owner == "u1"
    assert state_of(username="joe").owner == "joe"


@pytest.mark.parametrize("caller", [BASIC, Caller(CLIENT, PASSWORD, in_form=True), Caller(bearer=BEARER)], ids=str)
async def test_each_way_of_asking(asking, caller):
    source = asking(caller)
    reading = await source.read(secret("t"))
    assert (type(reading.state), reading.source, reading.via) == (Known, "introspection", "introspection")
    assert (await source.read(secret("guess"))).state == Unknown()


async def test_our_own_wrong_credentials_are_never_a_refusal(asking):
    for caller in (Caller(CLIENT, "wrong"), Caller(CLIENT, "wrong", in_form=True), Caller(bearer="wrong")):
        source = asking(caller, doorkeeper=True)
        state = (await source.read(secret("t"))).state
        assert isinstance(state, Unavailable)
        assert "wrong" not in str(state)
        assert (await source.check())[0].level == "fault"


DOORKEEPER_401 = 'Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token {}"'


@pytest.mark.parametrize(
    "says_it, doorkeeper, expected",
    [("is invalid", True, Unknown), ("was revoked", True, Unavailable), ("expired", True, Unavailable),
     ("is invalid", False, Unavailable), ("ist ungültig", True, Unavailable)],
)  # fmt: skip
async def test_a_401_to_a_bearer_means_the_token_or_ourselves(issuer, asking, says_it, doorkeeper, expected):
    issuer.script = says("{}", 401, **{"WWW-Authenticate": DOORKEEPER_401.format(says_it)})
    assert type((await asking(Caller(bearer=BEARER), doorkeeper=doorkeeper).read(secret("t"))).state) is expected
    assert type((await asking(BASIC, doorkeeper=doorkeeper).read(secret("t"))).state) is Unavailable


FAULTS = {
    "slow": (hangs, {"timeout"}),
    "half-open": (half_open, {"timeout"}),
    "reset": (resets, {"error"}),
    "cut": (cut, {"error"}),
    "500": (says('{"active":false}', 500), {"error"}),
    "503": (says("busy", 503), {"error"}),
    "429": (says('{"active":false}', 429), {"overload"}),
    "redirect": (says("", 302, Location="/login"), {"error"}),
    "404": (says('{"active":false}', 404), {"error"}),
    "login page": (says("<html>sign in</html>"), {"error"}),
    "endless": (says(b"x" * 100_000), {"error"}),
    "inactive with a 201": (says('{"active":false}', 201), {"error"}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_endpoint_on_bad_days_is_unavailable(issuer, asking, fault):
    source = asking(timeout=0.3, recheck_every=0)
    row = (await source.read(secret("t"))).state
    issuer.script, whys = FAULTS[fault]
    async with asyncio.timeout(60):
        readings = [
            await source.read(secret("t")),
            await source.second_look(secret("u")),
            *(await source.reread([row])).values(),
        ]
        around = await source.surroundings(secret("Bearer Bearer t"), Unknown())
    assert [type(reading.state) for reading in readings] == [Unavailable] * 3
    assert {reading.state.why for reading in readings} == whys
    assert around.error is not None
    issuer.script = None
    assert (await source.read(secret("t"))).state == row


async def test_no_server_at_all_is_unavailable(asking):
    source = asking(url="http://127.0.0.1:1/introspect")
    state = (await source.read(secret("t"))).state
    assert isinstance(state, Unavailable)
    assert (state.why, state.detail) == ("refused", "Connection refused")


async def test_an_outage_opens_the_breaker_and_one_try_closes_it(issuer, asking):
    clock = Clock()
    source = asking(clock=clock, breaker=BreakerOptions(failures=2, pause=1))
    issuer.script = says("", 500)
    whys = [(await source.read(secret(f"t{n}"))).state.why for n in range(4)]
    assert (whys, len(issuer.asked), source.endpoint.breaker.state) == (["error", "error", "breaker", "breaker"], 2, State.OPEN)
    issuer.script = None
    clock.now += 1
    assert isinstance((await source.read(secret("t"))).state, Known)
    assert source.endpoint.breaker.state is State.CLOSED


async def test_connections_are_reused_and_a_closed_one_costs_no_request(issuer, asking):
    source = asking()
    for _ in range(20):
        await source.read(secret("t"))
    assert len(issuer.connections) == 1
    for connection in issuer.connections:
        connection.close()
    assert isinstance((await source.read(secret("t"))).state, Known)


async def test_more_calls_than_may_wait_are_an_overload(issuer, asking, monkeypatch):
    monkeypatch.setattr(endpoint, "WAITING_LIMIT", 5)
    issuer.script = hangs
    source = asking(timeout=0.3)
    readings = await asyncio.gather(*(source.read(secret(f"g{n}")) for n in range(12)))
    whys = [reading.state.why for reading in readings]
    assert (whys.count("overload"), whys.count("timeout")) == (7, 5)


async def test_tokens_in_use_are_asked_about_again_only_when_it_is_time(issuer, asking):
    clock = Clock()
    source = asking(clock=clock, recheck_every=10)
    reading = await source.read(secret("t"))
    row = reading.state
    clock.now += 9
    assert (await source.reread([row]))[row.row] is reading
    assert len(issuer.asked) == 1
    clock.now += 1
    again = (await source.reread([row]))[row.row]
    assert (again.state, again is reading, len(issuer.asked)) == (row, False, 2)
    issuer.tokens["t"] = {"active": False}
    clock.now += 10
    assert (await source.reread([row]))[row.row].state == Unknown()
    assert list(await source.reread([row])) == []


async def test_secrets_are_kept_of_living_tokens_in_use_alone_and_within_a_limit(issuer, asking):
    clock = Clock()
    for number in range(5):
        issuer.tokens[f"t{number}"] = ACTIVE
    source = asking(clock=clock, secrets_limit=3)
    rows = [(await source.read(secret(f"t{number}"))).state for number in range(5)]
    await source.read(secret("guess"))
    assert (len(source), list(await source.reread(rows))) == (3, [row.row for row in rows[2:]])
    clock.now += FORGET_AFTER + 1
    assert (list(await source.reread(rows)), len(source)) == ([], 0)


async def test_a_round_that_takes_too_long_ends_and_says_so(issuer, asking, monkeypatch):
    monkeypatch.setattr("proxy.sources.introspection.source.ROUND_SECONDS", 0.2)
    source = asking(recheck_every=0, timeout=60)
    row = (await source.read(secret("t"))).state
    issuer.script = hangs
    state = (await source.reread([row]))[row.row].state
    assert isinstance(state, Unavailable)
    assert state.why == "overload"


async def test_by_a_clock_of_ours_that_is_wrong_nobody_is_refused_whom_the_endpoint_calls_active(issuer, asking, tasks):
    source = asking()
    source._wall = lambda: time.time() + 3_600
    issuer.tokens["t"] = ACTIVE | {"exp": int(time.time()) + 1_800}
    judge = Judge(Fresh(source, tasks), Policy())
    assert Unable(Reason.SOURCE_UNAVAILABLE) == (await judge.from_source(secret("t"), OTHER_READ)).verdict
    issuer.tokens["t"] = ACTIVE
    assert isinstance((await judge.fresh(secret("t"), OTHER_READ)).verdict, Allow)
    issuer.tokens["t"] = {"active": False}
    assert isinstance((await judge.fresh(secret("t"), OTHER_READ)).verdict, Deny)


async def test_guesses_that_take_every_connection_keep_no_revocation_from_being_seen(issuer, asking):
    source = asking(recheck_every=0.0)
    row = (await source.read(secret("t"))).state

    async def answers_no_guess(request):
        return await (says('{"active": false}') if (await request.post())["token"] == "t" else hangs)(request)

    issuer.script = answers_no_guess
    guesses = [asyncio.create_task(source.read(secret(f"guess-{n}"))) for n in range(20)]
    while len(issuer.asked) < 1 + EndpointOptions("").connections:
        await asyncio.sleep(0.01)
    assert (await source.reread([row]))[row.row].state == Unknown()
    for guess in guesses:
        guess.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)


async def test_doctor_says_what_it_cannot_see(asking):
    assert [finding.level for finding in await asking().check()] == ["ok", "warning"]


async def test_nothing_prints_a_secret(asking):
    source = asking(Caller(CLIENT, "the-client-secret"))
    await source.read(secret("t"))
    assert "the-client-secret" not in f"{source._options!r}{msgspec.json.encode(await source.check())!r}"


@pytest.mark.parametrize(
    "date, age, expected",
    [
        ("Mon, 30 Nov 2026 18:00:00 GMT", "", 1_796_061_600.0),
        ("Mon, 30 Nov 2026 18:00:00 GMT", "60", 1_796_061_660.0),
        ("Mon, 30 Nov 2026 18:00:00 GMT", "-60", 1_796_061_600.0),
        ("", "", None),
        ("yesterday", "60", None),
        ("Mon, 30 Nov 99999999999 18:00:00 GMT", "", None),
    ],
)
def test_the_time_of_an_answer_is_read_or_is_none(date, age, expected):
    assert expected == _date(date, age)
