"""Findings for `scim-witness doctor` that are the same in every dialect. Pure: counts and names only, never a value."""

from __future__ import annotations

from typing import Final

from proxy.core.finding import Finding, Level
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.options import Hashing, Owner
from proxy.sources.doorkeeper.schema import Shape

CLOCK_TOLERANCE: Final = 2.0
"""Seconds by which clocks may differ before it is worth a word: NTP keeps them within milliseconds."""

SAMPLE: Final = 1_000
"""Newest rows by which the stored form is guessed: a primary key's end, read in a millisecond."""


_FIXES: Final = (
    ("the DSN ", "correct what stands behind ? in the DSN"),
    ("the server offers no TLS", "switch TLS on at the server, do without it in the DSN, or correct the address"),
    ("the server's certificate", "name its authority in the DSN (sslrootcert, ssl_ca), and the host as the certificate does"),
)


def fix_of(trouble: Trouble, grants: str) -> str:
    """Return what to do about a server that does not answer; `grants` where it does, and refuses the question."""
    for detail, fix in _FIXES:
        if trouble.detail.startswith(detail):
            return fix
    if trouble.why == "error":
        return grants
    return "check address, port, database, user, password and files of the DSN, and that the server runs"


def of_clock(via: str, offset: float) -> Finding:
    """Judge by how many seconds a server's clock is ahead of ours."""
    if abs(offset) > CLOCK_TOLERANCE:
        return Finding(Level.WARNING, f"{via}: its clock is {offset:+.1f} s from ours", "run NTP on both")
    return Finding(Level.OK, f"{via}: clocks agree within {CLOCK_TOLERANCE:g} s")


def of_schema(via: str, shape: Shape, owner: Owner | None) -> list[Finding]:
    """Judge columns, the index that every look-up needs, and what a role cannot read of what explains refusals."""
    found = [Finding(Level.OK, f"{via}: {shape.tokens.name} has every column that a verdict needs")]
    if not shape.tokens.indexed("token"):
        found.append(Finding(
            Level.FAULT, f"{via}: {shape.tokens.name}.token has no index", "create a unique index: each look-up reads the table"
        ))  # fmt: skip
    if "previous_refresh_token_nullable" in shape.flags():
        found.append(Finding(
            Level.WARNING,
            f"{via}: previous_refresh_token may be NULL: Doorkeeper 5.4.0-5.5.0 may kill a stranger's token (doorkeeper#1497)",
            "upgrade Doorkeeper to 5.5.1 or later",
        ))  # fmt: skip
    if owner is not None and not owner.type and "resource_owner_type" in shape.tokens.columns:
        found.append(Finding(
            Level.WARNING,
            f"{via}: owners are polymorphic: one of another type may have the number of one in {owner.table}",
            f"set source.owner.type to the resource_owner_type of those in {owner.table}",
        ))  # fmt: skip
    hidden = [
        f"{table.name}.{column}"
        for table, columns in ((shape.tokens, ("refresh_token", "previous_refresh_token")), (shape.grants, ("token",)))
        for column in columns
        if column in table.columns and not table.reads(column)
    ]
    if hidden:
        found.append(
            Finding(Level.WARNING, f"{via}: cannot read {', '.join(hidden)}", "GRANT SELECT on them: they explain refusals")
        )
    return found


def of_hashing(via: str, hashing: Hashing, table: str, total: int, digests: int) -> Finding:
    """Judge the newest rows: a digest is 64 lower-case hex digits (a vendor's own generator may make such tokens too)."""
    if not total:
        return Finding(Level.WARNING, f"{via}: {table} is empty", "check database and schema")
    what = f"{via}: {digests} of the newest {total} tokens are stored as digests, and hashing is {hashing}"
    if hashing is Hashing.PLAIN and digests > total / 2:
        return Finding(Level.FAULT, what, "set hashing = sha256 (or sha256_fallback_plain)")
    if hashing is Hashing.SHA256 and digests < total:
        return Finding(Level.FAULT, what, "set hashing = plain, or sha256_fallback_plain if Doorkeeper has fallback: :plain")
    return Finding(Level.OK, what)
