"""`incidents export`: one self-contained file to attach to a ticket. A readable page that holds the record as JSON too."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from proxy import __version__
from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, settings_from
from proxy.cli.incidents_show import IncidentArgument, record
from proxy.cli.reading import ask, diagnosed, now
from proxy.cli.screen import Status
from proxy.core.diagnosis import Diagnosis, Evidence
from proxy.core.explain import explain_text
from proxy.evidence.bundle import Seal, seal
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError

_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Incident {id}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere}}</style></head><body>
<pre>{text}</pre>
<h2>The record</h2>
<pre id="record">{json}</pre>
<p>{chain}</p>
<p>Written by scim-witness {version} on {time}. Tokens are named by fingerprints; none is in this file.</p>
</body></html>
"""


def export(
    incident: IncidentArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it: .html, or .json for the record alone.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write one incident with its explanation and its whole record into a file for a ticket. The file is yours alone (0600)."""
    settings = settings_from(config)

    async def gather(reader: EvidenceReader) -> tuple[Evidence, Diagnosis, Seal | None]:
        evidence, diagnosis = await diagnosed(reader, incident, settings)
        return evidence, diagnosis, await _seal(reader, evidence)

    evidence, diagnosis, sealed = ask(settings, gather)
    json = output.suffix == ".json"
    text = _json(evidence, diagnosis, sealed) if json else page(evidence, diagnosis, sealed, now())
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(output, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        screen.stop(f"{output} is there already", "Choose another name, or --force", Status.USAGE)
    except OSError as error:
        screen.stop(f"{output} cannot be written ({error.strerror})", "Check the folder and its permissions", Status.FAILED)
    screen.say(f"Wrote {output}.")


async def _seal(reader: EvidenceReader, evidence: Evidence) -> Seal | None:
    try:
        stored = await reader.stored(evidence.incident.id) if evidence.incident is not None else None
    except StoreError:
        return None
    return None if stored is None else seal(stored)


def page(evidence: Evidence, diagnosis: Diagnosis, sealed: Seal | None, at: float) -> str:
    """Return the page; `at` (epoch seconds) is when it is made. Everything that others wrote is escaped."""
    incident = evidence.incident
    return _PAGE.format(
        id=html.escape(incident.id if incident else ""),
        text=html.escape(explain_text(evidence, diagnosis, at)),
        json=html.escape(_json(evidence, diagnosis, sealed)),
        chain=html.escape(_place(sealed)),
        version=__version__,
        time=times.show(at),
    )


def _place(sealed: Seal | None) -> str:
    if sealed is None:
        return "Its place in the chain of records is not known yet: it still lies in the spool. Export it again later."
    return f"Record {sealed.sequence} of chain {sealed.chain}, SHA-256 {sealed.digest}, after {sealed.previous}."


def _json(evidence: Evidence, diagnosis: Diagnosis, sealed: Seal | None) -> str:
    value = record(evidence, diagnosis) | {"chain": sealed}
    return msgspec.json.format(msgspec.json.encode(value)).decode()
