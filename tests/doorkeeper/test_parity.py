"""Token by token, in every way the vendor may keep them: the proxy's verdict is Doorkeeper's own answer.

Each case is judged three times: by source and `decide` alone, by Doorkeeper alone, and by `scim-witness run` in front of it.
A difference that is meant stands in the case with its reason, and at the end of the run in a table.
"""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import pytest

from proxy.core.credential import Bearer, Fingerprinter, extract
from proxy.core.policy import Policy
from proxy.core.scim import classify
from proxy.core.verdict import Allow, Reason, Verdict, decide
from proxy.sources.doorkeeper.options import Hashing, Options, Owner
from proxy.sources.doorkeeper.postgres import doorkeeper_on_postgres
from proxy.tasks import Tasks
from tests.doorkeeper.asking import Answer, ask, bearer
from tests.doorkeeper.conftest import DIFFERENCES
from tests.doorkeeper.vendor import CALLBACK, MODES, TEN_YEARS, Customer, Issued, Vendor
from tests.sources.doorkeeper_tables import digest

pytestmark = pytest.mark.doorkeeper

FINGERPRINTER: Final = Fingerprinter(b"a key of a test, 32 bytes long..")
WORDS: Final = {Reason.REVOKED: "revoked", Reason.EXPIRED: "expired", Reason.INSUFFICIENT_SCOPE: "scopes"}
UTC_NOW: Final = "clock_timestamp() AT TIME ZONE 'utc'"

Fields = Sequence[tuple[str, bytes]]


def word_of(verdict: Verdict) -> str:
    return "alive" if isinstance(verdict, Allow) else WORDS.get(verdict.reason, "unknown")


@pytest.fixture(params=list(MODES))
def vendor(request, vendors):
    return vendors(TOKEN_SECRETS=request.param)


@pytest.fixture
async def customer(vendor):
    return await vendor.sign_up("acme")


@pytest.fixture
async def judge(vendor) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """judge(fields, need): what the proxy's own parts think of a request with these fields."""
    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
    options = Options(primary=vendor.dsn, hashing=Hashing(MODES[vendor.mode]), owner=Owner("service_accounts", active="active"))
    source = doorkeeper_on_postgres(options, FINGERPRINTER, tasks)

    async def judged(fields: Fields, need: str = "") -> str:
        credential = extract([value for name, value in fields if name == "Authorization"], FINGERPRINTER)
        operation, policy = classify(b"GET", b"/scim/v2/Users", b"/scim/v2"), Policy(read_scopes=frozenset(need.split()))
        if not isinstance(credential, Bearer):
            return word_of(decide(credential, time.time(), 0, policy, operation))
        reading = await source.read(credential.secret)
        return word_of(decide(reading.state, reading.source_time or time.time(), 0, policy, operation))

    yield judged
    await source.close()
    await tasks.close()


@pytest.fixture
def proxied(vendor, proxies):
    return proxies(vendor)


async def same_answer(vendor, proxied, judge, fields: Fields, expected: str, need: str = "") -> None:
    """All three say `expected`. The parts first: Doorkeeper's own look rewrites rows (rotation, fallback)."""
    target = "/scim/v2/Users" + ("?need=" + need.replace(" ", "+") if need else "")
    parts = await judge(fields, need)
    wired = await ask(proxied.address, target, fields=fields)
    alone = await ask(vendor.address, target, fields=fields)
    assert (expected, expected, expected) == (alone.word, parts, wired.word), alone
    assert (expected in ("alive", "scopes")) is wired.from_rails, "only what the proxy allowed has reached the vendor"
    assert expected == await judge(fields, need), "still so after Doorkeeper's own look at the row"


class State(NamedTuple):
    name: str
    expected: str
    columns: dict[str, str]
    need: str = ""


STATES: Final = (
    State("never expires", "alive", {}),
    State("ten years", "alive", {"expires_in": str(TEN_YEARS)}),
    State("the longest that fits", "alive", {"expires_in": "2147483647"}),
    State("revoked an hour ago", "revoked", {"revoked_at": f"{UTC_NOW} - interval '1 hour'"}),
    State("revoked a moment ago", "revoked", {"revoked_at": UTC_NOW}),
    State("revoked in an hour", "alive", {"revoked_at": f"{UTC_NOW} + interval '1 hour'"}),
    State("revoked in the year 9999", "alive", {"revoked_at": "'9999-12-31'"}),
    State("revoked in the year 1", "revoked", {"revoked_at": "'0001-01-01'"}),
    State("expired an hour ago", "expired", {"created_at": f"{UTC_NOW} - interval '2 hours'", "expires_in": "3600"}),
    State("expired a second ago", "expired", {"created_at": f"{UTC_NOW} - interval '61 s'", "expires_in": "60"}),
    State("expires in a minute", "alive", {"created_at": f"{UTC_NOW} - interval '1 hour'", "expires_in": "3660"}),
    State("expires_in 0", "expired", {"created_at": f"{UTC_NOW} - interval '1 ms'", "expires_in": "0"}),
    State("expires_in negative", "expired", {"expires_in": "-1"}),
    State("expires_in negative, created ahead", "alive", {"created_at": f"{UTC_NOW} + interval '1 h'", "expires_in": "-60"}),
    State("created ahead of the clock", "alive", {"created_at": f"{UTC_NOW} + interval '1 day'"}),
    State("created ahead, expires_in 0", "alive", {"created_at": f"{UTC_NOW} + interval '1 day'", "expires_in": "0"}),
    State("created in the year 1", "alive", {"created_at": "'0001-01-01'"}),
    State("created at the end of time", "alive", {"created_at": "'infinity'", "expires_in": "60"}),
    State("created before all time", "expired", {"created_at": "'-infinity'", "expires_in": "60"}),
    State("created before all time, never expires", "alive", {"created_at": "'-infinity'"}),
    State("created before Christ", "alive", {"created_at": "'0044-03-15 BC'"}),
    State("revoked and expired", "revoked", {"revoked_at": UTC_NOW, "expires_in": "-1"}),
    State("to be revoked and expired", "expired", {"revoked_at": f"{UTC_NOW} + interval '1 hour'", "expires_in": "-1"}),
    State("no owner", "alive", {"resource_owner_id": "NULL"}),
    State("owner deleted", "alive", {"resource_owner_id": "999999999"}),
    State("one of the scopes", "alive", {"scopes": "'billing scim'"}, "scim scim.write"),
    State("none of the scopes", "scopes", {"scopes": "'billing'"}, "scim scim.write"),
    State("scopes NULL", "scopes", {"scopes": "NULL"}, "scim"),
    State("scopes empty", "scopes", {"scopes": "''"}, "scim"),
    State("no scope demanded", "alive", {"scopes": "NULL"}),
    State("scopes parted by commas", "scopes", {"scopes": "'scim,billing'"}, "scim"),
    State("scopes parted by tabs and lines", "alive", {"scopes": r"E'billing\t\n scim\x0bx\fy\r'"}, "scim"),
    State("scope behind a vertical tab", "alive", {"scopes": r"E'a\x0bscim\x0bb'"}, "scim"),
    State("scope before a no-break space", "scopes", {"scopes": r"E'scim\u00a0'"}, "scim"),
    State("scope in capitals", "scopes", {"scopes": "'SCIM'"}, "scim"),
    State("scope that begins alike", "scopes", {"scopes": "'scim.write'"}, "scim"),
    State("revoked, without scope", "revoked", {"scopes": "'billing'", "revoked_at": UTC_NOW}, "scim"),
    State("expired, without scope", "expired", {"scopes": "'billing'", "expires_in": "-1"}, "scim"),
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
async def test_state(vendor, proxied, judge, customer, state):
    issued = await vendor.issue(customer)
    if state.columns:
        await vendor.set(issued.id, **state.columns)
    await same_answer(vendor, proxied, judge, bearer(issued.token), state.expected, state.need)


async def test_the_owner_is_inactive(vendor, proxied, judge, customer):
    issued = await vendor.issue(customer)
    await vendor.sql("UPDATE service_accounts SET active = false WHERE id = $1", customer.account)
    await same_answer(vendor, proxied, judge, bearer(issued.token), "alive")


async def test_the_application_is_destroyed(vendor, proxied, judge, customer):
    issued = await vendor.issue(customer)
    await vendor.destroy(customer)
    await same_answer(vendor, proxied, judge, bearer(issued.token), "unknown")


async def test_regenerated(vendor, proxied, judge, customer):
    old = await vendor.issue(customer)
    new = await vendor.regenerate(old)
    await same_answer(vendor, proxied, judge, bearer(old.token), "revoked")
    await same_answer(vendor, proxied, judge, bearer(new.token), "alive")


async def authorized(vendor: Vendor, customer: Customer) -> Issued:
    """A token by authorization code; its id is not told to clients."""
    code = await vendor.code(customer)
    answer = await vendor.token_for(customer, grant_type="authorization_code", code=code, redirect_uri=CALLBACK)
    return Issued(0, answer.json["access_token"], answer.json["refresh_token"])


async def refreshed(vendor: Vendor, customer: Customer, issued: Issued) -> Issued:
    assert issued.refresh_token is not None
    answer = await vendor.token_for(customer, grant_type="refresh_token", refresh_token=issued.refresh_token)
    return Issued(0, answer.json["access_token"], answer.json["refresh_token"])


async def test_a_refresh_leaves_the_old_token_alive_until_the_new_one_is_used(vendor, proxied, judge, customer):
    old = await authorized(vendor, customer)
    await same_answer(vendor, proxied, judge, bearer(old.token), "alive")
    new = await refreshed(vendor, customer, old)
    assert "alive" == await judge(bearer(old.token)) == (await ask(vendor.address, fields=bearer(old.token))).word
    await same_answer(vendor, proxied, judge, bearer(new.token), "alive")
    assert "revoked" == await judge(bearer(old.token)) == (await ask(vendor.address, fields=bearer(old.token))).word


async def test_the_proxys_own_look_at_a_successor_rotates_nothing(vendor, judge, customer):
    old = await authorized(vendor, customer)
    new = await refreshed(vendor, customer, old)
    assert "alive" == await judge(bearer(new.token)) == await judge(bearer(new.token))
    assert "alive" == (await ask(vendor.address, fields=bearer(old.token))).word


async def test_other_secrets_are_no_bearer_tokens(vendor, proxied, judge, customer):
    code = await vendor.code(customer)
    issued = await vendor.issue(customer, refresh=True)
    for secret in (issued.refresh_token, code, customer.secret, customer.uid, digest("never issued"), str(issued.id)):
        await same_answer(vendor, proxied, judge, bearer(secret), "unknown")


async def test_a_leaked_digest(vendor, proxied, judge, customer):
    """Usable only with fallback: :plain, which then takes it for a plain token and rewrites the row: the true token dies."""
    issued = await vendor.issue(customer)
    leaked = bearer(digest(issued.token))
    expected = {"plain": "unknown", "hashed": "unknown", "fallback": "alive"}[vendor.mode]
    await same_answer(vendor, proxied, judge, leaked, expected)
    after = {"plain": "alive", "hashed": "alive", "fallback": "unknown"}[vendor.mode]
    await same_answer(vendor, proxied, judge, bearer(issued.token), after)


@pytest.mark.parametrize(
    "stored, expected",
    [
        (lambda token: token, {"plain": "alive", "hashed": "unknown", "fallback": "alive"}),
        (digest, {"plain": "unknown", "hashed": "alive", "fallback": "alive"}),
        (lambda token: digest(token).upper(), {"plain": "unknown", "hashed": "unknown", "fallback": "unknown"}),
        (lambda token: token.upper(), {"plain": "unknown", "hashed": "unknown", "fallback": "unknown"}),
        (lambda token: token + " ", {"plain": "unknown", "hashed": "unknown", "fallback": "unknown"}),
    ],
    ids=["stored plain", "stored as digest", "digest in capitals", "token in capitals", "blank at the end"],
)
async def test_a_row_from_another_time(vendor, proxied, judge, customer, stored, expected):
    issued = await vendor.issue(customer)
    await vendor.sql("UPDATE oauth_access_tokens SET token = $2 WHERE id = $1", issued.id, stored(issued.token))
    await same_answer(vendor, proxied, judge, bearer(issued.token), expected[vendor.mode])


@pytest.mark.parametrize("token", ["a.b.c", "a+b/c==", "~x_y-z", "Bearer", "x" * 1000, "a,b", "a%20b", 'a"b', "a'b", "\\", "é"])
async def test_tokens_of_other_generators(vendor, proxied, judge, customer, token):
    issued = await vendor.issue(customer)
    unique = f"{token}{issued.id}"
    stored = unique if vendor.mode == "plain" else digest(unique)
    await vendor.sql("UPDATE oauth_access_tokens SET token = $2 WHERE id = $1", issued.id, stored)
    if token.isascii():
        await same_answer(vendor, proxied, judge, bearer(unique), "alive")
    else:
        why = "RFC 6750 section 2.1: a token is printable ASCII"
        await differs(vendor, proxied, judge, f"a token with {token!r}", bearer(unique), "alive", "unknown", why)


T: Final = b"{T}"
FORMS: Final[dict[str, tuple[str, list[bytes]]]] = {
    "as it should be": ("alive", [b" Bearer {T}"]),
    "scheme in small letters": ("alive", [b" bearer {T}"]),
    "scheme in capitals": ("alive", [b" BEARER {T}"]),
    "scheme in mixed case": ("alive", [b" bEaReR {T}"]),
    "no space after the colon": ("alive", [b"Bearer {T}"]),
    "leading spaces": ("alive", [b"    Bearer {T}"]),
    "trailing space": ("alive", [b" Bearer {T} "]),
    "trailing tab": ("alive", [b" Bearer {T}\t"]),
    "two spaces after the scheme": ("unknown", [b" Bearer  {T}"]),
    "tab after the scheme": ("unknown", [b" Bearer\t{T}"]),
    "space, then tab after the scheme": ("unknown", [b" Bearer \t{T}"]),
    "in double quotes": ("unknown", [b' Bearer "{T}"']),
    "in single quotes": ("unknown", [b" Bearer '{T}'"]),
    "scheme twice": ("unknown", [b" Bearer Bearer {T}"]),
    "token alone": ("unknown", [b" {T}"]),
    "Token T": ("unknown", [b" Token {T}"]),
    "Token token=T": ("unknown", [b' Token token="{T}"']),
    "Basic T": ("unknown", [b" Basic {T}"]),
    "scheme with a colon": ("unknown", [b" Bearer: {T}"]),
    "scheme with an equals sign": ("unknown", [b" Bearer={T}"]),
    "whole field in the value": ("unknown", [b" Authorization: Bearer {T}"]),
    "comma behind": ("unknown", [b" Bearer {T},"]),
    "parameter behind": ("unknown", [b" Bearer {T}, realm=x"]),
    "word behind": ("unknown", [b" Bearer {T} x"]),
    "percent-encoded space": ("unknown", [b" Bearer%20{T}"]),
    "twice, the same": ("unknown", [b" Bearer {T}", b" Bearer {T}"]),
    "twice, the second empty": ("unknown", [b" Bearer {T}", b""]),
    "twice, the first empty": ("unknown", [b"", b" Bearer {T}"]),
    "twice, with Basic": ("unknown", [b" Basic eDp5", b" Bearer {T}"]),
    "none": ("unknown", []),
    "empty": ("unknown", [b""]),
    "blanks": ("unknown", [b"  \t "]),
    "scheme alone": ("unknown", [b" Bearer"]),
    "scheme and a space": ("unknown", [b" Bearer "]),
}


@pytest.mark.parametrize("form", list(FORMS))
async def test_header_form(vendor, proxied, judge, customer, form):
    expected, values = FORMS[form]
    issued = await vendor.issue(customer)
    fields = [("Authorization", value.replace(T, issued.token.encode())) for value in values]
    await same_answer(vendor, proxied, judge, fields, expected)


class Parameters(NamedTuple):
    """`proxy` and `why`: where the proxy says otherwise, on purpose."""

    expected: str
    query: str = ""
    kind: str = ""
    body: str = ""
    header: str = ""
    method: str = ""
    proxy: str = ""
    why: str = ""


FORM: Final = "application/x-www-form-urlencoded"
PARAMETERS: Final = {
    "access_token in the query": Parameters("alive", "access_token={T}"),
    "bearer_token in the query": Parameters("alive", "bearer_token={T}"),
    "access_token twice, the last alive": Parameters("alive", "access_token=x&access_token={T}"),
    "access_token twice, the first alive": Parameters("unknown", "access_token={T}&access_token=x"),
    "access_token as an array": Parameters("unknown", "access_token[]={T}"),
    "access_token of another case": Parameters("unknown", "Access_Token={T}"),
    "access_token empty": Parameters("unknown", "access_token="),
    "access_token empty, bearer_token alive": Parameters("alive", "access_token=&bearer_token={T}"),
    "access_token dead, bearer_token alive": Parameters("unknown", "access_token=x&bearer_token={T}"),
    "header alive, query dead": Parameters("alive", "access_token=x", header="Bearer {T}"),
    "header dead, query alive": Parameters("unknown", "access_token={T}", header="Bearer x"),
    "header of another scheme, query alive": Parameters("alive", "access_token={T}", header="Basic eDp5"),
    "header Bearer alone, query alive": Parameters("alive", "access_token={T}", header="Bearer"),
    "header empty, query alive": Parameters("alive", "access_token={T}", header=""),
    "access_token in a form": Parameters("alive", kind=FORM, body="access_token={T}"),
    "access_token in a form with charset": Parameters("alive", kind=FORM + "; charset=utf-8", body="a=b&access_token={T}"),
    "bearer_token in a form": Parameters("alive", kind=FORM, body="bearer_token={T}"),
    "access_token in a SCIM body": Parameters("unknown", kind="application/scim+json", body='{"access_token":"{T}"}'),
    "access_token in a JSON body": Parameters("alive", kind="application/json", body='{"access_token":"{T}"}'),
    "access_token in a JSON body that is no object": Parameters("unknown", kind="application/json", body='["{T}"]'),
    "name percent-encoded": Parameters("alive", "access%5Ftoken={T}"),
    "value behind a space": Parameters("unknown", "access_token=%20{T}"),
    "value before a space": Parameters("unknown", "access_token={T}+"),
    "name behind a space": Parameters("unknown", "+access_token={T}"),
    "as a hash": Parameters("unknown", "access_token[a]={T}"),
    "name alone": Parameters("unknown", "access_token"),
    "bearer_token twice": Parameters("alive", "bearer_token=x&bearer_token={T}"),
    "bearer_token of another case": Parameters("unknown", "Bearer_token={T}"),
    "a second question mark": Parameters("unknown", "?access_token={T}"),
    "query alive, form dead": Parameters("alive", "access_token={T}", FORM, "access_token=x"),
    "query dead, form alive": Parameters("unknown", "access_token=x", FORM, "access_token={T}"),
    "query empty, form alive": Parameters("unknown", "access_token=", FORM, "access_token={T}"),
    "query a list, form alive": Parameters("unknown", "access_token[]=x", FORM, "access_token={T}"),
    "query bearer_token alive, form access_token dead": Parameters("unknown", "bearer_token={T}", FORM, "access_token=x"),
    "query bearer_token dead, form access_token alive": Parameters("alive", "bearer_token=x", FORM, "access_token={T}"),
    "query access_token empty, form bearer_token alive": Parameters("alive", "access_token=", FORM, "bearer_token={T}"),
    "query alive, JSON dead": Parameters("alive", "access_token={T}", "application/json", '{"access_token":"x"}'),
    "query alive with a SCIM body": Parameters("alive", "access_token={T}", "application/scim+json", '{"a":1}'),
    "JSON null, bearer_token alive": Parameters(
        "alive", kind="application/json", body='{"access_token":null,"bearer_token":"{T}"}'
    ),
    "JSON number": Parameters("unknown", kind="application/json", body='{"access_token":7}'),
    "JSON list": Parameters("unknown", kind="application/json", body='{"access_token":["{T}"]}'),
    "JSON twice, the last alive": Parameters(
        "alive", kind="application/json", body='{"access_token":"x","access_token":"{T}"}'
    ),
    "JSON with charset": Parameters("alive", kind="application/json; charset=utf-8", body='{"access_token":"{T}"}'),
    "content type in capitals": Parameters("alive", kind=FORM.upper(), body="access_token={T}"),
    "form sent as text": Parameters("unknown", kind="text/plain", body="access_token={T}"),
    "form by PUT": Parameters("alive", kind=FORM, body="access_token={T}", method="PUT"),
    "form by PATCH": Parameters("alive", kind=FORM, body="access_token={T}", method="PATCH"),
    "form by DELETE": Parameters("alive", kind=FORM, body="access_token={T}", method="DELETE"),
    "form by GET": Parameters("alive", kind=FORM, body="access_token={T}", method="GET"),
    "query by HEAD": Parameters("alive", "access_token={T}", method="HEAD"),
    "header in quotes, query alive": Parameters("unknown", "access_token={T}", header='Bearer "x"'),
    "header of two words, query alive": Parameters("unknown", "access_token={T}", header="Bearer x y"),
    "header with a tab, query alive": Parameters("alive", "access_token={T}", header="Bearer\tx"),
    "header of the token alone, query alive": Parameters("alive", "access_token={T}", header="{T}"),
    "header Bearer alone, form alive": Parameters("alive", "", FORM, "access_token={T}", "Bearer "),
    "token as the password of Basic": Parameters("unknown", header="Basic {BASIC}"),
    "multipart": Parameters(
        "alive",
        kind="multipart/form-data; boundary=b",
        body='--b\r\nContent-Disposition: form-data; name="access_token"\r\n\r\n{T}\r\n--b--\r\n',
        proxy="unknown",
        why="RFC 6750 section 2.2 knows tokens in application/x-www-form-urlencoded alone",
    ),
    "form without a content type": Parameters(
        "alive", body="access_token={T}", method="POST", proxy="unknown", why="RFC 6750 section 2.2 demands the content type"
    ),
    "parted by a semicolon": Parameters("alive", "a=b;access_token={T}", proxy="unknown", why="Rack 3 does not either"),
    "JSON that is broken": Parameters(
        "400", kind="application/json", body='{"access_token":"{T}"', proxy="unknown", why="no token, whatever else it is"
    ),
    "a token that is no UTF-8": Parameters("400", "access_token=%ff", proxy="unknown", why="no token at all"),
}


@pytest.mark.parametrize("name", list(PARAMETERS))
async def test_parameter(vendor, proxied, customer, name):
    """With allow_query_token and allow_form_token; without them a token there is none, on purpose."""
    case = PARAMETERS[name]
    issued = await vendor.issue(customer)

    async def answer(address) -> Answer:
        basic = base64.b64encode(b"x:" + issued.token.encode()).decode()
        texts = (case.query, case.body, case.header)
        query, body, header = (text.replace("{T}", issued.token).replace("{BASIC}", basic) for text in texts)
        fields = [("Content-Type", b" " + case.kind.encode())] if case.kind else []
        fields += [("Authorization", b" " + header.encode())] if case.header or "header" in name else []
        method = case.method or ("POST" if case.kind else "GET")
        return await ask(address, f"/scim/v2/Users?{query}", method=method, fields=fields, body=body.encode())

    wired, alone = await answer(proxied.address), await answer(vendor.address)
    assert (case.expected, case.proxy or case.expected) == (alone.word, wired.word)
    if case.proxy:
        DIFFERENCES[name] = (case.expected, case.proxy, case.why)


async def differs(vendor, proxied, judge, name: str, fields: Fields, theirs: str, ours: str, why: str) -> None:
    """Doorkeeper and the proxy say otherwise, and it is meant."""
    assert ours == await judge(fields)
    wired, alone = await ask(proxied.address, fields=fields), await ask(vendor.address, fields=fields)
    assert (theirs, theirs if ours == "alive" else ours) == (alone.word, wired.word)
    if theirs != ours:
        DIFFERENCES[name] = (theirs, ours, why)


BREAKDOWNS: Final = {
    "revoked_at = infinity": (
        {"revoked_at": "'infinity'"},
        "500",
        "alive",
        "not revoked yet; forwarded, so that 500 reaches the client",
    ),
    "revoked_at = -infinity": ({"revoked_at": "'-infinity'"}, "500", "revoked", "revoked before all time"),
}


@pytest.mark.parametrize("name", list(BREAKDOWNS))
async def test_infinity_breaks_doorkeeper_and_not_the_proxy(vendor, proxied, judge, customer, name):
    columns, theirs, ours, why = BREAKDOWNS[name]
    issued = await vendor.issue(customer)
    await vendor.set(issued.id, **columns)
    await differs(vendor, proxied, judge, name, bearer(issued.token), theirs, ours, why)


async def test_octets_that_are_no_text_break_doorkeeper_and_not_the_proxy(vendor, proxied, judge):
    fields = [("Authorization", b" Bearer \xff\xfe")]
    theirs = {"plain": "500", "hashed": "unknown", "fallback": "500"}[vendor.mode]
    await differs(
        vendor, proxied, judge, f"octets that are no UTF-8 ({vendor.mode})", fields, theirs, "unknown", "no token at all"
    )
