"""The record of a 401 or 403 that left for a client, with the exact state of the token at that instant.

Records are JSON by msgspec, one line each. A record never changes; what is learned later is a `Note` under its id.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import re
from typing import Final

import msgspec

from proxy.core.exchange import Exchange
from proxy.core.history import TokenHistory
from proxy.core.memory import AccountChange, BackendVerdicts, ClientMemory, OauthEvent
from proxy.core.token import Reading, Surroundings

SCHEMA: Final = 1
"""Version of the record's shape. Fields are only added, with defaults; a change of meaning raises it."""

BACKEND_BODY_LIMIT: Final = 2_048
"""Octets of a refusing backend's body that are kept: SCIM errors and HTML titles fit, floods of it do not."""


class Kind(enum.StrEnum):
    """`refusal`: we said it. `backend_refusal`: the backend said it. `would_refuse`: observe mode let it pass.
    `disagreement`: the backend refused a token that is alive, and the policy kept the refusal from the client.
    `oauth_refusal`: the token endpoint refused to issue or renew a token; `fingerprint` is the access token's whose refresh
    token was presented where that is known, else the refresh token's own."""

    REFUSAL = "refusal"
    BACKEND_REFUSAL = "backend_refusal"
    WOULD_REFUSE = "would_refuse"
    DISAGREEMENT = "disagreement"
    OAUTH_REFUSAL = "oauth_refusal"


class Unrecorded(Exception):  # noqa: N818 - it is a state of the evidence, not a mistake
    """A record could not be written down: the refusal it is about must not leave."""


class Case(msgspec.Struct, frozen=True):
    """What a refusal is about: enough to tell whether it repeats another. `reason` is the verdict's, or `backend:<reason>`;
    `client` the client's address, `at` epoch seconds. `known`: a source has the token."""

    tenant: str
    fingerprint: str
    kind: Kind
    reason: str
    client: str
    exchange: str
    at: float
    known: bool = False


class Admission(msgspec.Struct, frozen=True):
    """Under which incident a refusal goes, and whether it is the first of it, to be recorded in full. `group` is the network
    when it stands for a flood of unknown tokens, `*` for all networks, empty otherwise."""

    incident_id: str
    fresh: bool
    group: str = ""


class BackendAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refusing backend's own words. Text is Latin-1, cut at 2 KiB, with any echo of the token masked."""

    status: int
    address: str
    www_authenticate: tuple[str, ...] = ()
    content_type: str = ""
    server: str = ""
    body: str = ""
    body_truncated: bool = False


class Incident(msgspec.Struct, frozen=True, omit_defaults=True):
    """`oauth` is the call that an `oauth_refusal` is about.

    `reading` is what the verdict rests on; `second_look` the primary's answer before a refusal or right after the
    backend's; `credential_length` is in octets. `instance` names the proxy process that saw it.

    `addressed_tenant` is whose URL or host was called, where the route tells. `client`, `backends` and `owner_change` are what
    that process remembered then: of a client without a credential, of the token at each backend instance (for a refusal by
    the backend), of the last change that SCIM made to the account that owns the token (for an inactive owner), of how many
    requests with tokens of each source the backend had served (for a refusal by it)."""

    id: str
    at: float
    kind: Kind
    tenant: str
    fingerprint: str
    reason: str
    exchange: Exchange
    instance: str
    reading: Reading | None = None
    second_look: Reading | None = None
    surroundings: Surroundings | None = None
    backend: BackendAnswer | None = None
    history: TokenHistory | None = None
    credential_length: int = 0
    schema: int = SCHEMA
    addressed_tenant: str = ""
    client: ClientMemory | None = None
    backends: tuple[BackendVerdicts, ...] = ()
    owner_change: AccountChange | None = None
    oauth: OauthEvent | None = None
    served: dict[str, int] = {}


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something learned after an incident. `name` is unique within the incident (`reread+1s`), so that a repeated
    delivery changes nothing."""

    incident: str
    name: str
    at: float
    reading: Reading | None = None
    surroundings: Surroundings | None = None
    text: str = ""


_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID: Final = re.compile(f"[{_ALPHABET}{_ALPHABET.lower()}]{{26}}")
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789ABCDEFGHIJKLMNOPQRSTUV")
"""To Python's base 32."""
_PAIRS: Final = tuple(one + other for one in _ALPHABET for other in _ALPHABET)
"""What stands for ten bits."""


@functools.lru_cache(4_096)
def tenant_tag(tenant: str) -> str:
    """Return the 4 base-32 characters that stand for a tenant in ids and as hash tag of its keys in the store."""
    number = int.from_bytes(hashlib.sha256(tenant.encode()).digest()[:3]) >> 4
    return "".join(_ALPHABET[number >> shift & 31] for shift in (15, 10, 5, 0))


def new_id(at: float, tenant: str) -> str:
    """Return a new incident id: 26 characters of Crockford's base 32, sortable by time.

    48 bits of milliseconds, 20 bits of the tenant (so that the id alone tells where in the store it lies), 60 random bits.
    """
    early = int(at * 1000) & (1 << 48) - 1
    late = int.from_bytes(os.urandom(8)) >> 4  # as `secrets` does it, less three calls of Python
    pairs = [_PAIRS[early >> shift & 1023] for shift in (40, 30, 20, 10, 0)]
    pairs.append(tenant_tag(tenant))
    pairs += [_PAIRS[late >> shift & 1023] for shift in (50, 40, 30, 20, 10, 0)]
    return "".join(pairs)


def tag_of(incident_id: str) -> str:
    """Return the tenant tag within an incident id. ValueError when it is not one."""
    return _checked(incident_id)[10:14].upper()


def time_of(incident_id: str) -> float:
    """Return the epoch seconds in an incident id. ValueError when it is not one."""
    return int(_checked(incident_id)[:10].upper().translate(_DIGITS), 32) / 1000


def _checked(incident_id: str) -> str:
    if _ID.fullmatch(incident_id) is None:
        raise ValueError("an incident id has 26 characters of Crockford's base 32")
    return incident_id
