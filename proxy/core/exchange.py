"""One client request and everything known about its answer: one frozen value at the end of the road.

Log, metrics, history and incidents read this and nothing else. It holds no secret and nothing of a query's values.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

OAUTH: Final = "oauth"
"""The credential of a call of an OAuth endpoint: another matter than a bearer token, and nothing is said of it."""


GRANTED: Final = 200
"""The status by which we tell a front that asked that a request may pass. No other answer of ours has it, so that such an
exchange counts as one that worked: what the backend then said is not known here."""


class AnsweredBy(enum.StrEnum):
    """Who gave the client its answer. `nobody`: the client left, or the connection broke before a status went out."""

    PROXY = "proxy"
    BACKEND = "backend"
    NOBODY = "nobody"


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request and its answer. Times in epoch seconds (UTC), durations in seconds, sizes in body bytes.

    `fingerprint` is empty without a bearer credential. `reason` is the verdict's Reason (also in observe mode, where
    `observed` is True when enforce would have refused). `credential`: bearer, missing, several, malformed:<why>, or oauth.
    `source`/`via`/`state_age` tell which reading the verdict rests on. `fault` is set when something broke: a word of
    answers.Fault. `label` of a tenant not known is `_unknown`. `addressed`: whose URL or host was called,
    where the route tells.
    """

    id: str
    at: float
    method: str
    target: str
    operation: str
    tenant: str
    client: str
    status: int
    answered_by: AnsweredBy
    credential: str
    fingerprint: str = ""
    verdict: str = ""
    reason: str = ""
    observed: bool = False
    source: str = ""
    via: str = ""
    state_age: float = 0.0
    fault: str = ""
    incident: str = ""
    user_agent: str = ""
    host: str = ""
    backend: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    lookup_seconds: float = 0.0
    backend_seconds: float = 0.0
    total_seconds: float = 0.0
    attempts: int = 1
    traceparent: str = ""
    addressed: str = ""
