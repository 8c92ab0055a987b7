"""Who may see the ops listener. Pure: no clock, no I/O; the listener asks and obeys.

On loopback without a token: requests whose Host field names this machine, so that a web page cannot reach it by a name of
its own (DNS rebinding). Else a bearer token, compared in constant time, and a pause for whoever guesses; or a certificate of
the client, which the TLS handshake has verified: it must be in date still, and of a name that is let in. Where both are set,
both are asked for.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from proxy.admin.certificate import Certificate
from proxy.settings.section import is_loopback

GUESSES: Final = 10
"""Wrong tokens from one address before it must pause: a person mistypes twice, a misconfigured scraper every 15 s."""

PAUSE: Final = 60.0
"""Seconds within which guesses count, and for which an address then waits: 10 a minute never find 96 bits."""

ADDRESS_LIMIT: Final = 1_000
"""Addresses whose guesses are remembered; past it the one that guessed longest ago is forgotten."""


class Access(enum.StrEnum):
    """What the guard says."""

    GRANTED = "granted"
    MISSING = "missing"
    WRONG = "wrong"
    PAUSED = "paused"
    FOREIGN_HOST = "foreign_host"
    NO_CERTIFICATE = "no_certificate"
    OLD_CERTIFICATE = "old_certificate"
    UNLISTED_CERTIFICATE = "unlisted_certificate"


class Guard:
    """Decides about each request. ValueError when it would guard an address beyond loopback without token and certificates.

    `names` is None where clients need no certificate; else those whose holders are let in, and all of them where it is empty.
    """

    def __init__(self, host: str, token: str | None, names: frozenset[str] | None = None) -> None:
        if token is None and names is None and not is_loopback(host):
            raise ValueError("an ops listener beyond loopback needs a token or clients' certificates")
        self._digest: bytes | None = None
        self._guesses: dict[str, tuple[int, float]] = {}
        self.use(token, names)

    def use(self, token: str | None, names: frozenset[str] | None) -> None:
        """From now on ask for another token, or for certificates of other names. What was needed stays so: see require_live."""
        self._digest = None if token is None else sha256(token.encode()).digest()
        self._names = names

    def judge(
        self,
        peer: str,
        host: str,
        authorization: Sequence[str],
        now: float,
        certificate: Certificate | None = None,
        today: float = 0.0,
    ) -> Access:
        """Judge a request by the peer's address, its Host and Authorization fields, a monotonic clock in seconds, and its
        verified certificate at an epoch second."""
        if self._names is not None and (refusal := _refusal_of(certificate, self._names, today)) is not None:
            return refusal
        if self._digest is None:
            own = self._names is not None or is_loopback(_without_port(host))
            return Access.GRANTED if own else Access.FOREIGN_HOST
        count, since = self._guesses.get(peer, (0, now))
        if now - since >= PAUSE:
            count, since = 0, now
        if count >= GUESSES:
            return Access.PAUSED
        if not authorization:
            return Access.MISSING
        if self._is_right(authorization):
            self._guesses.pop(peer, None)
            return Access.GRANTED
        self._remember(peer, count + 1, now if count + 1 == GUESSES else since)
        return Access.WRONG

    def _is_right(self, authorization: Sequence[str]) -> bool:
        scheme, _, token = authorization[0].strip().partition(" ")
        given = sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        same = hmac.compare_digest(given, self._digest or b"")
        return same and scheme.lower() == "bearer" and len(authorization) == 1

    def _remember(self, peer: str, count: int, since: float) -> None:
        self._guesses.pop(peer, None)
        if len(self._guesses) >= ADDRESS_LIMIT:
            del self._guesses[next(iter(self._guesses))]
        self._guesses[peer] = (count, since)


def _refusal_of(certificate: Certificate | None, names: frozenset[str], today: float) -> Access | None:
    """Why a certificate lets nobody in. Its end is looked at with each request: a connection may outlive it."""
    if certificate is None:
        return Access.NO_CERTIFICATE
    if certificate.until <= today:
        return Access.OLD_CERTIFICATE
    return Access.UNLISTED_CERTIFICATE if names and not names & certificate.names else None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
