"""A row of oauth_access_tokens as any dialect reads it, and what it means as `Known`. Pure.

A dialect delivers times as epoch seconds in UTC (floats, infinite where the database says so) and names as text.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from proxy.core.token import FAR_FUTURE, FAR_PAST, Known, OwnerState
from proxy.sources.doorkeeper.options import NO_TENANT, Hashing

MARK_HEX_DIGITS: Final = 16
"""64 bits: enough to notice that a stored value changed, too few to be of use to anybody else."""

_WHITE: Final = re.compile(r"[ \t\n\v\f\r]+")


Version = tuple[int | None, int | None, int | None, float]
"""What changes with each of the rows behind ours: of the token, the application and the owner; and with the server."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """`asked` is the key that a re-read asked for; all else is None when there is no such row. `owner_found` is None when no
    owner table is configured, `refreshable` when its column cannot be read. `version` is None where a dialect cannot tell."""

    asked: int | str
    id: int | str | None
    token: str
    created_at: float | None
    expires_in: int | None
    revoked_at: float | None
    scopes: str | None
    application: str | None
    application_name: str | None
    owner: str | None
    owner_found: bool | None
    owner_active: bool | None
    tenant: str | None
    refreshable: bool | None
    unused_successor: bool | None
    version: Version | None = None


def stored_forms(presented: bytes, hashing: Hashing) -> tuple[str, ...]:
    """Return the values under which a presented token may be stored, the one that Doorkeeper tries first in front.

    Empty when the database's text cannot hold the token, which then is unknown without asking.
    Doorkeeper: lib/doorkeeper/models/concerns/secret_storable.rb, lib/doorkeeper/secret_storing/sha256_hash.rb.
    """
    text = storable_text(presented)
    if text is None:
        return ()
    if hashing is Hashing.PLAIN:
        return (text,)
    digest = hashlib.sha256(presented).hexdigest()
    return (digest,) if hashing is Hashing.SHA256 else (digest, text)


def storable_text(raw: bytes) -> str | None:
    """Return bytes as text of a UTF-8 database, None when it cannot hold them."""
    if b"\0" in raw:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def match(presented: bytes, forms: tuple[str, ...], rows: Mapping[str, Row]) -> tuple[Row, str] | None:
    """Return the row that belongs to a presented token and the form in which it is stored.

    Compared as bytes, because a database may compare without case or by a collation.
    """
    for form in forms:
        row = rows.get(form)
        if row is not None and hmac.compare_digest(row.token.encode(), form.encode()):
            return row, "plain" if hmac.compare_digest(form.encode(), presented) else "sha256"
    return None


def to_known(row: Row, stored: str, mark: Callable[[bytes], str]) -> Known:
    """Return the facts of a row. `mark` makes a keyed digest of the stored value."""
    if row.id is None:
        raise ValueError("there is no such row")
    return Known(
        row=row.id,
        tenant=row.tenant or NO_TENANT,
        created_at=FAR_PAST if row.created_at is None else instant(row.created_at),
        expires_in=row.expires_in,
        revoked_at=None if row.revoked_at is None else instant(row.revoked_at),
        scopes=scopes(row.scopes),
        application=row.application,
        application_name=row.application_name,
        owner=row.owner,
        owner_state=_owner_state(row),
        refreshable=row.refreshable,
        unused_successor=bool(row.unused_successor),
        stored=stored,
        stored_mark=mark((row.token or "").encode())[:MARK_HEX_DIGITS],  # NULL where a vendor blanks it
    )


def instant(seconds: float) -> float:
    """Return epoch seconds within what a record can hold: infinity and what lies beyond the years 1 to 9999 are cut."""
    if math.isnan(seconds):
        raise ValueError("a time that is no number")
    return min(max(seconds, FAR_PAST), FAR_FUTURE)


def scopes(text: str | None) -> tuple[str, ...]:
    """Split scopes as Ruby's String#split does: on ASCII white space, never on commas; case is kept."""
    return tuple(part for part in _WHITE.split(text) if part) if text else ()


def _owner_state(row: Row) -> OwnerState:
    if row.owner is None:
        return OwnerState.NONE
    if row.owner_found is None:
        return OwnerState.NOT_READ
    if not row.owner_found:
        return OwnerState.DELETED
    return OwnerState.ACTIVE if row.owner_active else OwnerState.INACTIVE
