"""What is known of a token: facts read from a source at an instant, never a judgement; and the port to read them.

Times are seconds since the epoch in UTC. A source translates whatever its technology gives (time zones, infinity, NULL).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from proxy.core.credential import Secret

FAR_FUTURE: Final = 253_402_300_799.0
"""What a source reports for `infinity`: the last second of the year 9999. JSON has no infinity."""
FAR_PAST: Final = -62_135_596_800.0
"""What a source reports for `-infinity`: the first second of the year 1."""


class OwnerState(enum.StrEnum):
    """The resource owner of a token as its own table has it."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    DELETED = "deleted"
    NONE = "none"
    NOT_READ = "not_read"


class Known(msgspec.Struct, frozen=True, tag="known", omit_defaults=True):
    """The row of a token. `row` is its primary key, by which it is read again without the secret.

    `stored` names the form in which the source holds the secret (plain, sha256). `stored_mark` is a digest of the stored
    value: when it changes the row no longer belongs to the presented secret. `refreshable` tells whether a refresh token
    was issued with it; `unused_successor` whether its previous_refresh_token is still set: it has not been used yet.
    """

    row: int | str
    tenant: str
    created_at: float
    expires_in: int | None = None
    revoked_at: float | None = None
    scopes: tuple[str, ...] = ()
    application: str | None = None
    application_name: str | None = None
    owner: str | None = None
    owner_state: OwnerState = OwnerState.NOT_READ
    refreshable: bool | None = None
    unused_successor: bool = False
    stored: str = "plain"
    stored_mark: str = ""

    @property
    def expires_at(self) -> float | None:
        """The last instant at which it is alive, or None. Doorkeeper: created_at + expires_in seconds, inclusive."""
        return None if self.expires_in is None else self.created_at + self.expires_in


class Unknown(msgspec.Struct, frozen=True, tag="unknown", omit_defaults=True):
    """The source answered and has no such token. `why` says more where the token itself tells: bad_signature, algorithm,
    unknown_key, wrong_issuer and so on (proxy/sources/jwt/verify.py), or refresh_token, wrong_audience (introspection)."""

    why: str = ""


class Unavailable(msgspec.Struct, frozen=True, tag="unavailable"):
    """The source did not answer. `why` is a word of a closed set: refused, timeout, error, overload, breaker, starting."""

    why: str
    detail: str = ""


TokenState = Known | Unknown | Unavailable


class Reading(msgspec.Struct, frozen=True, omit_defaults=True):
    """One look at a source: the state, who said it (`via`: primary, replica, file), and when.

    `read_at` is the proxy's clock, `source_time` the source's own clock at the same moment, None where it has none.
    """

    state: TokenState
    source: str
    via: str
    read_at: float
    source_time: float | None = None

    @property
    def clock_offset(self) -> float | None:
        """Seconds by which the source's clock is ahead of the proxy's."""
        return None if self.source_time is None else self.source_time - self.read_at


class Sibling(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another row that bears on a token. `refreshable` as in `Known`.

    `relation`: newer (same application and owner, created later), older,
    successor (its previous_refresh_token is this row's refresh token), predecessor, same_instant (revoked in the same
    millisecond)."""

    relation: str
    row: int | str
    created_at: float
    revoked_at: float | None = None
    expires_in: int | None = None
    tenant: str = ""
    application: str | None = None
    owner: str | None = None
    used: bool | None = None
    fingerprint: str | None = None
    refreshable: bool | None = None


class NearMiss(msgspec.Struct, frozen=True, omit_defaults=True):
    """A known secret that the presented bytes nearly are. `change` says what must be done to the presented bytes
    (scheme_doubled, quoted, whitespace, percent_encoded, base64_encoded, case_changed, alphabet_changed, truncated,
    extended) or is `none`; `column` is
    where the result was found (token, refresh_token, application_secret, grant, digest). `over` tells of a token what ended it
    (revoked, expired; empty: it is alive), None where that was not read."""

    change: str
    column: str
    fingerprint: str
    row: int | str | None = None
    tenant: str | None = None
    over: str | None = None


class Surroundings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a source knows around a token at an instant: read for an incident, never on the way of a request that is allowed.

    `readings` are what the other configured sources said of the same token then; `cross_checked` when one of them is asked of
    the same tokens, and `differs_since` when it was first found to say otherwise of this one (epoch seconds). `granted`: an
    authorization grant of the same application and owner exists; None when that cannot be told."""

    read_at: float
    source: str
    siblings: tuple[Sibling, ...] = ()
    near_misses: tuple[NearMiss, ...] = ()
    same_instant_count: int = 0
    schema_flags: tuple[str, ...] = ()
    error: str | None = None
    readings: tuple[Reading, ...] = ()
    cross_checked: bool = False
    differs_since: float | None = None
    granted: bool | None = None


class TokenSource(Protocol):
    """Where tokens are kept. Implementations never raise for the source's own trouble: they return `Unavailable`."""

    name: str

    async def read(self, secret: Secret) -> Reading:
        """Read the token's state in the ordinary way (a replica where there is one)."""

    async def second_look(self, secret: Secret) -> Reading:
        """Read it from the primary, past every cache: what a refusal must rest on."""

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Read rows again by primary key in one batch. A key that is absent from the answer was not read this time."""

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """Read what explains the state: siblings, near misses, mass events. Bounded in cost; errors go into `error`."""
