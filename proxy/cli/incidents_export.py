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

_PAGE: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Incident {id}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere}}</style></head><body>
<pre>{text}</pre>
<h2>The record</h2>
<pre id="record">{json}</pre>
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
    evidence, diagnosis = ask(settings, lambda reader: diagnosed(reader, incident, settings))
    text = _json(evidence, diagnosis) if output.suffix == ".json" else page(evidence, diagnosis, now())
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(output, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        screen.stop(f"{output} is there already", "Choose another name, or --force", Status.USAGE)
    except OSError as error:
        screen.stop(f"{output} cannot be written ({error.strerror})", "Check the folder and its permissions", Status.FAILED)
    screen.say(f"Wrote {output}.")


def page(evidence: Evidence, diagnosis: Diagnosis, at: float) -> str:
    """Return the page; `at` (epoch seconds) is when it is made. Everything that others wrote is escaped."""
    incident = evidence.incident
    return _PAGE.format(
        id=html.escape(incident.id if incident else ""),
        text=html.escape(explain_text(evidence, diagnosis, at)),
        json=html.escape(_json(evidence, diagnosis)),
        version=__version__,
        time=times.show(at),
    )


def _json(evidence: Evidence, diagnosis: Diagnosis) -> str:
    return msgspec.json.format(msgspec.json.encode(record(evidence, diagnosis))).decode()
