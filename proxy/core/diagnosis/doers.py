"""Who revoked many tokens at once: the OAuth calls that passed through here in that moment."""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.words import utc

IN_THAT_MOMENT: Final = 2.0
"""Seconds from the arrival of a call to a revocation that it causes: one request of the vendor's application."""


def doers(scene: Scene, end: float) -> tuple[str, ...]:
    """Lines that name the calls of the same tenant in whose moment many tokens were revoked."""
    tenant = scene.incident.tenant if scene.incident else ""
    near = [
        e
        for e in scene.evidence.oauth
        if e.status < 400
        and (e.endpoint in ("authorize", "revoke") or e.grant_type == "authorization_code")
        and (not tenant or e.tenant == tenant)
        and -0.1 <= end - scene.source_time(e.at) <= IN_THAT_MOMENT
    ]
    return tuple(
        f"A call of /oauth/{e.endpoint}{f' ({e.grant_type})' if e.grant_type else ''} by client {e.client or 'without a name'} "
        f"passed through here at {utc(e.at)}, in that moment ({e.status})."
        for e in sorted(near, key=lambda e: (e.at, repr(e)))
    )
