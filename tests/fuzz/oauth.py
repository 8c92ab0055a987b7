"""Calls of the OAuth endpoints and their answers, of which copies are read."""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.core.credential import Fingerprinter
from proxy.core.grammar import Fields, Limits, parse_fields
from proxy.core.inbound import Inbound, parse_request
from proxy.core.oauth import Copy, event_of, read_answer, read_call
from tests.fuzz.target import AT, CANARY, JSON_WORDS, Target, words

NAMES: Final = Fingerprinter(b"k" * 32)
ENDPOINTS: Final = ("token", "authorize", "revoke", "introspect")


def oauth(data: bytes) -> bool:
    """Of a call and its answer, whatever they are, no secret is written down, and what is written is read back."""
    head, _, rest = data.partition(b"\r\n\r\n")
    body, _, said = rest.partition(b"\r\n\r\n")
    asking = parse_request(head, Limits())
    fields: Fields = asking.fields if isinstance(asking, Inbound) else []
    target = asking.target if isinstance(asking, Inbound) else b"/oauth/token"
    lines = parse_fields(head.split(b"\r\n")[1:])
    answer_fields = lines if isinstance(lines, list) else []
    accepted = False
    for endpoint in ENDPOINTS:
        call = read_call(endpoint, target, fields, Copy(body), NAMES.of)
        for status in (200, 302, 400):
            answer = read_answer(status, answer_fields, Copy(said), NAMES.of)
            event = event_of(call, answer, AT, "1", "agent", lambda _: "")
            written = msgspec.json.encode(event)
            assert event == msgspec.json.decode(written, type=type(event))
            issued = [one for one in (answer.created, answer.refresh, answer.code) if one]
            # no client knows beforehand what will be issued, and so can call itself that
            secrets = [*call.secrets, *(issued if CANARY not in call.client else ())]
            for secret in secrets:
                assert not secret.reveal().startswith(CANARY.encode()) or secret.reveal() not in written
            if event.expires_in is not None:
                assert abs(event.expires_in) <= 2**53
            assert len(written) < 4_096
            accepted = accepted or bool(secrets)
    return accepted


_C: Final = CANARY.encode()
_POST: Final = b"POST /oauth/token HTTP/1.1\r\nHost: h\r\nContent-Type: application/"

TARGETS: Final = (
    Target(
        "oauth",
        oauth,
        [
            _POST
            + b"x-www-form-urlencoded\r\n\r\ngrant_type=refresh_token&refresh_token=%b&client_id=okta" % _C
            + b'\r\n\r\n{"access_token": "%b2", "refresh_token": "x", "expires_in": "3600", "token_type": "Bearer"}' % _C,
            _POST + b"json\r\nAuthorization: Basic b2t0YTpzM2NyM3Q=\r\n\r\n"
            b'{"grant_type": "authorization_code", "code": "%b"}\r\n\r\n{"error": "invalid_grant"}' % _C,
            b"GET /oauth/authorize?client_id=%b&redirect_uri=x HTTP/1.1\r\nHost: h\r\nLocation: /cb?code=%b#x\r\n\r\n"
            % (_C, _C),
            _POST + b"x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08",
            b"x",
        ],
        words(
            b'grant_type= refresh_token= client_id= client_secret= code= & % "expires_in": "access_token":" "invalid_grant"',
            *words(b"POST GET /oauth/authorize? /oauth/token?"),
            b"\r\n\r\n",
            b"\r\nContent-Encoding: gzip",
            b"\r\nAuthorization: Basic ",
            b"\r\nAuthorization: Bearer ",
            _C,
            *JSON_WORDS,
        ),
    ),
)
