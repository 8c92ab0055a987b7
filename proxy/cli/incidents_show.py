"""`incidents show`: one record as it was written, with its notes and its cause."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, command_for, settings_from
from proxy.cli.reading import ask, diagnosed
from proxy.core.diagnosis import Diagnosis, Evidence
from proxy.core.incident import Incident, Note
from proxy.core.token import Known, Reading, Unavailable

IncidentArgument = Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or enough of its beginning.")]


def show(incident: IncidentArgument, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one incident: the record as it was written, what was learned later, and the cause. `explain` says it in words."""
    settings = settings_from(config)
    evidence, diagnosis = ask(settings, lambda reader: diagnosed(reader, incident, settings))
    if as_json:
        screen.as_json(record(evidence, diagnosis))
    elif evidence.incident is not None:
        _tell(evidence.incident, evidence.notes, diagnosis)
        screen.say(f"In words: {command_for(f'explain {evidence.incident.id}', config)}")


def record(evidence: Evidence, diagnosis: Diagnosis) -> dict[str, Any]:
    """Return everything as JSON has it: `incident`, `notes`, `cause`, `runner_up`, `candidates`."""
    return {
        "incident": msgspec.to_builtins(evidence.incident),
        "notes": msgspec.to_builtins(evidence.notes),
        "history": msgspec.to_builtins(evidence.history),
        "cause": msgspec.to_builtins(diagnosis.cause),
        "runner_up": msgspec.to_builtins(diagnosis.runner_up),
        "candidates": [msgspec.to_builtins(cause) for cause in diagnosis.candidates],
    }


def _tell(incident: Incident, notes: tuple[Note, ...], diagnosis: Diagnosis) -> None:
    said = incident.exchange
    screen.line(f"Incident {incident.id}", "bold")
    screen.facts(
        (
            ("time", times.show(incident.at)),
            ("tenant", incident.tenant),
            ("request", f"{said.method} {said.target}  ({said.operation})"),
            ("client", f"{said.client}  {said.user_agent}"),
            ("answer", f"{said.status} by {said.answered_by}, kind {incident.kind}"),
            ("reason", incident.reason),
            ("credential", said.credential),
            ("fingerprint", incident.fingerprint),
            ("cause", f"{diagnosis.cause.code} ({diagnosis.cause.confidence}). {diagnosis.cause.title}"),
            ("instance", incident.instance),
            ("request id", said.id),
        ),
        "  ",
    )
    for title, reading in (("Reading", incident.reading), ("Second look", incident.second_look)):
        _tell_reading(title, reading)
    for note in notes:
        _tell_reading(f"Note {note.name}", note.reading)
        if note.text:
            screen.line(f"  {note.text}")


def _tell_reading(title: str, reading: Reading | None) -> None:
    if reading is None:
        return
    screen.line()
    screen.line(title, "bold")
    place = (("source", f"{reading.source} ({reading.via})"), ("read at", times.show(reading.read_at)))
    screen.facts((*place, *_state(reading)), "  ")


def _state(reading: Reading) -> tuple[tuple[str, object], ...]:
    state = reading.state
    if isinstance(state, Known):
        return (
            ("row", state.row),
            ("created", times.show(state.created_at)),
            ("expires", times.show(state.expires_at)),
            ("revoked", times.show(state.revoked_at)),
            ("scopes", " ".join(state.scopes)),
            ("application", f"{state.application_name or ''} ({state.application})" if state.application else ""),
            ("owner", f"{state.owner or ''} ({state.owner_state})"),
        )
    if isinstance(state, Unavailable):
        return (("state", f"not available: {state.why} {state.detail}"),)
    return (("state", "no such token"),)
