"""The port that a dialect fills: one database server with Doorkeeper's tables, asked only for rows.

A dialect translates its driver's exceptions into `Trouble` and times into epoch seconds, and bounds every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from proxy.core.finding import Finding
from proxy.core.token import Known, Sibling
from proxy.sources.doorkeeper.rows import Row, Version


class Trouble(Exception):  # noqa: N818 - it is not an error of the caller's, and becomes a value at once
    """The database did not answer. `why` as in `Unavailable.why`; `detail` never holds a value of a row or a parameter.
    `of_a_row`: what one row holds kept a query from being answered, and so without that row it would be."""

    def __init__(self, why: str, detail: str = "", *, of_a_row: bool = False) -> None:
        super().__init__(why, detail)
        self.why = why
        self.detail = detail
        self.of_a_row = of_a_row


class Answer(msgspec.Struct, frozen=True):
    """Rows, with the server's clock while they were read and the proxy's clock when they arrived (epoch seconds).

    `by_token` has them by stored value, once for all who share the answer.
    """

    rows: Sequence[Row]
    source_time: float
    read_at: float
    by_token: Mapping[str, Row]


class Found(msgspec.Struct, frozen=True):
    """A stored value that equals, or begins, ends or spells like, a candidate. `column` as in `NearMiss.column`."""

    column: str
    value: str
    row: int | str
    tenant: str | None = None


class Kin(msgspec.Struct, frozen=True):
    """The rows around a row. `stored` is the row's own stored value now, None when it is gone; `tokens` are the stored
    values of the siblings, in their order."""

    stored: str | None
    siblings: Sequence[Sibling]
    tokens: Sequence[str]


class Database(Protocol):
    """One server. Every method raises Trouble and nothing else for the server's own trouble."""

    via: str

    async def by_forms(self, forms: Sequence[str]) -> Answer:
        """Rows whose stored token is one of `forms`. Calls made at the same time share a query."""

    async def by_keys(self, keys: Sequence[int | str], versions: Sequence[Version | None]) -> Answer:
        """Of the rows with these primary keys those that are gone or whose version is another (None: whatever it is)."""

    async def kin(self, known: Known) -> Kin:
        """The siblings of a row."""

    async def granted(self, known: Known) -> bool | None:
        """Whether an authorization grant of the row's application and owner exists; None when that cannot be told."""

    async def same_instant(self, known: Known) -> tuple[Sequence[Sibling], int]:
        """Some of the rows that were revoked in the same millisecond, and how many there are."""

    async def near(self, candidates: Sequence[str], prefix: str | None) -> Sequence[Found]:
        """Rows of any secret column that equal a candidate; tokens that begin with, end with or spell like `prefix`."""

    async def flags(self) -> tuple[str, ...]:
        """What is worth knowing of the schema, as words for `Surroundings.schema_flags`."""

    async def check(self) -> Sequence[Finding]:
        """What an operator should know or mend."""

    async def close(self) -> None:
        """Close every connection."""
