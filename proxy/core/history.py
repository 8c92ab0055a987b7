"""What the proxy itself remembers of a token, although its source may delete or overwrite the row."""

from __future__ import annotations

import msgspec

from proxy.core.token import Reading, TokenState


class StateChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of a token's state, dated by the two readings between which it happened (epoch seconds)."""

    before: TokenState
    after: TokenState
    seen_before: float
    seen_after: float


class ClientIdentity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who presented a token: family of user agent and address prefix (/24 or /48), with first and last time."""

    agent: str
    prefix: str
    first: float
    last: float
    count: int = 1


class TokenHistory(msgspec.Struct, frozen=True, omit_defaults=True):
    """The memory of one token. Times in epoch seconds. `counts` maps an answer (`200`, `401:revoked`, ...) to how often
    it was given. `first_good` is the first good answer on record; `failing_since` the first failure since the last good answer.
    `last_good_address` is whose URL or host the last good request called, where the route tells.
    Bounded: 32 changes, 8 clients, the newest kept."""

    fingerprint: str
    tenant: str = ""
    first_seen: float | None = None
    last_seen: float | None = None
    last_good: float | None = None
    last_good_operation: str = ""
    first_bad: float | None = None
    last_bad: float | None = None
    last_bad_reason: str = ""
    counts: dict[str, int] = {}
    clients: tuple[ClientIdentity, ...] = ()
    changes: tuple[StateChange, ...] = ()
    last_reading: Reading | None = None
    first_good: float | None = None
    failing_since: float | None = None
    last_good_address: str = ""
