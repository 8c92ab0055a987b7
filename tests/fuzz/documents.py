"""What others write for us to read: token files, settings, signed tokens, key sets, and what an introspection endpoint says."""

from __future__ import annotations

import base64
import json
import pathlib
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import OKPKey

from proxy.core.token import Known, Unavailable, Unknown
from proxy.settings import SettingsFault, load
from proxy.settings.load import revive
from proxy.settings.toml_lines import lines_of
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.introspection.answer import Claims, read_answer
from proxy.sources.jwt.facts import Rules, facts_of
from proxy.sources.jwt.keys import RSA_BITS, keys_of
from proxy.sources.jwt.verify import Opened, Refused, open_token, signed_by
from proxy.sources.token_file_format import TokenFileError, parse
from tests.fuzz.target import AT, CANARY, JSON_WORDS, Target, can_be_used, is_word, words


def values_in(table: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a document with the keys above it; keys themselves count as texts under `<key>`."""
    if isinstance(table, dict):
        for key, value in table.items():
            yield (*path, "<key>"), str(key)
            yield from values_in(value, (*path, str(key)))
    elif isinstance(table, list):
        for value in table:
            yield from values_in(value, path)
    else:
        yield path, str(table)


def only_under(table: Any, keys: frozenset[str], secret: str) -> bool:
    """Whether a secret stands in a document, and under no other keys than these."""
    places = [path for path, text in values_in(table) if secret in text]
    return bool(places) and all(path and path[-1] in keys for path in places)


def _document(raw: bytes) -> Any:
    """What a library of its own makes of JSON or TOML; None of what is neither."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    for read in (json.loads, tomllib.loads):
        try:
            return read(text)
        except (ValueError, RecursionError):
            continue
    return None


NOT_A_NAME: Final = frozenset(
    {"digest", "tenant", "scopes", "created_at", "expires_in", "revoked_at", "application", "token", "id", "active", "hash"}
)


def token_file(data: bytes) -> bool:
    """A file is rows or faults; no fault shows what may be a token; a file of the same rows reads the same."""
    accepted = False
    for name in ("f.json", "f.toml"):
        try:
            content = parse(data, name, lambda _: "", keyed=True)
        except TokenFileError as error:
            assert 1 <= len(error.faults) <= 51
            assert all(fault.startswith(name) and "\n" not in fault for fault in error.faults)
            assert CANARY not in str(error) or not only_under(_document(data), NOT_A_NAME, CANARY)
            continue
        accepted = accepted or bool(content.tokens)
        entries = []
        for digest, row in content.tokens.items():
            assert len(digest) == 32
            can_be_used(row)
            entry = {"name": row.row, "digest": digest.hex(), "tenant": row.tenant, "scopes": list(row.scopes)}
            entries.append(entry | {"created_at": "2026-05-03T10:00:00Z"})
        again = parse(json.dumps({"hash": content.hash, "token": entries}).encode(), "f.json", lambda _: "", keyed=True)
        assert {d: (k.row, k.tenant, k.scopes) for d, k in content.tokens.items()} == {
            d: (k.row, k.tenant, k.scopes) for d, k in again.tokens.items()
        }
    return accepted


def introspection(data: bytes) -> bool:
    """Alive is only what says `"active": true`; whatever it says besides can be judged and put on record."""
    claims = Claims(tenant="org", tenants={"o1": "acme"}, audiences=frozenset({"scim"}))
    accepted = False
    for asked in (Claims(), claims):
        state = read_answer(data, "1", asked)
        assert isinstance(state, Known | Unknown | Unavailable)
        can_be_used(state)
        if isinstance(state, Unknown):
            assert state.why in ("", "refresh_token", "wrong_audience")
        if isinstance(state, Known):
            accepted = True
            said = json.loads(data)
            assert said["active"] is True
            assert 0 <= state.created_at < 1e12
            assert state.expires_in is None or -(10**12) < state.expires_in < 10**12
            assert not asked.audiences or "scim" in said["aud"]
    return accepted


SIGNING: Final = OKPKey.import_key(
    {  # made for this file
        "kty": "OKP", "crv": "Ed25519", "x": "UmQoBtKf6RPwx10hzsf3G8WhM6_LSUBPjYhKRO-T1MU",
        "d": "bGMZ2TX8Ka5LHZEDaAe6NihIXIYqErASa3TcHZ2yO8w",
    }
)  # fmt: skip
PUBLIC: Final = OKPKey.import_key(SIGNING.as_dict(private=False))
ALGORITHMS: Final = frozenset({"Ed25519", "ES256", "RS256"})
RULES: Final = Rules(("https://issuer.example/{tenant}/", "https://issuer.example"), frozenset({"scim"}), leeway=30.0)
ENTRA: Final = Rules(("https://issuer.example/{tenant}/",), frozenset({"scim"}), tenants={"t1": "acme"})


def _signed(claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> bytes:
    made = {"alg": "Ed25519", "kid": "k1", **(header or {})}
    registry = jws.JWSRegistry(algorithms=["Ed25519"], strict_check_header=False)
    return jws.serialize_compact(made, json.dumps(claims).encode(), SIGNING, registry=registry).encode()


_CLAIMS: Final = {"iss": "https://issuer.example/t1/", "aud": ["scim"], "exp": 2e9, "iat": 1.7e9, "sub": "u", "scp": "scim a"}
SIGNED: Final = frozenset(
    (
        _signed(_CLAIMS),
        _signed(_CLAIMS | {"iss": "https://issuer.example", "aud": "scim", "azp": "okta", "tid": "t2"}),
        _signed({"exp": 1}, {"typ": "JWT"}),
    )
)


def _part(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def _signed_by_hand(header: Mapping[str, Any]) -> bytes:
    asked = b".".join((_part({"alg": "Ed25519", "exp": 2e9, **header}), _part(_CLAIMS)))
    return asked + b"." + base64.urlsafe_b64encode(SIGNING.private_key.sign(asked)).rstrip(b"=")


NEVER: Final = frozenset(
    _signed_by_hand(header) for header in ({"crit": ["exp"]}, {"b64": False}, {"kid": 7}, {"alg": "EdDSA"})
)
"""Signed by the right key, and refused for what their headers ask or are."""


def signed(data: bytes) -> bool:
    """Nothing is genuine but the very octets that were signed, and a token says to us what it says to another reader."""
    opened = open_token(data, ALGORITHMS)
    if isinstance(opened, Refused):
        assert is_word(opened.why)
        assert data not in SIGNED
        return False
    assert data not in NEVER
    header, payload, _ = data.split(b".")
    assert opened.claims == json.loads(base64.urlsafe_b64decode(payload + b"=="))
    assert opened.algorithm in ALGORITHMS
    assert opened.kid == json.loads(base64.urlsafe_b64decode(header + b"==")).get("kid")
    assert (data in SIGNED) == (signed_by(opened, (PUBLIC,)) is not None)
    assert signed_by(opened, ()) is None
    return True


def claims(data: bytes) -> bool:
    """Claims that nobody forged: alive is only who has our issuer and audience and an end; the rest can be put on record."""
    opened = open_token(
        b".".join((_part({"alg": "Ed25519"}), base64.urlsafe_b64encode(data).rstrip(b"="), b"AAAA")), ALGORITHMS
    )
    if not isinstance(opened, Opened):
        return False
    accepted = False
    for rules in (RULES, ENTRA):
        state = facts_of(opened.claims, "1", rules, AT)
        if isinstance(state, Refused):
            assert is_word(state.why)
            continue
        accepted = True
        can_be_used(state)
        assert str(opened.claims["iss"]).startswith("https://issuer.example")
        assert "scim" in opened.claims["aud"]
        assert state.expires_in is not None
        assert opened.claims.get("nbf", 0) <= AT + rules.leeway
        assert rules is RULES or state.tenant == "acme"
    return accepted


def key_set(data: bytes) -> bool:
    """A set gives public keys of asymmetric kinds that are strong enough, or trouble; never none, never a private one."""
    try:
        found = keys_of(data)
    except Trouble as trouble:
        assert trouble.why == "error"
        return False
    assert found
    for key in found:
        assert not key.is_private
        shown = key.as_dict()
        assert "d" not in shown
        assert shown["kty"] in ("RSA", "EC", "OKP")
        if shown["kty"] == "RSA":
            assert len(base64.urlsafe_b64decode(str(shown["n"]) + "==")) * 8 >= RSA_BITS
        key.thumbprint()
    return True


SECRETS: Final = frozenset(
    {"dsn", "replica_dsn", "token", "client_secret", "fingerprint_key", "password", "bearer", "key", "url"}
)
_ROOM: Final = tempfile.TemporaryDirectory(prefix="sw-fuzz-settings-")
_FILE: Final = pathlib.Path(_ROOM.name) / "proxy.toml"


def settings(data: bytes) -> bool:
    """A file is settings or all its faults, each with a line that is there and none with a secret; keys are on their lines."""
    _FILE.write_bytes(data)
    text = _FILE.read_text(encoding="utf-8-sig", errors="replace")
    try:
        found = load(_FILE, {})
    except SettingsFault as error:
        assert error.faults
        for fault in error.faults:
            assert fault.line is None or 1 <= fault.line <= text.count("\n") + 1
        assert CANARY not in str(error) or not only_under(_document(data), SECRETS, CANARY)
        return False
    assert found == revive(found.values)
    assert CANARY not in repr(found) or not only_under(_document(data), SECRETS, CANARY)
    tables = tomllib.loads(text)
    lines = lines_of(text)
    for key in tables:
        assert any(path[0] == key for path in lines), key
    return True


ROW: Final = {"name": "a", "digest": "0" * 64, "tenant": "acme", "created_at": "2026-05-03T10:00:00Z"}
MORE: Final = {
    "scopes": ["scim"],
    "expires_in": 60,
    "revoked_at": "2026-06-01T10:00:00Z",
    "owner": {"id": "o", "active": False},
}
_ANSWER: Final = {
    "active": True,
    "client_id": "okta",
    "org": "o1",
    "aud": ["scim"],
    "iat": 1.7e9,
    "exp": "1900000000",
    "scope": "a",
}
_C: Final = CANARY.encode()

TARGETS: Final = (
    Target(
        "token_file",
        token_file,
        [
            json.dumps({"hash": "sha256", "token": [ROW | MORE, ROW | {"name": "b", "digest": "1" * 64}]}).encode(),
            json.dumps({"token": [ROW | {"token": CANARY}, ROW | {"tenant": ""}]}).encode(),
            b'hash = "hmac-sha256"\n[[token]]\nname = "a"\ndigest = "%b"\n' % (b"0" * 64)
            + b'tenant = "t"\ncreated_at = 2026-05-03T10:00:00Z\n',
            b'[[token]]\nname = "a"\ndigest = "%b"\nowner = { id = "x" }\n' % _C,
        ],
        words(b'digest=" created_at= 0001-01-01T00:00:00+14:00 expires_in owner', b"[[token]]\n", _C, b"0" * 64, *JSON_WORDS),
    ),
    Target(
        "introspection",
        introspection,
        [
            json.dumps(_ANSWER).encode(),
            b'{"active": false}',
            b'{"active": true, "exp": 0, "scope": ["a"], "sub": null}',
            b'{"active": true, "token_use": "refresh_token"}',
            b'{"active": "true"}',
            b"[]",
        ],
        words(b'"active":true "iat": "exp": "client_id": "scope": "aud": "scim" "sub": "username": "org":', *JSON_WORDS),
    ),
    Target(
        "signed",
        signed,
        [
            *sorted(SIGNED),
            *sorted(NEVER),
            b".".join((_part({"alg": "none"}), _part(_CLAIMS), b"")),
            b".".join((_part({"alg": "HS256", "kid": "k1"}), _part(_CLAIMS), b"AAAA")),
            b".".join((_part({"alg": "Ed25519", "jwk": PUBLIC.as_dict()}), _part(_CLAIMS), b"AAAA")),
            b"opaque",
        ],
        words(b". = - _ eyJ", _part({"alg": "Ed25519"}), _part({})),
    ),
    Target(
        "claims",
        claims,
        [
            json.dumps(_CLAIMS).encode(),
            json.dumps(_CLAIMS | {"nbf": 9e9, "tid": "t2"}).encode(),
            json.dumps(_CLAIMS | {"iss": "https://issuer.example", "roles": ["a"], "appid": "x", "exp": 1}).encode(),
            b'{"iss": 1}',
        ],
        words(b'"iss": "https://issuer.example/t1/" "aud": "scim" "exp": "iat": "nbf": "tid": "t1" "scp": "sub":', *JSON_WORDS),
    ),
    Target(
        "key_set",
        key_set,
        [
            json.dumps({"keys": [PUBLIC.as_dict() | {"kid": "k1", "use": "sig"}]}).encode(),
            json.dumps({"keys": [SIGNING.as_dict(private=True)]}).encode(),
            json.dumps({"keys": [{"kty": "RSA", "n": "sXch" * 86, "e": "AQAB"}, {"kty": "oct", "k": "AAAA"}]}).encode(),
            json.dumps({"keys": [{"kty": "RSA", "n": "sXch" * 20, "e": "AQAB"}]}).encode(),
            json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}).encode(),
            b'{"keys": []}',
        ],
        words(b'"kty": "RSA" "EC" "OKP" "n": "e":"AQAB" "crv":"P-256" "x": "y": "d": "use":"enc"', b"A" * 344, *JSON_WORDS),
    ),
    Target(
        "settings",
        settings,
        [
            b'[upstream]\nurl = "http://127.0.0.1:3000"\n[source]\nkind = "token_file"\npath = "t.toml"\n',
            b'[upstream]\nurl = "http://h"\n[[source]]\nkind = "doorkeeper_postgres"\ndsn = "postgres://u:%b@h/d"\nx = 1' % _C,
            b'[upstream]\nurl = "http://h"\n[[source]]\nkind = "introspection"\nurl = "http://i"\nclient_secret = "%b"' % _C,
            b'[store]\nurl = "redis://:%b@h"\n[ops]\nhost = "0.0.0.0"\ntoken = "%b"\n[listen]\nport = "x"\n' % (_C, _C),
            b"[upstream\n",
        ],
        words(
            b"[listen] [ops] [store] [tenants.a] [[source]] [policy] mode='observe' port=0 kind='doorkeeper_mysql' kind='jwt'",
            *words(b"dsn=' url=' token=' ''' = nan inf", b'"""', b"\n", _C),
        ),
    ),
)
