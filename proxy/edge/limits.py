"""How often a client may ask and be refused. Over a limit it gets a 429 that says when to come again; never a 401.

A refusal is limited when it is about to be given, so that a good token is never in the way of a bad one's limit.
"""

from __future__ import annotations

import time

from proxy.core.rate import Buckets, neighbourhood


class Rate:
    """A limit for each address and one for each tenant, either of them perhaps none. Numbers are per minute, 0 for none.
    What is asked gives 0.0, or the seconds until one more is allowed."""

    __slots__ = ("_address", "_tenant")

    def __init__(self, per_address: int, per_tenant: int) -> None:
        self._address = Buckets(per_address) if per_address else None
        self._tenant = Buckets(per_tenant) if per_tenant else None

    def of_address(self, client: str) -> float:
        """Count one of an address."""
        return self._address.wait(neighbourhood(client), time.monotonic()) if self._address is not None else 0.0

    def of_tenant(self, tenant: str) -> float:
        """Count one of a tenant. Those whose tenant is not known share no limit: strangers would use up each other's."""
        if self._tenant is None or tenant[:1] == "_":
            return 0.0
        return self._tenant.wait(tenant, time.monotonic())


def rate(per_address: int, per_tenant: int) -> Rate | None:
    """The limits, None where there is neither: then nothing stands on the way."""
    return Rate(per_address, per_tenant) if per_address or per_tenant else None
