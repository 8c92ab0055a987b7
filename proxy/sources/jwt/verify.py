"""Whether a token is one of ours: bytes, keys and rules -> claims, or why not. Pure.

The header is what an attacker writes, so nothing in it chooses anything but one of our own keys by its id: the algorithms
are pinned and asymmetric (RFC 8725 sections 3.1 and 3.2), `jku`, `jwk` and `x5u` are not looked at, and `crit` is refused
because no extension is understood here (RFC 7515 section 4.1.11).
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""What may be configured. All are asymmetric, so that a public key can never be taken for an HMAC's."""

TOKEN_LIMIT: Final = 8_192
"""Octets of a token that are looked at, as of any credential: real issuers stay below 4 KiB."""

_HEADER_LIMIT: Final = 4_096


class Refused(msgspec.Struct, frozen=True):
    """Why it is none of ours, for `Unknown.why`: not_a_jwt, oversized, malformed, algorithm, critical_header, wrong_issuer,
    wrong_audience, bad_signature, unknown_key, no_expiry, not_yet_valid, unmapped_tenant."""

    why: str


class Opened(msgspec.Struct, frozen=True):
    """A token that is not verified yet: what its header and claims say."""

    raw: bytes
    algorithm: str
    kid: str | None
    claims: dict[str, Any]


def open_token(raw: bytes, algorithms: frozenset[str]) -> Opened | Refused:
    """Take a compact JWS apart (RFC 7515 section 7.1) and check what needs no key."""
    if len(raw) > TOKEN_LIMIT:
        return Refused("oversized")
    parts = raw.split(b".")
    if len(parts) != 3 or not raw.startswith(b"ey"):  # {" in base64url
        return Refused("not_a_jwt")
    header, claims = _object(parts[0]), _object(parts[1])
    if header is None or claims is None or not _decoded(parts[2]):
        return Refused("malformed")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        return Refused("algorithm")
    if "crit" in header or "b64" in header:
        return Refused("critical_header")
    if kid is not None and not isinstance(kid, str):
        return Refused("malformed")
    return Opened(raw, algorithm, kid, claims)


def signed_by(opened: Opened, keys: Sequence[Key]) -> Key | None:
    """Return the key that signed it, None when none of these did. Keys of another kind are passed by."""
    for key in keys:
        if key.get("alg") in (None, opened.algorithm) and _verifies(opened, key):
            return key
    return None


def _verifies(opened: Opened, key: Key) -> bool:
    registry = jws.JWSRegistry(algorithms=[opened.algorithm], strict_check_header=False)
    registry.max_header_length = _HEADER_LIMIT
    try:
        jws.deserialize_compact(opened.raw, key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False  # the wrong kind of key, the wrong curve, or a signature that is none
    return True


def _object(part: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(_decoded(part), object_pairs_hook=_without_repeats)
        json.dumps(found, ensure_ascii=False).encode()  # half a character (\ud800) passes as JSON, and no record could hold it
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _decoded(part: bytes) -> bytes:
    """What a part holds; nothing when it is not written in the one way that RFC 7515 section 2 allows. Python's decoder, and so
    the library's, passes by letters that it does not know: many spellings of one token."""
    try:
        raw = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (ValueError, binascii.Error):
        return b""
    return raw if urlsafe_b64encode(raw).rstrip(b"=") == part else b""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two readers may take two members of one name differently (RFC 8725 section 2.4), so there must be none."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is repeated")
    return found
