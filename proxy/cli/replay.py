"""`scim-witness replay INCIDENT`: would it end the same way now?"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import msgspec
import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, command_for, settings_from
from proxy.cli.fingerprint import fingerprints_of, read_token
from proxy.cli.reading import ask, diagnosed, now
from proxy.cli.screen import Status
from proxy.core.diagnosis import Evidence
from proxy.core.diagnosis.scene import Scene, set_scene
from proxy.core.incident import Incident, Kind
from proxy.core.replay import Judged, Outcome, Replay, needs_source, replay
from proxy.core.token import Known, Reading, Unavailable
from proxy.settings import Settings
from proxy.wire import StartFault
from proxy.wire.replaying import read_now
from proxy.wire.state import KEY_FILE, fingerprinter
from proxy.wire.token_sources import policy_of

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_SENTENCES: Final = {
    Outcome.SAME: "A request like it would end the same way now.",
    Outcome.WOULD_PASS: "A request like it would pass this proxy now.",
    Outcome.WOULD_BE_REFUSED: "A request like it would be refused now.",
    Outcome.OTHER_REASON: "A request like it would be refused now for another reason.",
    Outcome.NOT_JUDGED: "It cannot be judged again.",
}
_WITH_TOKEN: Final = "Give the token on stdin: scim-witness replay INCIDENT --with-token < FILE"  # noqa: S105 - advice, not a token
_TIMES: Final = frozenset(("created_at", "revoked_at"))


@app.command(name="replay")
def command(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or enough of its beginning.")],
    with_token: Annotated[
        bool, typer.Option("--with-token", help="Read the token from stdin: for one whose row was not known then.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge an incident again by what the sources say now: the verdict then and now, and what differs. Asks the sources and
    never the backend. Exit status 0 when it was judged; 5 when no source could tell the state now."""
    settings = settings_from(config)
    token = read_token() if with_token else None
    names = fingerprints_of(settings, token) if token is not None else []
    evidence, _ = ask(settings, lambda reader: diagnosed(reader, incident, settings))
    found = _replayed(settings, evidence, token, names)
    if as_json:
        screen.as_json(found)
    else:
        _tell(found)
        screen.say(f"What happened then: {command_for(f'explain {found.incident}', config)}")
    if found.outcome is Outcome.NOT_JUDGED and evidence.incident is not None and _should_be_judged(evidence.incident):
        raise typer.Exit(int(Status.SOURCE))


def _should_be_judged(incident: Incident) -> bool:
    return needs_source(incident) and incident.kind is not Kind.OAUTH_REFUSAL


def _replayed(settings: Settings, evidence: Evidence, token: bytes | None, names: list[str]) -> Replay:
    incident = evidence.incident
    if incident is None:
        raise ValueError("evidence without an incident")
    if token is not None and incident.fingerprint not in names:
        screen.stop(
            f"stdin holds another token ({names[0]}) than the incident is about ({incident.fingerprint})", "", Status.USAGE
        )
    scene = set_scene(evidence)
    present: Reading | None = None
    why = ""
    if _should_be_judged(incident):
        present, why = _present(settings, scene, token)
    return replay(incident, scene.then, present, policy_of(settings), now(), settings.base_path, why)


def _present(settings: Settings, scene: Scene, token: bytes | None) -> tuple[Reading | None, str]:
    """The state now; where it cannot be read, why not."""
    if token is None and scene.last_row is None:
        return None, f"No row was known of that token, so it cannot be read without it. {_WITH_TOKEN}"
    state = settings.state_dir.resolve()
    if settings.fingerprint_key is None and not (state / KEY_FILE).exists():
        screen.stop(f"there is no fingerprint key ({state / KEY_FILE})", "Name the proxy's own configuration with --config")
    try:
        present = asyncio.run(read_now(settings, fingerprinter(settings, state), scene.last_row, token))
    except StartFault as fault:
        screen.stop(str(fault), "scim-witness doctor", Status.SOURCE)
    if present is None:
        return None, f"The source cannot read that row again without its token, or it is another token's now. {_WITH_TOKEN}"
    return present, ""


def _tell(found: Replay) -> None:
    screen.line(f"Incident {found.incident}, tenant {found.tenant}", "bold")
    screen.line(_SENTENCES[found.outcome], "green" if found.outcome is Outcome.WOULD_PASS else "bold")
    if found.remark:
        screen.line(found.remark)
    screen.line()
    rows = [("then, on record", found.at, found.then, found.reading_then)]
    if found.then_by_rules_of_now is not None and found.then_by_rules_of_now.reason != found.then.reason:
        rows.append(("then, by the settings of now", found.at, found.then_by_rules_of_now, found.reading_then))
    if found.now is not None:
        rows.append(("now", found.judged_at, found.now, found.reading_now))
    screen.table(("", "TIME (UTC)", "VERDICT", "REASON", "READ FROM"), [_row(*row) for row in rows], ("bold",))
    if found.differences:
        screen.line()
        screen.table(
            ("DIFFERS", "THEN", "NOW"), [(d.field, _value(d.field, d.then), _value(d.field, d.now)) for d in found.differences]
        )
    elif isinstance(getattr(found.reading_now, "state", None), Known):
        screen.line()
        screen.line("The row is as it was.")


def _row(when: str, at: float, judged: Judged, look: Reading | None) -> tuple[str, ...]:
    place = "" if look is None or isinstance(look.state, Unavailable) else f"{look.source} ({look.via})"
    return when, times.short(at), judged.verdict, judged.reason, place


def _value(field: str, value: Any) -> str:
    if value is None:
        return "-" if field != "revoked_at" else "not revoked"
    if field in _TIMES:
        return times.show(value)
    return " ".join(value) if isinstance(value, (list, tuple)) else str(msgspec.to_builtins(value))
