"""What a diagnosis may look at: one frozen value, every field optional.

Whoever gathers it (the store, the re-reads, the OAuth front, the heartbeats) fills what it has; an absent field is an
unknown, never a `no`. Times are epoch seconds of the proxy's clock unless a row's own time is meant.
"""

from __future__ import annotations

import msgspec

from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Note
from proxy.core.memory import AccountChange, BackendVerdicts, ClientMemory, OauthEvent
from proxy.core.token import Reading

__all__ = [
    "Absence",
    "AccountChange",
    "Activity",
    "BackendVerdicts",
    "ClientMemory",
    "Coverage",
    "Death",
    "Evidence",
    "NeighbourIncident",
    "NeighbourRequest",
    "OauthEvent",
    "Others",
]


class Activity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a tenant usually does. `usual_gap` is the longest ordinary pause between two requests in seconds, learned from
    `samples` pauses over `learned_over` seconds of its past, or `given` by the operator, who may name its kind of `client` too;
    `last_*` describe its last request before the end of the time asked about."""

    last_at: float | None = None
    last_status: int | None = None
    last_reason: str = ""
    last_incident: str = ""
    last_user_agent: str = ""
    usual_gap: float | None = None
    samples: int = 0
    learned_over: float | None = None
    given: bool = False
    client: str = ""


class NeighbourIncident(msgspec.Struct, frozen=True, omit_defaults=True):
    """Incidents of one tenant and reason in the same minute, ours left out. `at` is the first of them."""

    tenant: str
    reason: str
    at: float
    count: int = 1


class Death(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another token seen to end in the same minute: `how` is deleted or revoked, `at` when that was first seen, `alive` when
    it was last seen alive."""

    fingerprint: str
    tenant: str
    at: float
    how: str = "deleted"
    application: str | None = None
    alive: float | None = None


class NeighbourRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request of another tenant near the instant at which this token was revoked. `first_use`: the first of its token.
    `seconds` passed until the backend answered it, None where that is not known. `renewed`: its token came from a refresh."""

    tenant: str
    at: float
    first_use: bool | None = None
    seconds: float | None = None
    renewed: bool = False


class Others(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened beside: incidents and deaths within a minute of this one, requests within seconds of the revocation."""

    incidents: tuple[NeighbourIncident, ...] = ()
    deaths: tuple[Death, ...] = ()
    requests: tuple[NeighbourRequest, ...] = ()


class Coverage(msgspec.Struct, frozen=True, omit_defaults=True):
    """For which part of a time it is proven that the listener was up. `proven` is a share, 0 to 1; `gaps` are (from, to)."""

    proven: float
    gaps: tuple[tuple[float, float], ...] = ()


class Absence(msgspec.Struct, frozen=True, omit_defaults=True):
    """A question about a time in which nothing seems to have arrived, and what is known of it. `reported_at`: when the
    customer says that it failed. `requests`: of this tenant; `others`: of everybody else that is known; `unattributed`: with
    no credential or one of nobody we know, so that any of them may have been this tenant's. `renamed`: the tenant as which the
    token of the last request was used after it; `as_renamed` requests of that one came."""

    start: float
    end: float
    requests: int | None = None
    others: int | None = None
    reported_at: float | None = None
    unattributed: int | None = None
    renamed: str = ""
    as_renamed: int = 0


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything known of one incident, or (without an incident) of one silence.

    `history` is the token's as known now; the one at the time is in the incident. `readings` are looks at *other*
    sources taken for this incident. `backend_verdicts` are this token's, by instance. `addressed_tenant` is whose URL or
    host was called. `required_scopes` are those of which the operation needs one, and `reads_only` whether the tenant may only
    read, both by the settings of now. `grant_exists` tells whether an
    authorization grant of the same application and owner is known (authorization-code set-up). `first_uses` maps the
    fingerprint of another token to its first use seen here, `first_uses_of_rows` its row; `not_renewed` holds both of those of
    which it was seen, before their first use, that no refresh had given them. `refresh_token_of` names the access token with
    which the presented secret was issued here as a refresh token. `owner_change` is the last change that SCIM made to the
    account that owns the token. `addressed_serves` tells whether requests with tokens of `addressed_tenant` are served, so that
    the name in the address is one that rows have.
    """

    incident: Incident | None = None
    notes: tuple[Note, ...] = ()
    history: TokenHistory | None = None
    activity: Activity | None = None
    client: ClientMemory | None = None
    others: Others | None = None
    backend_verdicts: tuple[BackendVerdicts, ...] = ()
    coverage: Coverage | None = None
    absence: Absence | None = None
    oauth: tuple[OauthEvent, ...] = ()
    readings: tuple[Reading, ...] = ()
    addressed_tenant: str = ""
    required_scopes: tuple[str, ...] = ()
    reads_only: bool | None = None
    grant_exists: bool | None = None
    first_uses: dict[str, float] = {}
    owner_change: AccountChange | None = None
    addressed_serves: bool | None = None
    first_uses_of_rows: dict[str, float] = {}
    not_renewed: tuple[str, ...] = ()
    refresh_token_of: str = ""
