"""Who will fail next, and why: rules over the rows of a source and over what the proxy remembers of their use. Pure.

A rule speaks only of tokens that are alive, but for `quiet_since_refusal`, which speaks of tenants that gave up. Findings are
counted without end and kept up to a limit, so that ten million rows need no more memory than ten.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from proxy.core.diagnosis.clients import by_hand
from proxy.core.diagnosis.words import utc
from proxy.core.history import TokenHistory
from proxy.core.setups import Setups
from proxy.core.token import Known, OwnerState

DAY: Final = 86_400.0

KEPT: Final = 1_000
"""Findings kept per code, those that fail first: a person reads no more, and the counts are whole."""

IN_USE: Final = 30 * DAY
"""A token counts as in use for this long after a good answer: monthly jobs are the rarest that provisioning knows."""

QUIET: Final = 3_600.0
"""Seconds without a request after a refusal before a tenant counts as having given up: retries come within minutes."""


class Code(enum.StrEnum):
    """What was found. The values stand in JSON, in metrics and in docs/audit.md."""

    EXPIRING = "expiring"
    NO_REFRESH_TOKEN = "no_refresh_token"  # noqa: S105 - a code
    SUPERSEDED_IN_USE = "superseded_in_use"
    OWNER_INACTIVE = "owner_inactive"
    SHARED_TOKEN = "shared_token"  # noqa: S105 - a code
    CLEANUP_DELETES = "cleanup_deletes"
    NULLABLE_PREVIOUS_REFRESH_TOKEN = "nullable_previous_refresh_token"  # noqa: S105 - a code
    QUIET_SINCE_REFUSAL = "quiet_since_refusal"


MEANINGS: Final[Mapping[Code, str]] = {
    Code.EXPIRING: "The token expires within the days asked for.",
    Code.NO_REFRESH_TOKEN: "It came from an authorization code and has no refresh token: a person must authorize anew.",
    Code.SUPERSEDED_IN_USE: "A newer token of the same application and owner exists, and this one is still in use.",
    Code.OWNER_INACTIVE: "The account that owns it is inactive or deleted; Doorkeeper does not look at it, others do.",
    Code.SHARED_TOKEN: "Different clients use the same token: replacing it for one cuts off the other (reuse_access_token).",
    Code.CLEANUP_DELETES: "Alive, but Doorkeeper's clean-up before 5.9.0 deletes it by its age (doorkeeper#1442, #1792).",
    Code.NULLABLE_PREVIOUS_REFRESH_TOKEN: "previous_refresh_token may be NULL: Doorkeeper 5.4.0 to 5.5.0 then revokes a "
    "stranger's token (doorkeeper#1497).",
    Code.QUIET_SINCE_REFUSAL: "The tenant's last request was refused, and none has come since.",
}
"""One sentence per code."""


class Row(msgspec.Struct, frozen=True):
    """A row of a source. `newest_at`: when the newest living token of the same application and owner was issued. `granted`: an
    authorization grant of the same application and owner exists; None when grants cannot be read."""

    source: str
    token: Known
    newest_at: float | None = None
    granted: bool | None = None


class Rules(msgspec.Struct, frozen=True):
    """What is asked for, in seconds. `cleanup_after` is Doorkeeper's `access_token_expires_in`, None: not told."""

    within: float
    cleanup_after: float | None = None


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One token (or tenant) that will fail, or has. `at` is when, in epoch seconds: None when nobody can say."""

    code: Code
    tenant: str
    sentence: str
    at: float | None = None
    source: str = ""
    row: int | str | None = None
    application: str | None = None
    owner: str | None = None
    fingerprint: str = ""


def alive(token: Known, now: float) -> bool:
    """Whether Doorkeeper takes the token at `now` (epoch seconds, UTC)."""
    if token.revoked_at is not None and token.revoked_at <= now:
        return False
    return token.expires_at is None or now <= token.expires_at


def examine(row: Row, use: TokenHistory | None, now: float, rules: Rules) -> Iterator[Finding]:
    """Yield what is to be said of one row; nothing of a dead one. `use` is what is remembered of it."""
    token = row.token
    if not alive(token, now):
        return
    for code, at, sentence in (
        *_expiring(row, now, rules),
        *_superseded(row, use, now),
        *_owner(token),
        *_shared(use, now),
        *_cleanup(token, now, rules),
    ):
        yield Finding(
            code,
            token.tenant,
            sentence,
            at,
            row.source,
            token.row,
            token.application_name or token.application,
            token.owner,
            use.fingerprint if use is not None else "",
        )


_Said = tuple[Code, float | None, str]


def _expiring(row: Row, now: float, rules: Rules) -> Iterator[_Said]:
    token = row.token
    ends = min((at for at in (token.expires_at, token.revoked_at) if at is not None), default=None)
    if ends is None or ends > now + rules.within:
        return
    how = "is to be revoked" if ends == token.revoked_at else "expires"
    if token.refreshable and how == "expires":
        return  # its client renews it: that is how short lives are meant
    yield Code.EXPIRING, ends, f"{how} {utc(ends)}"
    if row.granted and token.refreshable is False and how == "expires":
        yield Code.NO_REFRESH_TOKEN, ends, f"was authorized by a person and stops {utc(ends)}: have it authorized again"


def _superseded(row: Row, use: TokenHistory | None, now: float) -> Iterator[_Said]:
    newest = row.newest_at
    if newest is None or newest <= row.token.created_at or use is None or use.last_good is None:
        return
    if use.last_good > newest and now - use.last_good <= IN_USE:
        yield (
            Code.SUPERSEDED_IN_USE,
            None,
            f"a newer one was issued {utc(newest)}, and this one was still used {utc(use.last_good)}",
        )


def _owner(token: Known) -> Iterator[_Said]:
    if token.owner_state in (OwnerState.INACTIVE, OwnerState.DELETED):
        yield Code.OWNER_INACTIVE, None, f"owner {token.owner} is {token.owner_state}"


def _shared(use: TokenHistory | None, now: float) -> Iterator[_Said]:
    """By product, not by address: an identity provider calls from many networks."""
    if use is None:
        return
    recent = (c for c in use.clients if now - c.last <= IN_USE and c.agent and not by_hand(c.agent))
    agents = sorted({client.agent for client in recent})
    if len(agents) > 1:
        yield Code.SHARED_TOKEN, None, f"used by {' and by '.join(agents[:3])}"


def _cleanup(token: Known, now: float, rules: Rules) -> Iterator[_Said]:
    """lib/doorkeeper/rake/db.rake, stale_records_cleaner.rb before 5.9.0: rows without refresh token, by created_at alone."""
    after = rules.cleanup_after
    if after is None or token.refreshable is not False:
        return
    deleted = token.created_at + after
    if token.expires_at is not None and token.expires_at <= deleted:
        return
    if deleted > now + rules.within:
        return
    may = "" if token.expires_in is not None else " (newer ones of these versions spare tokens without expiry)"
    when = "the next run deletes it" if deleted <= now else f"a run after {utc(deleted)} deletes it"
    lives = "never expires" if token.expires_at is None else f"lives until {utc(token.expires_at)}"
    yield Code.CLEANUP_DELETES, max(deleted, now), f"{when}, although it {lives}{may}"


def schema_finding(source: str, flags: Iterable[str], previous_null: int) -> Finding | None:
    """What the table itself says. `previous_null` counts rows whose previous_refresh_token is NULL."""
    if "previous_refresh_token_nullable" not in flags:
        return None
    return Finding(
        Code.NULLABLE_PREVIOUS_REFRESH_TOKEN,
        "",
        f"the column is nullable, {previous_null} rows hold NULL: upgrade Doorkeeper to 5.5.1 or later",
        source=source,
    )


def given_up(uses: Iterable[TokenHistory], now: float) -> Iterator[Finding]:
    """Yield tenants whose last request was refused, by tokens that had worked; one finding each."""
    last_good: dict[str, float] = {}
    refused: dict[str, TokenHistory] = {}
    for use in uses:
        if not use.tenant or use.last_good is None:
            continue
        last_good[use.tenant] = max(use.last_good, last_good.get(use.tenant, use.last_good))
        before = refused.get(use.tenant)
        if use.last_bad is not None and (before is None or use.last_bad > (before.last_bad or 0.0)):
            refused[use.tenant] = use
    for tenant, use in refused.items():
        at = use.last_bad or 0.0
        if at > last_good[tenant] and now - at >= QUIET:
            why = use.last_bad_reason or "refused"
            yield Finding(
                Code.QUIET_SINCE_REFUSAL,
                tenant,
                f"last request {utc(at)}, answered {why}; last good one {utc(last_good[tenant])}",
                at,
                fingerprint=use.fingerprint,
            )


class Tally:
    """Counts findings and keeps the first to fail of each code."""

    def __init__(self, kept: int = KEPT) -> None:
        self._limit = kept
        self._heaps: dict[Code, list[tuple[float, int, Finding]]] = {}
        self._number = 0
        self.counts: dict[Code, int] = dict.fromkeys(Code, 0)
        self.rows = 0
        self.alive = 0
        self.setups = Setups()

    def add(self, finding: Finding) -> None:
        """Count it, and keep it if it is among the first to fail."""
        self.counts[finding.code] += 1
        self._number += 1
        heap = self._heaps.setdefault(finding.code, [])
        item = (-(finding.at if finding.at is not None else float("inf")), -self._number, finding)
        if len(heap) < self._limit:
            heapq.heappush(heap, item)
        else:
            heapq.heappushpop(heap, item)

    def saw(self, row: Row, use: TokenHistory | None, now: float, rules: Rules) -> None:
        """Examine a living row and count what is found."""
        self.alive += 1
        self.setups.saw(row.token, use, granted=row.granted)
        for finding in examine(row, use, now, rules):
            self.add(finding)

    def findings(self) -> list[Finding]:
        """What was kept: in the order of the codes, the first to fail in front."""
        return [item[2] for code in Code for item in sorted(self._heaps.get(code, ()), reverse=True)]

    @property
    def total(self) -> int:
        """All that was found."""
        return sum(self.counts.values())

    def next_failure(self, code: Code) -> float | None:
        """When the first token of this code fails (epoch seconds)."""
        times = [-item[0] for item in self._heaps.get(code, ()) if item[0] != float("-inf")]
        return min(times, default=None)
