"""What can break between client and backend: one exception, one closed set of words."""

from __future__ import annotations

import enum


class FaultKind(enum.StrEnum):
    """Why an exchange had no whole answer. The values stand in logs, metrics and SCIM details."""

    BACKEND_UNREACHABLE = "backend_unreachable"
    BACKEND_CONNECT_TIMEOUT = "backend_connect_timeout"
    BACKEND_CLOSED = "backend_closed"
    BACKEND_GARBLED = "backend_garbled"
    BACKEND_TIMEOUT = "backend_timeout"
    BACKEND_BODY_BROKEN = "backend_body_broken"
    BACKEND_BODY_TIMEOUT = "backend_body_timeout"
    BACKEND_BUSY = "backend_busy"
    REQUEST_BODY_BROKEN = "request_body_broken"
    REQUEST_BODY_TIMEOUT = "request_body_timeout"
    CLIENT_GONE = "client_gone"
    CLIENT_STALLED = "client_stalled"
    EVIDENCE_UNAVAILABLE = "evidence_unavailable"
    DRAINING = "draining"
    OVERLOAD = "overload"
    TOO_MANY_REQUESTS = "too_many_requests"
    TOO_MANY_REFUSALS = "too_many_refusals"
    INTERNAL = "internal"


class ExchangeError(Exception):
    """An exchange broke. `untouched`: the backend can have seen nothing of the request."""

    def __init__(self, kind: FaultKind, *, untouched: bool = False) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.untouched = untouched
