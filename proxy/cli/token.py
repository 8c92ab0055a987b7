"""`scim-witness token FINGERPRINT|-`: what is remembered of a token, now or at a time."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.fingerprint import fingerprints_of, is_fingerprint, read_token
from proxy.cli.reading import ask, now
from proxy.cli.screen import Status
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident
from proxy.core.memory import OauthEvent
from proxy.core.setup import story
from proxy.core.token import Known, TokenState, Unavailable
from proxy.evidence.reader import PREFIX_LENGTH, EvidenceReader
from proxy.evidence.redis_store import StoreError

app = typer.Typer(rich_markup_mode=None, add_completion=False)

INCIDENTS: Final = 10
"""Newest incidents of the token that are named; `incidents list --token` has them all."""


class KnownThen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was known of a token's state at `at` (epoch seconds). `state` is None when nothing was; `certain` is False when
    it changed between two readings and the time lies between them, or when no reading came after it."""

    at: float
    state: TokenState | None = None
    read_at: float | None = None
    certain: bool = False
    remark: str = ""


@app.command()
def token(
    fingerprint: Annotated[
        str,
        typer.Argument(metavar="FINGERPRINT|-", help="A fingerprint, its first 8 digits, or - to read the token from stdin."),
    ],
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Say what was known then: 2026-11-24T16:19, 2h.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is remembered of a token: first seen, last good, every change of state, who used it, its incidents."""
    settings = settings_from(config)
    names = fingerprints_of(settings, read_token()) if fingerprint == "-" else [fingerprint.lower()]
    if not is_fingerprint(names[0], shortest=PREFIX_LENGTH):
        screen.stop(
            "that is no fingerprint (8 to 32 hex digits)",
            "To ask about a token itself, give it on stdin: token -",
            Status.USAGE,
        )
    moment = _instant(at)
    name, history, incidents, calls = ask(settings, lambda reader: _under_any(reader, names))
    if history is None and incidents:
        screen.say("No source has known it here, and of such a token nothing is kept but its refusals.", "yellow")
    if history is None and (calls or incidents):
        history = TokenHistory(name)
    if history is None:
        fix = "It was never presented here, or past store.retention_days"
        if not is_fingerprint(name):
            fix = "By its beginning a token is found that a source has known; of others give the whole fingerprint"
        screen.stop(f"nothing is remembered of {name}", fix, Status.NOT_FOUND)
    then = None if moment is None else known_at(history, moment)
    if as_json:
        screen.as_json({"history": history, "incidents": [i.id for i in incidents], "then": then, "oauth": calls})
    elif then is not None:
        _tell_then(then)
    else:
        _tell(history, incidents)
        _tell_calls(name, calls)


Remembered = tuple[str, TokenHistory | None, tuple[Incident, ...], list[OauthEvent] | None]
"""The last is None where the calls are not known: they are in the store alone."""


async def _under_any(reader: EvidenceReader, names: list[str]) -> Remembered:
    """By the first of a token's names by which anything is known: one unused since a change of keys has its old one."""
    found = await _remembered(reader, names[0])
    for name in names[1:]:
        if any(found[1:]):
            break
        found = await _remembered(reader, name)
    return found


async def _remembered(reader: EvidenceReader, wanted: str) -> Remembered:
    if not is_fingerprint(wanted):
        found = await reader.find_tokens(wanted)
        if len(found) > 1:
            screen.stop(f"{len(found)} tokens begin with {wanted}", " ".join(found[:5]), Status.USAGE)
        wanted = found[0] if found else wanted
    if not is_fingerprint(wanted):
        return wanted, None, (), []
    page = await reader.incidents(fingerprint=wanted, limit=INCIDENTS)
    calls: list[OauthEvent] | None = None
    try:
        history = await reader.history(wanted)
        calls = await reader.oauth_of_token(wanted)
    except StoreError:
        history = next((i.history for i in page.incidents if i.history is not None), None)
        if history is None:
            raise
        screen.say(
            "The store cannot be reached: this is the history as of the newest incident in the spool. "
            "Which OAuth calls bear on the token is not known without it.",
            "yellow",
        )
    return wanted, history, page.incidents, calls


def known_at(history: TokenHistory, at: float) -> KnownThen:
    """Return what was known at an instant (epoch seconds). Only readings up to then count, later ones never do."""
    changes = sorted(history.changes, key=lambda change: change.seen_after)
    before = [change for change in changes if change.seen_after <= at]
    later = [change for change in changes if change.seen_after > at]
    if later:
        if at > later[0].seen_before:
            remark = f"It changed between {times.show(later[0].seen_before)} and {times.show(later[0].seen_after)}."
            return KnownThen(at, later[0].before, later[0].seen_before, certain=False, remark=remark)
        if before or history.first_seen is None or at >= history.first_seen:
            return KnownThen(at, later[0].before, before[-1].seen_after if before else None, certain=True)
        return KnownThen(at, remark="It had not been seen yet.")
    if history.first_seen is not None and at < history.first_seen:
        return KnownThen(at, remark="It had not been seen yet.")
    last = history.last_reading
    if before:
        certain = last is not None and last.read_at >= at
        return KnownThen(at, before[-1].after, before[-1].seen_after, certain=certain)
    if last is None:
        return KnownThen(at, remark="No reading of it is on record.")
    return KnownThen(at, last.state, last.read_at if last.read_at <= at else None, certain=last.read_at >= at)


def _tell(history: TokenHistory, incidents: tuple[Incident, ...]) -> None:
    moment, seen = now(), history.first_seen is not None  # else nothing is kept of its use, which is not to say "never"
    screen.line(f"Token {history.fingerprint}", "bold")
    screen.facts(
        (
            ("tenant", history.tenant),
            ("first seen", times.show(history.first_seen) if seen else ""),
            ("last seen", times.show(history.last_seen) if seen else ""),
            ("last good", f"{times.show(history.last_good)} {history.last_good_operation}" if seen else ""),
            ("first bad", times.show(history.first_bad) if history.first_bad else ""),
            ("last bad", f"{times.show(history.last_bad)} {history.last_bad_reason}" if history.last_bad else ""),
            ("answers", ", ".join(f"{word} x {count}" for word, count in sorted(history.counts.items()))),
            ("state", state_in_words(history.last_reading.state) if history.last_reading else ""),
            ("as read", times.ago(history.last_reading.read_at, moment) if history.last_reading else ""),
        ),
        "  ",
    )
    if history.changes:
        screen.line()
        screen.line("Changes", "bold")
    for change in history.changes:
        screen.line(f"  {times.short(change.seen_before)} to {times.short(change.seen_after)}: {state_in_words(change.after)}")
    if history.clients:
        screen.line()
        rows = ((c.agent, c.prefix, times.short(c.first), times.short(c.last), c.count) for c in history.clients)
        screen.table(("CLIENT", "ADDRESS", "FIRST", "LAST", "COUNT"), rows)
    if incidents:
        screen.line()
        screen.table(("INCIDENT", "TIME (UTC)", "REASON"), ((i.id, times.short(i.at), i.reason) for i in incidents), ("bold",))


def _tell_calls(name: str, calls: list[OauthEvent] | None) -> None:
    lines = story(calls, name) if calls is not None else ("Not known: the store cannot be reached.",)
    if lines:
        screen.line()
        screen.line("OAuth calls", "bold")
    for text in lines:
        screen.line(f"  {text}")


def _tell_then(then: KnownThen) -> None:
    screen.line(f"At {times.show(then.at)}", "bold")
    screen.facts(
        (
            ("known", state_in_words(then.state) if then.state is not None else "nothing"),
            ("read at", times.show(then.read_at) if then.read_at is not None else ""),
            ("certain", "yes" if then.certain else "no"),
            ("remark", then.remark),
        ),
        "  ",
    )


def state_in_words(state: TokenState) -> str:
    """A state in one line."""
    if isinstance(state, Unavailable):
        return f"not known: {state.why}"
    if not isinstance(state, Known):
        return "no such token"
    revoked = f", revoked {times.show(state.revoked_at)}" if state.revoked_at is not None else ""
    expires = f", expires {times.show(state.expires_at)}" if state.expires_at is not None else ""
    return f"row {state.row} of {state.tenant}, issued {times.show(state.created_at)}{expires}{revoked or ', not revoked'}"


def _instant(text: str | None) -> float | None:
    try:
        return None if text is None else times.parse(text, now())
    except ValueError as error:
        screen.stop(f"--at {error}", status=Status.USAGE)
