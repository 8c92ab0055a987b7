"""Reads a token anew from every configured source, for `replay`: as the proxy would before it refuses, past every memory."""

from __future__ import annotations

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.token import Known, Reading
from proxy.settings import Settings
from proxy.tasks import Tasks
from proxy.wire.token_sources import composed, sources_of


async def read_now(settings: Settings, fingerprinter: Fingerprinter, row: Known | None, token: bytes | None) -> Reading | None:
    """The state now: of the token itself if it is given, else of the row as it was last seen. None when there is neither, or
    when the source cannot read a row without its token. Raises StartFault for a source whose files are no use."""
    tasks = Tasks(lambda _name, _error: None)
    sources = sources_of(settings, fingerprinter, tasks, lambda _text: None)
    try:
        source = composed(sources, settings, tasks)
        if token is not None:
            return await source.second_look(Secret(token, fingerprinter.of(token)))
        return None if row is None else (await source.reread([row])).get(row.row)
    finally:
        await tasks.close()
        for one in sources:
            if (close := getattr(one, "close", None)) is not None:
                await close()
