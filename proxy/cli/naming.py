"""Whether a tenant of that name was ever seen: of a misspelt one nothing is on record either, and that proves nothing."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from proxy.cli.configuration import command_for
from proxy.evidence.reader import EvidenceReader

COMPARED: Final = 5_000
"""Names that are compared letter by letter: some tenths of a second."""


async def never_seen(reader: EvidenceReader, tenant: str, config: Path | None) -> str:
    """Return what to tell the person when nobody of that name was ever seen, empty otherwise. StoreError."""
    names = await reader.tenants()
    if tenant in names:
        return ""
    near = nearest(tenant, names)
    meant = f" Did you mean {near}?" if near else ""
    return f"No tenant named {tenant} was ever seen here.{meant} {command_for('tenants', config)} lists those that were."


def nearest(tenant: str, names: Collection[str]) -> str:
    """The name that is most likely meant, empty when none is near."""
    folded = {name.casefold(): name for name in names if not name.startswith("_")}
    wanted = tenant.casefold()
    if wanted in folded or len(folded) > COMPARED:
        return folded.get(wanted, "")
    holding = [name for key, name in folded.items() if wanted and wanted in key]
    close = [folded[key] for key in difflib.get_close_matches(wanted, folded, n=1)]
    return next(iter([*close, *holding]), "")
