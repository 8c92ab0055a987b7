"""A client's certificate as a value. Pure: that it is genuine, the TLS handshake has found out before it is read here."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

TEXT_LIMIT: Final = 64
"""Characters of a name and of a serial number that are told: a common name has 64 at most (RFC 5280, ub-common-name)."""


class Certificate(msgspec.Struct, frozen=True):
    """Of whom it is: the subject's common name and the serial number, which tell it from others of its authority; all its names
    (common names, and the alternative ones of any kind); and the epoch second at which it ends."""

    subject: str
    serial: str
    names: frozenset[str]
    until: float


def certificate_of(told: Mapping[str, Any]) -> Certificate | None:
    """Read what `ssl.SSLObject.getpeercert()` tells of a certificate that was verified; None where it tells of none."""
    if not told:
        return None
    common = [value for part in told.get("subject", ()) for key, value in part if key == "commonName"]
    names = frozenset((*common, *_alternative(told)))
    subject = common[0] if common else min(names, default="")
    return Certificate(
        subject[:TEXT_LIMIT], str(told["serialNumber"])[:TEXT_LIMIT], names, float(ssl.cert_time_to_seconds(told["notAfter"]))
    )


def _alternative(told: Mapping[str, Any]) -> Iterator[str]:
    """Names of DNS, e-mail and URI (such as spiffe://...), addresses: whatever is written as text."""
    for _, value in told.get("subjectAltName", ()):
        if isinstance(value, str):
            yield value
