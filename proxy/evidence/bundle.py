"""The place of an incident in the hash chain of its writer, so that a bundle proves itself wherever it is kept. Pure.

Who holds the bundle can compute the digest again (docs/bundle.md), and compare it with what `incidents verify` reads later.
"""

from __future__ import annotations

import msgspec

from proxy.evidence import records, segment
from proxy.evidence.queries import Stored


class Seal(msgspec.Struct, frozen=True):
    """`digest`: SHA-256 (hex) over number, digest of the record before, and `record`, which is the JSON as it was written."""

    chain: str
    sequence: int
    previous: str
    digest: str
    record: str


def seal(stored: Stored) -> Seal:
    """Return the seal of an incident as the store has it."""
    _, digest = segment.encode(stored.sequence, stored.previous, records.INCIDENT + b" " + stored.raw)
    return Seal(stored.chain, stored.sequence, stored.previous, digest, stored.raw.decode())


def holds(found: Seal) -> bool:
    """Whether record and digest belong together."""
    record = records.INCIDENT + b" " + found.record.encode()
    return b"\n" not in record and segment.encode(found.sequence, found.previous, record)[1] == found.digest
