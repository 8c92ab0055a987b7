"""What the client presented, and the name under which it may be written down.

A presented token lives in a `Secret` and nowhere else: it has no printable form, cannot be pickled, and is compared as
bytes. Everything that leaves memory uses its fingerprint.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn
from urllib.parse import unquote_to_bytes

import msgspec

FINGERPRINT_HEX_DIGITS: Final = 32
"""128 bits of the HMAC: two tokens of one deployment share a name with a chance below 2**-64 at 4 billion tokens."""

MEMO_LIMIT: Final = 50_000
"""Fingerprints remembered per generation (two are kept): about 25 MB at worst, which a flood of guesses fills. A token that
was forgotten costs one HMAC more, about 2 us."""

TOKEN_LIMIT: Final = 8_192
"""Octets in a token: RFC 9110 section 5.4 lets us bound fields; signed tokens of real issuers stay below 4 KiB."""

_QUOTES: Final = frozenset((b'"', b"'"))
_is_token: Final = re.compile(rb"[!#-&(-~][!-~]*").fullmatch
"""Visible ASCII that does not begin with a quote: what no parser on the way to Doorkeeper changes."""


class Fingerprinter:
    """Names secrets: the first 128 bits of HMAC-SHA-256 under the deployment's key, as 32 lower-case hex digits."""

    __slots__ = ("_former", "_key", "_old", "_young")

    def __init__(self, key: bytes, former: Sequence[bytes] = ()) -> None:
        """`former` are the keys from before, the newest first."""
        if any(len(one) < 16 for one in (key, *former)):
            raise ValueError("fingerprint key must have at least 16 bytes")
        self._key = key
        self._former = tuple(one for one in dict.fromkeys(former) if one != key)
        self._young: dict[bytes, str] = {}
        self._old: dict[bytes, str] = {}

    def __repr__(self) -> str:
        return "<Fingerprinter>"

    def of(self, raw: bytes) -> str:
        """Return the fingerprint of a token's bytes. Memoised by SHA-256, so that no token is kept for it."""
        digest = hashlib.sha256(raw).digest()
        name = self._young.get(digest)
        if name is None:
            name = self._old.get(digest)
            if name is None:
                name = _name(self._key, raw)
            if len(self._young) >= MEMO_LIMIT:
                self._old, self._young = self._young, {}
            self._young[digest] = name
        return name

    def former(self, raw: bytes) -> tuple[str, ...]:
        """Return the token's names under the keys from before, the newest first."""
        return tuple(_name(key, raw) for key in self._former)

    def lasting(self, raw: bytes) -> str:
        """Return the name under the oldest key: the same before and after a change of keys."""
        return _name(self._former[-1] if self._former else self._key, raw)

    def same_key(self, other: Fingerprinter) -> bool:
        """Tell whether it names as the other does, now and under keys from before."""
        return (self._key, self._former) == (other._key, other._former)

    def succeeds(self, before: Fingerprinter) -> bool:
        """Tell whether what the other named can be found again."""
        return before._key in (self._key, *self._former)


def _name(key: bytes, raw: bytes) -> str:
    return hmac.digest(key, raw, "sha256").hex()[:FINGERPRINT_HEX_DIGITS]


class Secret:
    """A presented token. Prints as its fingerprint; `reveal` is for the code that must compare or look it up."""

    __slots__ = ("_raw", "fingerprint")

    def __init__(self, raw: bytes, fingerprint: str) -> None:
        self._raw = raw
        self.fingerprint = fingerprint

    def reveal(self) -> bytes:
        """Return the token's bytes. Never log, store or format what this returns."""
        return self._raw

    def __len__(self) -> int:
        return len(self._raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._raw, other._raw)

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<secret {self.fingerprint}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled")


class Why(enum.StrEnum):
    """In what way a credential is malformed. Each is a 401 at Doorkeeper as well."""

    SCHEME_MISSING = "scheme_missing"
    SCHEME_OTHER = "scheme_other"
    SCHEME_DOUBLED = "scheme_doubled"
    EMPTY = "empty"
    WHITESPACE = "whitespace"
    QUOTED = "quoted"
    CHARACTERS = "characters"
    TOO_LONG = "too_long"


class Bearer(msgspec.Struct, frozen=True):
    """Exactly one bearer token. `place` is where it stood: header, query or form."""

    secret: Secret
    place: str = "header"


class Missing(msgspec.Struct, frozen=True):
    """No credential at all: no Authorization field, or an empty one."""


class Several(msgspec.Struct, frozen=True):
    """More than one Authorization field, or more than one way of presenting a token."""

    count: int


class Malformed(msgspec.Struct, frozen=True):
    """Something was presented that is not `Bearer <token>`. `presented` is the whole field value, to search near misses."""

    why: Why
    presented: Secret


Credential = Bearer | Missing | Several | Malformed


def extract(values: Sequence[bytes], fingerprinter: Fingerprinter) -> Credential:
    """Read the one credential out of the values of all Authorization fields, as Doorkeeper 5.5 does.

    Doorkeeper (lib/doorkeeper/oauth/token.rb) takes what follows `Bearer ` in any case and looks it up as it stands. Two
    fields reach it joined by a comma and match nothing. A value's outer white space is not part of it (RFC 9110 5.5).
    """
    if not values:
        return Missing()
    if len(values) > 1:
        return Several(len(values))
    value = values[0].strip(b" \t")
    if not value:
        return Missing()
    if value[:7].lower() != b"bearer ":
        return _malformed(_why_not_bearer(value), value, fingerprinter)
    token = value[7:]
    why = _why_not_token(token)
    if why is not None:
        return _malformed(why, value, fingerprinter)
    return Bearer(Secret(token, fingerprinter.of(token)))


def gives_way(credential: Credential) -> bool:
    """Whether a token in query or form may count: where the Authorization field holds no bearer, as at Doorkeeper, whose
    pattern for it is /^Bearer /i (lib/doorkeeper/oauth/token.rb)."""
    if isinstance(credential, Malformed):
        return credential.presented.reveal()[:7].lower() != b"bearer "
    return isinstance(credential, Missing)


_PARAMETERS: Final = (b"access_token", b"bearer_token")
"""In Doorkeeper's order (access_token_methods)."""


Pairs = Sequence[tuple[bytes, bytes]]


def urlencoded_pairs(encoded: bytes) -> Pairs:
    """Names and values of a query or a form, those that may hold a token."""
    pairs = []
    for part in encoded.split(b"&"):
        if b"token" in part or b"%" in part:
            name, _, value = part.replace(b"+", b" ").partition(b"=")
            pairs.append((unquote_to_bytes(name), unquote_to_bytes(value)))
    return pairs


def form_pairs(body: bytes, *, json: bool) -> Pairs:
    """Names and values of a form, or of a JSON object; what is no object, or no JSON, holds none."""
    if not json:
        return urlencoded_pairs(body)
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    return [(name.encode(), v.encode()) for name, v in members.items() if isinstance(v, str)]


def holds_token(pairs: Pairs) -> bool:
    """Whether a parameter is there from which Doorkeeper may read a token."""
    return any(_is_of(wanted, name) for wanted in _PARAMETERS for name, _ in pairs)


def extract_parameters(form: Pairs, query: Pairs, fingerprinter: Fingerprinter) -> Credential:
    """Read a token out of form and query (RFC 6750 sections 2.2 and 2.3). Of a parameter that is in both the query's counts,
    even an empty one: Rails merges it over the form's (ActionDispatch::Http::Parameters#parameters)."""
    for wanted in _PARAMETERS:
        in_query = [(name, value) for name, value in query if _is_of(wanted, name)]
        found = in_query or [(name, value) for name, value in form if _is_of(wanted, name)]
        for name, value in found:
            if name != wanted:
                # Rack makes a list or a hash of it, and Doorkeeper refuses that
                return _malformed(Why.CHARACTERS, value, fingerprinter)
        place = "query" if in_query else "form"
        credential = extract_parameter([value for _, value in found], place, fingerprinter)
        if not isinstance(credential, Missing):
            return credential
    return Missing()


def _is_of(wanted: bytes, name: bytes) -> bool:
    return name == wanted or name[: len(wanted) + 1] == wanted + b"["


def extract_parameter(values: Sequence[bytes], place: str, fingerprinter: Fingerprinter) -> Credential:
    """Read a token given as query or form parameter (RFC 6750 sections 2.2 and 2.3). As at Doorkeeper, the last one counts."""
    if not values:
        return Missing()
    token = values[-1]
    if not token:
        return Missing()
    why = _why_not_token(token)
    if why is not None:
        return _malformed(why, token, fingerprinter)
    return Bearer(Secret(token, fingerprinter.of(token)), place)


def _malformed(why: Why, value: bytes, fingerprinter: Fingerprinter) -> Malformed:
    return Malformed(why, Secret(value, fingerprinter.of(value)))


def _why_not_bearer(value: bytes) -> Why:
    if len(value) > TOKEN_LIMIT:
        return Why.TOO_LONG
    scheme, space, _ = value.partition(b" ")
    if scheme.lower() == b"bearer":
        return Why.EMPTY
    if b"\t" in value:
        return Why.WHITESPACE
    return Why.SCHEME_OTHER if space else Why.SCHEME_MISSING


def _why_not_token(token: bytes) -> Why | None:
    if len(token) > TOKEN_LIMIT:
        return Why.TOO_LONG
    if _is_token(token):
        return None
    if not token:
        return Why.EMPTY
    if token[:7].lower() == b"bearer ":
        return Why.SCHEME_DOUBLED
    if token[:1] in _QUOTES:
        return Why.QUOTED
    return Why.WHITESPACE if b" " in token or b"\t" in token else Why.CHARACTERS
