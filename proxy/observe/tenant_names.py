"""Which tenants have their own name in labels: a set that cannot grow without bound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.observe.cells import OTHER, Count

ALL: Final = "_all"
NAME_LIMIT: Final = 128
"""Characters of a tenant in a label: an application's name may be a novel."""


NOT_TENANTS: Final = ("_unknown", "_none")
"""What stands for no tenant: always named, and no part of the limit."""


class TenantNames:
    """The configured tenants and the first ones seen, up to a limit; all others are `_other`."""

    def __init__(self, configured: Iterable[str], limit: int, overflow: Count, *, enabled: bool = True) -> None:
        self._names = {name: _printable(name) for name in configured} if enabled else {}
        self._room = max(0, limit - len(self._names)) if enabled else 0
        self._names |= {name: name for name in NOT_TENANTS} if enabled else {}
        self._overflow = overflow
        self._enabled = enabled

    def name(self, tenant: str) -> str | None:
        """Return the label value of a tenant that has one of its own."""
        return self._names.get(tenant)

    def label(self, tenant: str, *, proven: bool = True) -> str:
        """Return the label value for a tenant. One that a request merely claims (not `proven`) gets no new name."""
        name = self._names.get(tenant)
        if name is not None:
            return name
        if not self._enabled:
            return ALL
        if self._room == 0 or not proven:
            self._overflow.value += 1
            return OTHER
        self._room -= 1
        return self._names.setdefault(tenant, _printable(tenant))

    def known(self, tenant: str) -> str:
        """Return the label value without giving a name to a tenant that has none."""
        return self._names.get(tenant, tenant if tenant in (ALL, OTHER) else OTHER if self._enabled else ALL)


def _printable(tenant: str) -> str:
    """Return what a scrape can encode: a lone surrogate in one name must not cost all metrics."""
    return tenant[:NAME_LIMIT].encode("utf-8", "replace").decode()
