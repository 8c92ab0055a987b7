"""The answer: a named cause with its evidence, and the words in which a rule of the catalogue speaks."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from proxy.core.diagnosis.scene import Scene


class Code(enum.StrEnum):
    """The stable names of causes. They stand in incidents, metrics, docs and the SCIM `detail`: never rename one."""

    TOKEN_DELETED = "token_deleted"  # noqa: S105 - a name of a cause, as are the others
    TOKEN_SUPERSEDED = "token_superseded"  # noqa: S105
    TOKEN_ROTATED = "token_rotated"  # noqa: S105
    TOKEN_REVOKED = "token_revoked"  # noqa: S105
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_UNKNOWN = "token_unknown"  # noqa: S105
    TOKEN_MANGLED = "token_mangled"  # noqa: S105
    WRONG_SECRET_KIND = "wrong_secret_kind"  # noqa: S105
    WRONG_ENVIRONMENT = "wrong_environment"
    WRONG_TENANT = "wrong_tenant"
    HEADER_MISSING = "header_missing"
    REFRESH_FAILED = "refresh_failed"
    REFRESH_IMPOSSIBLE = "refresh_impossible"
    OWNER_INACTIVE = "owner_inactive"
    SCOPE_MISSING = "scope_missing"
    SOURCE_UNAVAILABLE = "source_unavailable"
    INTROSPECTION_BLIND = "introspection_blind"
    REPLICA_LAG = "replica_lag"
    BACKEND_DISAGREES = "backend_disagrees"
    BACKEND_INSTANCE_SKEW = "backend_instance_skew"
    HASHING_SWITCHED = "hashing_switched"
    NULL_REFRESH_MATCH = "null_refresh_match"
    SHARED_TOKEN = "shared_token"  # noqa: S105
    CLOCK_SKEW = "clock_skew"
    WENT_SILENT = "went_silent"
    NEVER_ARRIVED = "never_arrived"
    UNDETERMINED = "undetermined"


class Confidence(enum.StrEnum):
    """`certain`: the evidence leaves nothing else. `likely`: nothing speaks against it. `possible`: not excluded, no more."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"


class Advice(msgspec.Struct, frozen=True):
    """Templates as in `Rule`, for a case in which those of the rule would be wrong."""

    operator: str
    customer: str


class Found(msgspec.Struct, frozen=True):
    """What a rule found. `title` is one sentence; `words` fill the rule's templates; `times` are facts in epoch seconds;
    `findings` name what else the evidence shows (mass_revocation, application_destroyed). `instead` takes
    the place of the rule's templates where they would be wrong in this case."""

    confidence: Confidence
    title: str
    evidence_for: tuple[str, ...] = ()
    evidence_against: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    words: dict[str, str] = {}
    times: dict[str, float | None] = {}
    findings: tuple[str, ...] = ()
    instead: Advice | None = None


class Rule(msgspec.Struct, frozen=True):
    """One entry of the catalogue: what the docs say of a cause, and the pure function that recognises it.

    `operator` and `customer` are templates: `{name}` is filled from `Found.words`, `{steps}` tells on which
    page of the client the token is set, `{signin}` where the connection is authorized anew.
    """

    code: Code
    meaning: str
    proof: str
    operator: str
    customer: str
    examine: Callable[[Scene], Found | None]


class Cause(msgspec.Struct, frozen=True):
    """A cause with its evidence. `facts` are times in epoch seconds. Holds no token and no internal name in `text_customer`."""

    code: Code
    confidence: Confidence
    title: str
    evidence_for: tuple[str, ...] = ()
    evidence_against: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    advice_operator: str = ""
    text_customer: str = ""
    facts: dict[str, float] = {}
    findings: tuple[str, ...] = ()


class Diagnosis(msgspec.Struct, frozen=True):
    """The cause, the next best one if any, and all candidates in order of rank (`undetermined` is none of them)."""

    cause: Cause
    runner_up: Cause | None = None
    candidates: tuple[Cause, ...] = ()
