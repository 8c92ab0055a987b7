"""Reading calls and answers: any bytes give a value, secrets come out as fingerprints only."""

from __future__ import annotations

import base64
import gzip
import json
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credential import Fingerprinter
from proxy.core.grammar import Fields, parse_fields
from proxy.core.oauth import COPY_LIMIT, Copy, Paths, endpoint_of, event_of, lint, read_answer, read_call, refused

NAME = Fingerprinter(b"k" * 32).of
FORM = b"Content-Type: application/x-www-form-urlencoded"
JSON = b"Content-Type: application/json; charset=utf-8"
ISSUED = {"access_token": "an-access-token", "token_type": "Bearer", "expires_in": 7200, "refresh_token": "a-refresh-token"}


def fields(*lines: bytes) -> Fields:
    parsed = parse_fields(list(lines))
    assert not isinstance(parsed, str)
    return parsed


def issued(lines=(JSON, b"Cache-Control: no-store"), status=200, **members):
    said = {key: value for key, value in (ISSUED | members).items() if value is not None}
    return read_answer(status, fields(*lines), Copy(json.dumps(said).encode()), NAME)


@pytest.mark.parametrize(
    "endpoint, method, target",
    [
        ("token", b"POST", b"/oauth/token"),
        ("token", b"POST", b"/oauth/token?client_id=1"),
        ("authorize", b"GET", b"/oauth/authorize?response_type=code"),
        ("revoke", b"POST", b"/oauth/revoke"),
        ("introspect", b"POST", b"/oauth/introspect"),
        ("", b"GET", b"/oauth/token"),
        ("", b"PUT", b"/oauth/token"),
        ("", b"POST", b"/oauth/token/"),
        ("", b"POST", b"/oauth//token"),
        ("", b"POST", b"//oauth/token"),
        ("", b"POST", b"/oauth/Token"),
        ("", b"POST", b"/oauth/tok%65n"),
        ("", b"POST", b"/oauth/token;a=b"),
        ("", b"POST", b"/oauth/x/../token"),
        ("", b"POST", b"/oauth/token/../../scim/v2/Users"),
        ("", b"POST", b"/oauth/token.json"),
        ("", b"POST", b"/oauth/token%3F"),
        ("", b"POST", b"/oauth\\token"),
        ("", b"POST", b"*"),
        ("", b"GET", b"/scim/v2/Users?/oauth/token"),
    ],
)
def test_only_exactly_the_path_is_an_endpoint(endpoint, method, target):
    assert endpoint == endpoint_of(method, target, Paths())


@pytest.mark.parametrize(
    "lines, body",
    [
        ((FORM,), b"grant_type=refresh_token&refresh_token=r1&client_id=okta&client_secret=s3cr3t"),
        ((JSON,), b'{"grant_type":"refresh_token","refresh_token":"r1","client_id":"okta","client_secret":"s3cr3t"}'),
        (
            (FORM, b"Authorization: Basic " + base64.b64encode(b"okta:s3cr3t")),
            b"grant_type=refresh%5Ftoken&refresh_token=%72%31",
        ),
        (
            (FORM, b"Content-Encoding: gzip"),
            gzip.compress(b"grant_type=refresh_token&refresh_token=r1&client_id=okta&client_secret=s3cr3t"),
        ),
    ],
    ids=["form", "json", "basic", "gzip"],
)
def test_a_refresh_however_it_is_sent(lines, body):
    call = read_call("token", b"/oauth/token", fields(*lines), Copy(body), NAME)
    assert ("refresh_token", "okta", "") == (call.grant_type, call.client, call.unread)
    assert (NAME(b"r1"), True) == (call.refresh and call.refresh.fingerprint, b"s3cr3t" in {s.reveal() for s in call.secrets})


def test_an_answer_that_issues_and_one_that_refuses():
    answer = issued()
    assert (True, 7200, True, True) == (answer.granted, answer.expires_in, answer.refresh_issued, answer.no_store)
    refusal = read_answer(400, fields(JSON), Copy(b'{"error":"invalid_grant","error_description":"secret"}'), NAME)
    assert ("invalid_grant", False, True) == (refusal.error, refusal.granted, refused("token", refusal))


def test_an_error_of_their_own_invention_is_other_for_it_may_hold_anything():
    assert "other" == read_answer(400, fields(JSON), Copy(b'{"error":"hunter2"}'), NAME).error


def test_the_error_of_a_redirect():
    to = fields(b"Location: https://okta.example/cb?error=access_denied&state=xyz")
    assert "access_denied" == read_answer(302, to, Copy(), NAME).error


@pytest.mark.parametrize("status", [200, 302, 429, 500, 503])
def test_what_is_no_refusal(status):
    assert not refused("token", read_answer(status, fields(JSON), Copy(b"{}"), NAME))


def test_a_device_that_shall_wait_is_not_refused():
    assert not refused("token", read_answer(400, fields(JSON), Copy(b'{"error":"authorization_pending"}'), NAME))


@pytest.mark.parametrize(
    "finding, answer",
    [
        ((), issued()),
        ((), issued(refresh_token=None, expires_in=None)),
        (("refresh_missing",), issued(refresh_token=None)),
        (("expires_in_beyond_32_bits",), issued(expires_in=2**31)),
        ((), issued(expires_in=2**31 - 1)),
        (("type_not_bearer",), issued(token_type="mac")),
        (("type_not_bearer",), issued(token_type=None)),
        (("no_store_missing",), issued(lines=(JSON,))),
        ((), issued(lines=(JSON, b"Cache-Control: private, No-Store"))),
        ((), issued(status=400)),
    ],
)
def test_lint(finding, answer):
    call = read_call("token", b"/oauth/token", fields(FORM), Copy(b"grant_type=authorization_code&code=c"), NAME)
    assert finding == lint(call, answer)


def test_a_machine_is_not_blamed_for_having_no_refresh_token():
    call = read_call("token", b"/oauth/token", fields(FORM), Copy(b"grant_type=client_credentials"), NAME)
    assert () == lint(call, issued(refresh_token=None))


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(b"a" * 50_000_000)[:COPY_LIMIT]
    assert "too_large" == read_answer(200, fields(JSON, b"Content-Encoding: gzip"), Copy(bomb), NAME).unread


def test_a_coding_nobody_here_knows_is_said_to_be_unread():
    assert "encoding" == read_answer(200, fields(JSON, b"Content-Encoding: br"), Copy(b"x"), NAME).unread


BODIES = st.one_of(
    st.binary(max_size=400),
    st.binary(max_size=200).map(gzip.compress),
    st.binary(max_size=200).map(zlib.compress),
    st.dictionaries(
        st.sampled_from([*ISSUED, "error", "grant_type"]), st.one_of(st.none(), st.floats(), st.integers(), st.text())
    ).map(lambda d: json.dumps(d).encode()),
    st.dictionaries(st.sampled_from(["grant_type", "refresh_token", "token", "client_id"]), st.text()).map(
        lambda d: "&".join(f"{k}={v}" for k, v in d.items()).encode()
    ),
)  # fmt: skip
LINES = st.lists(
    st.one_of(
        st.sampled_from([FORM, JSON, b"Content-Encoding: gzip", b"Content-Encoding: deflate", b"Cache-Control: no-store"]),
        st.binary(max_size=60).map(lambda b: b"Authorization: Basic " + base64.b64encode(b)),
        st.binary(max_size=60).map(lambda b: b"Authorization: " + b.translate(None, b"\r\n\x00")),
    ),
    max_size=4,
)


@given(endpoint=st.sampled_from(["token", "authorize", "revoke", "introspect"]), lines=LINES, body=BODIES, other=BODIES,
       status=st.integers(100, 999), query=st.binary(max_size=60))  # fmt: skip
def test_any_bytes_give_a_value_that_can_be_written_down(endpoint, lines, body, other, status, query):
    parsed = parse_fields(lines)
    if isinstance(parsed, str):
        return
    call = read_call(endpoint, b"/x?" + query, parsed, Copy(body), NAME)
    answer = read_answer(status, parsed, Copy(other), NAME)
    event = event_of(call, answer, 1.0, "id", "agent", lambda _: "")
    written = msgspec.json.encode(event)
    assert event == msgspec.json.decode(written, type=type(event))


@given(secret=st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=16, max_size=60))
def test_no_secret_is_in_what_is_written_down(secret):
    secret = f"Z{secret}"  # no word of a closed set
    raw = secret.encode()
    for key in ("refresh_token", "code", "client_secret", "token", "password"):
        body = f"grant_type={secret}&client_id={secret}&{key}={secret}".encode()
        call = read_call("token", b"/oauth/token", fields(FORM), Copy(body), NAME)
        answer = issued(access_token=secret, refresh_token=secret, token_type=secret, error=secret)
        assert raw not in msgspec.json.encode(event_of(call, answer, 1.0, "id", "", lambda _: ""))
