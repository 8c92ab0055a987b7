"""Which set-up each tenant uses, told from one pass over the rows of a source. Pure, and bounded by tenants, not by rows.

Of a tenant with several living tokens that one speaks which was used last, else the newest.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

from proxy.core.history import TokenHistory
from proxy.core.setup import Setup, setup_of
from proxy.core.token import Known

TENANTS_KEPT: Final = 10_000
"""Tenants whose set-up is told one by one, about 1 KB each; of more only the tokens are counted."""

_Rank = tuple[float, float]


class TenantSetup(msgspec.Struct, frozen=True, omit_defaults=True):
    """The set-up of a tenant, by the token that speaks for it, with what shows it. `stops_at` (epoch seconds): when a client
    that cannot renew its token stops. `tokens` are the living ones of the tenant."""

    tenant: str
    setup: Setup
    tokens: int
    evidence: tuple[str, ...] = ()
    stops_at: float | None = None


class _Tenant:
    __slots__ = ("granted", "rank", "token", "tokens")

    def __init__(self) -> None:
        self.tokens = 0
        self.rank: _Rank = (float("-inf"), float("-inf"))
        self.token: Known | None = None
        self.granted: bool | None = None


class Setups:
    """Gathers. `tokens` counts all living tokens by their set-up."""

    def __init__(self, kept: int = TENANTS_KEPT) -> None:
        self._kept = kept
        self._tenants: dict[str, _Tenant] = {}
        self.tokens: Counter[Setup] = Counter()
        self.left_out = 0

    def saw(self, token: Known, use: TokenHistory | None, *, granted: bool | None) -> None:
        """Take a living row, whether a grant of its application and owner exists, and what is remembered of its use."""
        self.tokens[kind_of(token, granted=granted)] += 1
        tenant = self._tenants.get(token.tenant)
        if tenant is None:
            if len(self._tenants) >= self._kept:
                self.left_out += 1
                return
            tenant = self._tenants[token.tenant] = _Tenant()
        tenant.tokens += 1
        used = use.last_good if use is not None and use.last_good is not None else float("-inf")
        if (used, token.created_at) >= tenant.rank:
            tenant.rank, tenant.token, tenant.granted = (used, token.created_at), token, granted

    def told(self) -> list[TenantSetup]:
        """Each tenant's, those first that will stop first, then by name."""
        found = [self._one(name, tenant) for name, tenant in self._tenants.items()]
        return sorted(found, key=lambda one: (one.stops_at is None, one.stops_at or 0.0, one.tenant))

    def _one(self, name: str, tenant: _Tenant) -> TenantSetup:
        found = setup_of(tenant.token, None, grant_exists=tenant.granted)
        return TenantSetup(name, found.setup, tenant.tokens, found.evidence, found.stops_at)


def kind_of(token: Known, *, granted: bool | None) -> Setup:
    """What `setup_of` says of a row without calls, without the words."""
    if token.refreshable or granted:
        return Setup.CODE
    return Setup.STATIC if token.refreshable is False else Setup.UNKNOWN
