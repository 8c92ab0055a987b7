"""What an OAuth call asked for and what it was answered (RFC 6749, 7009, 7662), read from copies of its bodies. Pure.

Any bytes give a value. Secrets come out as `Secret` and go no further than their fingerprint; of what a client or a server
may write freely only words of closed sets are kept, and the client's public id.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from proxy.core.credential import TOKEN_LIMIT, Secret
from proxy.core.grammar import Fields
from proxy.core.headers import value_of, values_of
from proxy.core.memory import OauthEvent
from proxy.core.scim import printable

COPY_LIMIT: Final = 65_536
"""Octets of a body that are looked at, also after decompression: a token request or answer has below 10 KiB."""
PARAMETERS_LIMIT: Final = 64
"""Parameters that are read of a form; RFC 6749 knows a dozen."""
CLIENT_LIMIT: Final = 128
"""Characters kept of a client id; Doorkeeper's have 43."""
HOLDS_IN_32_BITS: Final = 2**31 - 1
"""Seconds, 68 years: clients that hold expires_in as a signed 32-bit number overflow beyond it."""
OTHER: Final = "other"

Name = Callable[[bytes], str]

_METHODS: Final = {
    "token": frozenset((b"POST",)),
    "revoke": frozenset((b"POST",)),
    "introspect": frozenset((b"POST",)),
    "authorize": frozenset((b"GET", b"HEAD", b"POST", b"DELETE")),
}
"""RFC 6749 sections 3.1 and 3.2, RFC 7009 and 7662 section 2.1; Doorkeeper takes DELETE for a consent that is denied."""
_GRANTS: Final = {
    "authorization_code": "authorization_code",
    "refresh_token": "refresh_token",
    "client_credentials": "client_credentials",
    "password": "password",
    "urn:ietf:params:oauth:grant-type:device_code": "device_code",
    "urn:ietf:params:oauth:grant-type:jwt-bearer": "jwt_bearer",
}
_ERRORS: Final = frozenset(
    (
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
        "access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable", "invalid_token",
        "insufficient_scope", "unsupported_token_type", "invalid_redirect_uri", "forbidden_token",
        "invalid_code_challenge_method", "authorization_pending", "slow_down", "expired_token",
        "interaction_required", "login_required",
    )
)  # fmt: skip
"""RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750, 7009, 8628, and those of Doorkeeper's locale file."""
_WAITING: Final = frozenset(("authorization_pending", "slow_down"))
"""RFC 8628 section 3.5: not refused, only not yet granted."""
_SECRETS: Final = (
    "client_secret", "code", "refresh_token", "access_token", "token", "password", "code_verifier", "assertion",
    "client_assertion", "device_code",
)  # fmt: skip
_FORM: Final = b"application/x-www-form-urlencoded"


class Paths(msgspec.Struct, frozen=True):
    """Where the endpoints are. Compared with the raw path, octet by octet: nothing is decoded and nothing normalised."""

    token: bytes = b"/oauth/token"
    authorize: bytes = b"/oauth/authorize"
    revoke: bytes = b"/oauth/revoke"
    introspect: bytes = b"/oauth/introspect"


class Copy(msgspec.Struct, frozen=True):
    """What was copied of a body. `unread` says why that is not all of it (too_large, incomplete), empty when it is."""

    octets: bytes = b""
    unread: str = ""


class Call(msgspec.Struct, frozen=True):
    """What was asked. `token` is what is to be revoked or looked up, `secrets` are all secrets in the request, `redirect` is
    redirect_uri by fingerprint. `unread` says why the body was not read: too_large, incomplete, encoding, empty otherwise."""

    endpoint: str
    grant_type: str = ""
    client: str = ""
    refresh: Secret | None = None
    token: Secret | None = None
    secrets: tuple[Secret, ...] = ()
    unread: str = ""
    code: Secret | None = None
    redirect: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What was answered. `refresh_issued` is None where the body says nothing about tokens."""

    status: int
    error: str = ""
    created: Secret | None = None
    refresh: Secret | None = None
    refresh_issued: bool | None = None
    expires_in: int | None = None
    token_type: str = ""
    no_store: bool = False
    unread: str = ""
    code: Secret | None = None

    @property
    def granted(self) -> bool:
        """A token was issued."""
        return 200 <= self.status < 300 and self.created is not None


def endpoint_of(method: bytes, target: bytes, paths: Paths) -> str:
    """The name of the OAuth endpoint that a request is for, or nothing. What is not exactly one of them is none."""
    path = target.partition(b"?")[0]
    for name, methods in _METHODS.items():
        if path == getattr(paths, name):
            return name if method in methods else ""
    return ""


def read_call(endpoint: str, target: bytes, fields: Fields, body: Copy, name: Name) -> Call:
    """Read a request. `name` gives the fingerprint of a secret."""
    given = _query(target.partition(b"?")[2])
    octets, unread = _decoded(fields, body)
    given |= _parameters(value_of(fields, b"content-type"), octets)
    user, password = _basic(values_of(fields, b"authorization"))
    found = {key: _secret(given.get(key, b""), name) for key in _SECRETS}
    secrets = [*found.values(), _secret(password, name), *_bearers(fields, name)]
    known = tuple(secret for secret in secrets if secret is not None)
    grant = given.get("grant_type", b"").decode("latin-1")
    redirect = given.get("redirect_uri", b"")
    return Call(
        endpoint,
        _GRANTS.get(grant, OTHER) if grant else "",
        _client(given.get("client_id", b"") or user, known),
        found["refresh_token"],
        found["token"],
        known,
        unread,
        found["code"],
        name(redirect) if redirect else "",
    )


def read_answer(status: int, fields: Fields, body: Copy, name: Name) -> Answer:
    """Read an answer. The code of a redirect, or of its error, is in its target (RFC 6749 sections 4.1.2 and 4.1.2.1)."""
    octets, unread = _decoded(fields, body)
    members = _members(octets)
    redirect = _query(value_of(fields, b"location").partition(b"?")[2].partition(b"#")[0]) if 300 <= status < 400 else {}
    error = _text(members.get("error")) or redirect.get("error", b"").decode("latin-1")
    created = _secret(_text(members.get("access_token")).encode("utf-8", "replace"), name)
    refresh = _secret(_text(members.get("refresh_token")).encode("utf-8", "replace"), name)
    return Answer(
        status,
        (error if error in _ERRORS else OTHER) if error else "",
        created,
        refresh,
        refresh is not None if created is not None else None,
        _seconds(members.get("expires_in")),
        _text(members.get("token_type"))[:32].lower(),
        any(b"no-store" in value.lower() for value in values_of(fields, b"cache-control")),
        unread,
        _secret(redirect.get("code", b""), name),
    )


def lint(call: Call, answer: Answer) -> tuple[str, ...]:
    """What is wrong with an answer that issues a token, at the moment it is made (RFC 6749 sections 5.1 and 7.1)."""
    if call.endpoint != "token" or not answer.granted:
        return ()
    renewable = call.grant_type in ("authorization_code", "refresh_token")
    found = {
        "refresh_missing": renewable and not answer.refresh_issued and answer.expires_in is not None,
        "expires_in_beyond_32_bits": answer.expires_in is not None and answer.expires_in > HOLDS_IN_32_BITS,
        "type_not_bearer": answer.token_type != "bearer",  # noqa: S105 - a type
        "no_store_missing": not answer.no_store,
    }
    return tuple(code for code, so in found.items() if so)


LINTS: Final = (
    "refresh_missing", "expires_in_beyond_32_bits", "expires_in_disagrees", "type_not_bearer", "no_store_missing",
)  # fmt: skip
"""Every finding; `expires_in_disagrees` needs the row and is found after the answer."""


def refused(endpoint: str, answer: Answer) -> bool:
    """Whether an answer is a refusal that stops a client: RFC 6749 section 5.2."""
    return endpoint == "token" and 400 <= answer.status < 500 and answer.status != 429 and answer.error not in _WAITING


def event_of(
    call: Call, answer: Answer, at: float, exchange: str, user_agent: str, owner_of: Callable[[str], str]
) -> OauthEvent:
    """What is written down of a call: fingerprints and words. `owner_of` gives the access token that a refresh token was
    issued with, or nothing. `at` in epoch seconds."""
    refresh = call.refresh.fingerprint if call.refresh is not None and call.grant_type == "refresh_token" else ""
    presented = owner_of(refresh) if refresh else ""
    code = answer.code if call.endpoint == "authorize" else call.code if call.grant_type == "authorization_code" else None
    if call.token is not None and call.endpoint in ("revoke", "introspect"):
        presented = owner_of(call.token.fingerprint) or call.token.fingerprint
    return OauthEvent(
        at=at,
        endpoint=call.endpoint,
        status=answer.status,
        grant_type=call.grant_type,
        error=answer.error,
        created=answer.created.fingerprint if answer.granted and answer.created is not None else "",
        presented=presented,
        expires_in=answer.expires_in if answer.granted else None,
        refresh_issued=answer.refresh_issued if answer.granted else None,
        user_agent=user_agent,
        client=call.client,
        exchange=exchange,
        refresh_presented=refresh,
        refresh_created=answer.refresh.fingerprint if answer.granted and answer.refresh is not None else "",
        unread=call.unread or answer.unread,
        lint=lint(call, answer),
        code=code.fingerprint if code is not None else "",
        redirect=call.redirect,
    )


# --- bytes ----------------------------------------------------------------------------------------------------------


def _decoded(fields: Fields, body: Copy) -> tuple[bytes, str]:
    """The body without its content coding, and why it cannot be read."""
    if body.unread or len(body.octets) > COPY_LIMIT:
        return b"", body.unread or "too_large"
    coding = b",".join(values_of(fields, b"content-encoding")).strip().lower()
    if not body.octets or coding in (b"", b"identity"):
        return body.octets, ""
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        return b"", "encoding"
    try:
        decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # gzip or zlib, by its first octets
        plain = decoder.decompress(body.octets, COPY_LIMIT)
    except zlib.error:
        return b"", "encoding"
    return (plain, "") if decoder.eof else (b"", "too_large" if decoder.unconsumed_tail else "encoding")


def _parameters(content_type: bytes, body: bytes) -> dict[str, bytes]:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind == _FORM:
        return _query(body)
    if not kind.endswith(b"json"):
        return {}
    members = _members(body).items()
    return {name: value.encode("utf-8", "replace") for name, value in members if isinstance(value, str)}


def _query(encoded: bytes) -> dict[str, bytes]:
    """Parameters of a form or query; of repeated ones the last, as at Rack."""
    found = {}
    for part in encoded.split(b"&", PARAMETERS_LIMIT)[:PARAMETERS_LIMIT]:
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        found[unquote_to_bytes(name).decode("latin-1")] = unquote_to_bytes(value)
    return found


def _members(body: bytes) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _basic(values: list[bytes]) -> tuple[bytes, bytes]:
    """Client id and secret of a Basic credential (RFC 6749 section 2.3.1: form-encoded before base64)."""
    if len(values) != 1 or values[0][:6].lower() != b"basic ":
        return b"", b""
    try:
        user, _, password = base64.b64decode(values[0][6:].strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b"", values[0][6:]
    return unquote_to_bytes(user), unquote_to_bytes(password)


def _bearers(fields: Fields, name: Name) -> list[Secret | None]:
    return [_secret(value[7:], name) for value in values_of(fields, b"authorization") if value[:7].lower() == b"bearer "]


def _secret(raw: bytes, name: Name) -> Secret | None:
    return Secret(raw, name(raw)) if 0 < len(raw) <= TOKEN_LIMIT else None


def _client(raw: bytes, secrets: tuple[Secret, ...]) -> str:
    """The client's public id, unless somebody put a secret there."""
    return OTHER if any(secret.reveal() in raw for secret in secrets) else printable(raw, CLIENT_LIMIT)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> int | None:
    """A lifetime; some servers write it as a string. Bounded to what JSON and stores hold."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return max(-(2**53), min(2**53, int(value)))
