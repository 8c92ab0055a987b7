"""`scim-witness explain INCIDENT`: the one command that answers why it stopped."""

from __future__ import annotations

from typing import Annotated

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import ask, diagnosed, now
from proxy.core.explain import explain, explain_text

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(name="explain")
def command(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="The id from the 401's body or its X-Incident-Id.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a request was refused: who refused it, the token's exact state at that moment, when it last worked, what
    changed since, the cause with its evidence, what to do, and a text for the customer."""
    settings = settings_from(config)
    evidence, diagnosis = ask(settings, lambda reader: diagnosed(reader, incident, settings))
    if as_json:
        screen.as_json(explain(evidence, diagnosis, now()))
        return
    head, _, rest = explain_text(evidence, diagnosis, now()).partition("\n")
    screen.line(head, "bold")
    for text in rest.rstrip("\n").split("\n"):
        screen.line(text, "bold" if _is_heading(text) else "")


def _is_heading(text: str) -> bool:
    return bool(text) and not text.startswith(" ") and len(text) < 50 and text[-1] not in ".:,;"
