"""Which settings can change while the proxy runs, and what became of the last attempt: taken in whole, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from proxy.admin.health import Part, State
from proxy.settings import Settings, changed
from proxy.wire.state import StartFault

LIVE: Final = frozenset(
    {
        "base_path", "fingerprint_key", "fingerprint_key_file", "fingerprint_previous", "fingerprint_previous_file", "fresh",
        "oauth", "policy", "source", "tenant_route", "tenants", "upstream", "watch_every",
        "listen.body_read_timeout", "listen.drain_seconds", "listen.head_limit", "listen.head_timeout", "listen.header_count",
        "listen.idle_timeout", "listen.max_connections", "listen.methods", "listen.target_limit", "listen.trusted_proxies",
        "forward_auth", "limits", "listen.tls", "listen.write_timeout", "ops.tls", "ops.token",
        "ops.token_file",
    }
)  # fmt: skip
"""What a reload changes. Everything else is built once, and a file that changes it needs a restart."""


class Reloads:
    """Remembers. `applied_at` in epoch seconds: when the settings in force were taken."""

    def __init__(self, saw: Callable[[str], None]) -> None:
        """`saw` gets the outcome: applied or refused."""
        self.applied_at = time.time()
        self.refused = ""
        self._saw = saw

    def apply(self) -> None:
        """The settings are in force."""
        self.applied_at, self.refused = time.time(), ""
        self._saw("applied")

    def refuse(self, why: str) -> None:
        """They are not; those before stay in force."""
        self.refused = why
        self._saw("refused")

    def part(self) -> Part:
        """What readiness tells of it. Good settings are in force either way, so it does not decide."""
        return Part("settings", State.DEGRADED if self.refused else State.OK, self.refused and f"not taken: {self.refused}")


def require_live(before: Settings, after: Settings) -> None:
    """Raise StartFault, with their names, when settings differ that a running proxy cannot change."""
    fixed = [key for key in changed(before, after) if key not in LIVE]
    if before.store.password_file == after.store.password_file is not None and "store.password" in fixed:
        fixed.remove("store.password")  # the file is read for each new connection to the store
    if bool(before.ops.token) != bool(after.ops.token):
        fixed.append("ops.token (given or not)")
    if bool(before.listen.tls.cert_file) != bool(after.listen.tls.cert_file):
        fixed.append("listen.tls (given or not)")
    one, other = before.ops.tls, after.ops.tls
    if bool(one.cert_file) != bool(other.cert_file):
        fixed.append("ops.tls.cert_file (given or not)")
    if bool(one.client_ca_file) != bool(other.client_ca_file):
        fixed.append("ops.tls.client_ca_file (given or not)")
    if fixed:
        raise StartFault(f"{', '.join(fixed)} cannot change while the proxy runs: restart it, or undo the change.")
