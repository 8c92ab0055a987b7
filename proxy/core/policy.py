"""What the deployment wants beyond Doorkeeper's own rules. Frozen; built from settings by wire.py."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec


class Mode(enum.StrEnum):
    """`enforce` refuses; `observe` forwards everything and records what enforce would have refused."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class OnDisagreement(enum.StrEnum):
    """What to do when the backend refuses a token that is held valid."""

    PASS = "pass"  # noqa: S105 - a policy word, not a password
    RETRY_ONCE = "retry_once"
    UNAVAILABLE = "unavailable"


class Policy(msgspec.Struct, frozen=True):
    """The rules of a deployment. All durations in seconds.

    `read_scopes` and `write_scopes`: any one suffices, empty means none is required (Doorkeeper's own default).
    `fresh_for`: a reading this old is as good as now; older it is stale, and after `stale_grace` more it is no reading.
    """

    mode: Mode = Mode.ENFORCE
    tenant_modes: Mapping[str, Mode] = {}
    read_scopes: frozenset[str] = frozenset()
    write_scopes: frozenset[str] = frozenset()
    read_only_tenants: frozenset[str] = frozenset()
    refuse_inactive_owner: bool = False
    fresh_for: float = 2.0
    stale_grace: float = 300.0
    on_disagreement: OnDisagreement = OnDisagreement.PASS

    def mode_of(self, tenant: str) -> Mode:
        """The mode that holds for a tenant."""
        return self.tenant_modes.get(tenant, self.mode)
