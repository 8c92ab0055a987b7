"""Every answer that is ours: one table from reason or fault to status, RFC 6750 challenge and RFC 7644 error body.

Nothing of a request stands in an answer. The `detail` holds a stable code, the incident id and what to do, and no times:
SailPoint retries by substrings of it, and Okta shows it to the administrator.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Final
from urllib.parse import quote

import msgspec

from proxy.core.grammar import Fault
from proxy.core.outbound import Outbound
from proxy.core.verdict import MEANINGS, Reason
from proxy.edge.faults import FaultKind

RETRY_AFTER: Final = 10
"""Seconds we ask a client to wait after a 503: long enough for a failover, short enough not to be a quarantine."""
SERVER: Final = b"scim-witness"
PROBE: Final = b"HTTP/1.1 204 No Content\r\nServer: %b\r\n\r\n" % SERVER
"""The answer to our own heartbeat."""

_ALLOW: Final = b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
_PLAIN: Final = " !#$&'()*+,/:;=?@[]"
"""What passes in the fields for a front as it is, beside letters, digits and -._~"""
_dated: list[tuple[int, bytes]] = [(0, b"")]
"""The last Date that was written, and its second."""

_PHRASES: Final = {
    400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 405: b"Method Not Allowed", 408: b"Request Timeout",
    413: b"Content Too Large", 414: b"URI Too Long", 417: b"Expectation Failed", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}  # fmt: skip

_ADVICE: Final = {
    Reason.MISSING_CREDENTIAL: "Send Authorization: Bearer <token>.",
    Reason.MALFORMED_CREDENTIAL: "Check that the token field holds the token alone, without prefix, quotes or spaces.",
    Reason.SEVERAL_CREDENTIALS: "Send exactly one credential.",
    Reason.UNKNOWN: "Check that the token was issued for this environment, or issue a new one.",
    Reason.REVOKED: "Use the current token, or issue a new one.",
    Reason.EXPIRED: "Issue a new token.",
    Reason.INSUFFICIENT_SCOPE: "Issue a token with the scopes that provisioning needs.",
    Reason.OWNER_INACTIVE: "Reactivate the account that owns the token, or issue a token for another one.",
    Reason.SOURCE_UNAVAILABLE: "",
}

FAULTS: Final[dict[FaultKind, tuple[int, str]]] = {
    FaultKind.BACKEND_UNREACHABLE: (502, "The SCIM service behind this proxy cannot be reached."),
    FaultKind.BACKEND_CONNECT_TIMEOUT: (504, "The SCIM service behind this proxy did not accept the connection in time."),
    FaultKind.BACKEND_CLOSED: (502, "The SCIM service behind this proxy closed the connection without an answer."),
    FaultKind.BACKEND_GARBLED: (502, "The SCIM service behind this proxy gave an answer that is not valid HTTP."),
    FaultKind.BACKEND_TIMEOUT: (504, "The SCIM service behind this proxy did not answer in time."),
    FaultKind.BACKEND_BODY_BROKEN: (502, "The SCIM service behind this proxy broke off its answer."),
    FaultKind.BACKEND_BODY_TIMEOUT: (504, "The SCIM service behind this proxy stopped within its answer."),
    FaultKind.BACKEND_BUSY: (503, "The SCIM service behind this proxy is busy."),
    FaultKind.REQUEST_BODY_BROKEN: (400, "The body of the request is not framed correctly."),
    FaultKind.REQUEST_BODY_TIMEOUT: (408, "The body of the request did not arrive in time."),
    FaultKind.EVIDENCE_UNAVAILABLE: (503, "A refusal could not be put on record, so nothing was refused."),
    FaultKind.DRAINING: (503, "This instance is shutting down."),
    FaultKind.OVERLOAD: (503, "This proxy is overloaded."),
    FaultKind.TOO_MANY_REQUESTS: (429, "More requests than are allowed a minute. Nothing was refused; send this one again."),
    FaultKind.TOO_MANY_REFUSALS: (429, "More requests without a valid token than are allowed a minute."),
    FaultKind.INTERNAL: (503, "This proxy had an internal error; nothing was refused."),
}
"""Faults that are answered. CLIENT_GONE and CLIENT_STALLED have nobody to answer to."""


class ScimError(msgspec.Struct, frozen=True):
    """RFC 7644 section 3.12. `status` is a string there."""

    schemas: tuple[str, ...]
    status: str
    detail: str


def scim_body(status: int, detail: str) -> bytes:
    """Encode a SCIM error."""
    return msgspec.json.encode(ScimError(("urn:ietf:params:scim:api:messages:2.0:Error",), str(status), detail))


def refusal(reason: Reason, status: int, incident: str, realm: str, *, keep: bool, bodiless: bool) -> bytes:
    """Write a 401 or 403: challenge of RFC 6750 section 3, no `error` when no credential came (section 3.1)."""
    meaning = MEANINGS[reason]
    detail = f"{reason}: {meaning.sentence} {_ADVICE[reason]} Incident {incident}."
    lines = [b"X-Incident-Id: %b\r\n" % incident.encode()]
    if status == 401 or meaning.error is not None:
        lines.append(b"WWW-Authenticate: %b\r\n" % challenge(reason, realm))
    return _answer(status, detail, lines, keep=keep, bodiless=bodiless)


def challenge(reason: Reason, realm: str) -> bytes:
    """The WWW-Authenticate value. error_description keeps to %x20-21 / %x23-5B / %x5D-7E."""
    meaning = MEANINGS[reason]
    text = f'Bearer realm="{realm}"'
    if meaning.error is not None:
        text += f', error="{meaning.error}", error_description="{meaning.sentence.rstrip(".")}"'
    return text.encode()


def unable(reason: Reason, *, keep: bool, bodiless: bool) -> bytes:
    """Write the 503 for a token that could not be judged."""
    return _answer(503, f"{reason}: {MEANINGS[reason].sentence}", (), keep=keep, bodiless=bodiless)


def fault(kind: FaultKind, *, keep: bool, bodiless: bool) -> bytes:
    """Write the answer for a broken exchange."""
    status, sentence = FAULTS[kind]
    return _answer(status, f"{kind}: {sentence}", (), keep=keep, bodiless=bodiless)


def too_many(kind: FaultKind, seconds: int, *, keep: bool, bodiless: bool) -> bytes:
    """Write the 429 (RFC 6585 section 4) of one who is over a limit for so many seconds more."""
    status, sentence = FAULTS[kind]
    return _answer(status, f"{kind}: {sentence}", [b"Retry-After: %d\r\n" % seconds], keep=keep, bodiless=bodiless)


def disagreement(incident: str, *, keep: bool, bodiless: bool) -> bytes:
    """Write the 503 for a backend's refusal of a token that is alive, where the policy is `unavailable`."""
    detail = f"backend_disagrees: The SCIM service refused a token that is alive at its source. Try again. Incident {incident}."
    return _answer(503, detail, [b"X-Incident-Id: %b\r\n" % incident.encode()], keep=keep, bodiless=bodiless)


def malformed(message: Fault) -> bytes:
    """Write the answer to a message that was not understood; the connection ends with it."""
    lines = [_ALLOW] if message.status == 405 else []
    return _answer(message.status, f"bad_request: {message.why}", lines, keep=False, bodiless=message.bodiless)


def options(*, keep: bool) -> bytes:
    """Write the answer to an OPTIONS that ends here: the methods that are let through, nothing of the backend."""
    close = b"" if keep else b"Connection: close\r\n"
    return b"HTTP/1.1 204 No Content\r\nServer: %b\r\n%b%b%b\r\n" % (SERVER, date_line(), _ALLOW, close)


def granted(tenant: str, fingerprint: str, scopes: Sequence[str], *, keep: bool) -> bytes:
    """Tell a front that asked that the request may pass, and whose it is; what is not plain in names is percent-encoded."""
    lines = b"".join(
        b"X-Scim-Witness-%b: %b\r\n" % (name, quote(value, safe=_PLAIN).encode())
        for name, value in ((b"Tenant", tenant), (b"Token", fingerprint), (b"Scopes", " ".join(scopes)))
    )
    close = b"" if keep else b"Connection: close\r\n"
    head = b"HTTP/1.1 200 OK\r\nServer: %b\r\n%bCache-Control: no-store\r\n" % (SERVER, date_line())
    return b"%b%bContent-Length: 0\r\n%b\r\n" % (head, lines, close)


def date_line() -> bytes:
    """The Date field (RFC 9110 section 6.6.1), written once a second."""
    now = int(time.time())
    second, line = _dated[0]
    if second != now:
        line = b"Date: %b\r\n" % formatdate(now, usegmt=True).encode()
        _dated[0] = (now, line)
    return line


def explained(answer: Outbound, lines: list[bytes], reason: str, incident: str, *, keep: bool, bodiless: bool) -> bytes:
    """Write a backend's 401 or 403 with a SCIM body in place of its own; its challenge is kept."""
    kept = [line for line in lines if line[:8].lower() != b"content-"]
    sentence = "The SCIM service refused the token." if answer.status == 401 else "The SCIM service refused the operation."
    detail = f"backend_refused: {sentence} The token is {reason} at its source. Incident {incident}."
    body = scim_body(answer.status, detail)
    out = [b"HTTP/1.1 %d %b\r\n" % (answer.status, answer.phrase), *kept, b"X-Incident-Id: %b\r\n" % incident.encode()]
    out.append(b"Content-Type: application/scim+json\r\nContent-Length: %d\r\n" % len(body))
    return b"".join([*out, b"\r\n" if keep else b"Connection: close\r\n\r\n", b"" if bodiless else body])


def _answer(status: int, detail: str, lines: list[bytes] | tuple[bytes, ...], *, keep: bool, bodiless: bool) -> bytes:
    body = scim_body(status, detail)
    out = [
        b"HTTP/1.1 %d %b\r\nServer: %b\r\n%bCache-Control: no-store\r\n" % (status, _PHRASES[status], SERVER, date_line()),
        *lines,
        b"Content-Type: application/scim+json\r\nContent-Length: %d\r\n" % len(body),
    ]
    if status == 503:
        out.append(b"Retry-After: %d\r\n" % RETRY_AFTER)
    out.append(b"\r\n" if keep else b"Connection: close\r\n\r\n")
    if not bodiless:
        out.append(body)
    return b"".join(out)
