"""What the proxy remembers beside tokens, as an incident keeps it: what the same client did before, how each backend instance
answered, who last changed an account. Times in epoch seconds of the proxy's clock."""

from __future__ import annotations

import msgspec


class ClientMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the same client (user agent and address prefix) did before: its last request that carried a credential, the
    last one that was answered well, and since when its requests carry none.

    `shared`: requests of several tenants come from it and nothing tells whose this one is (an identity provider's egress).
    `again`: when it carried a credential once more after the incident.
    """

    last_with_credential: float | None = None
    last_good: float | None = None
    without_since: float | None = None
    shared: bool = False
    again: float | None = None


class BackendVerdicts(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one backend instance answered this token in the hour around the incident."""

    address: str
    accepted: int = 0
    refused: int = 0
    first_refused: float | None = None
    last_refused: float | None = None
    first_accepted: float | None = None
    last_accepted: float | None = None


class AccountChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of an account that passed through here by SCIM and that the backend took: which account, by what method."""

    account: str
    method: str
    at: float
    exchange: str = ""


class FirstUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first good use of a token that was seen here. `new`: the token was issued while this memory ran, so that it was the
    first use anywhere."""

    fingerprint: str
    tenant: str
    at: float
    new: bool = False
