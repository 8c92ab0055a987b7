"""`store migrate --to` and `--from`: bring what one store holds into another."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import msgspec
import typer

from proxy.cli import screen
from proxy.cli.configuration import command_for
from proxy.cli.screen import Status
from proxy.cli.store_asking import last_of
from proxy.evidence.compared import Checked, Compared, check, compare, numbers
from proxy.evidence.connect import StoreUrlError, describe
from proxy.evidence.moving import Moved, NotMoved, move, prepare
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.room import is_full
from proxy.settings import Settings
from proxy.settings.witness import fault_of_store_url
from proxy.wire.lent_store import lent, open_patient
from proxy.wire.witnessing import keep_of

EMBEDDED: Final = "embedded"
"""In place of a URL: the store in the state directory."""


class Way(NamedTuple):
    """The other store, whether it is the one to copy `into`, and the file with its password."""

    other: str
    into: bool
    password_file: Path | None


class Result(NamedTuple):
    """What came of it. `purged`: tags whose incidents were purged at the source since they were copied."""

    moved: Moved
    compared: Compared
    checked: Checked
    purged: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether all that was in the source when it began is in the target."""
        return not self.compared.missing and not self.checked.faults


def move_store(settings: Settings, way: Way, config: Path | None, *, as_json: bool) -> None:
    """Copy, compare, tell. Exit status 1 when something is missing afterwards, or when nothing was copied."""
    try:
        result = asyncio.run(_move(settings, way))
    except NotMoved as refusal:
        screen.stop(str(refusal), "Nothing was copied", Status.FAILED)
    except StoreUrlError as error:
        screen.stop(str(error), "See store.url in docs/settings.md", Status.USAGE)
    except OSError as error:
        screen.stop(f"--password-file: {error.strerror}", "", Status.USAGE)
    except StoreError as error:
        _store_stops(error)
    here, there = _names(settings, way)
    if as_json:
        screen.as_json(_facts(result, here, there))
    else:
        _tell(result, here, there)
        _next(result, way, here, there, config)
    if not result.complete:
        raise typer.Exit(int(Status.FAILED))


async def _move(settings: Settings, way: Way) -> Result:
    async with contextlib.AsyncExitStack() as stack:
        source, target = await _opened(settings, way, stack)
        gone = await prepare(source, target)
        before = await numbers(source)
        moved = await last_of(move(source, target), "copied", _far) or Moved()
        looked = await last_of(compare(source, target, moved), "looked up", lambda step: (step.looked, None))
        days = keep_of(settings).incident_days
        checked = await last_of(check(source, target, before, days), "verified", lambda step: (step.looked, step.total))
        return Result(moved, looked or Compared(), checked or Checked(), gone)


def _far(step: Moved) -> tuple[int, int | None]:
    """Of the incidents it is known how many there are; the keys before them are only counted."""
    return (step.looked, step.total) if step.looked else (step.keys + step.keys_there, None)


async def _opened(settings: Settings, way: Way, stack: contextlib.AsyncExitStack) -> tuple[RedisStore, RedisStore]:
    """Source and target."""
    configured = settings.store.url
    own_url = configured.get_secret_value() if configured is not None else await stack.enter_async_context(lent(settings))
    own = open_patient(settings, own_url, configured=True)
    _ = stack.push_async_callback(own.close)
    if way.other == EMBEDDED:
        if configured is None:
            raise NotMoved("both are the same store")
        other = open_patient(settings, await stack.enter_async_context(lent(settings)), configured=False)
    else:
        if wrong := fault_of_store_url(way.other):
            raise StoreUrlError(f"the store URL {wrong}")
        other = open_patient(settings, way.other, configured=False, password_file=way.password_file)
    _ = stack.push_async_callback(other.close)
    return (own, other) if way.into else (other, own)


def _store_stops(error: StoreError) -> NoReturn:
    what = str(error).removeprefix("store ")
    if is_full(error):
        screen.stop(
            f"the store is full: {what}", "Give it more memory (maxmemory), then run this again: it goes on", Status.STORE
        )
    screen.stop(f"a store cannot be reached: {what}", "What was copied is there. Run this again: it goes on", Status.STORE)


def _names(settings: Settings, way: Way) -> tuple[str, str]:
    """Source and target as they may be shown."""
    own = "the embedded store" if settings.store.url is None else describe(settings.store.url.get_secret_value())
    other = "the embedded store" if way.other == EMBEDDED else describe(way.other)
    return (own, other) if way.into else (other, own)


def _facts(result: Result, here: str, there: str) -> dict[str, Any]:
    moved, compared, checked = result.moved, result.compared, result.checked
    counts = {name: getattr(moved, name) for name in ("incidents", "incidents_there", "over", "keys", "keys_there", "unknown")}
    chains = {
        "whole": checked.whole, "open": checked.open, "faulty_before": checked.faulty_before,
        "faults": msgspec.to_builtins(checked.faults),
    }  # fmt: skip
    return {
        "from": here, "to": there, **counts, "missing": compared.missing, "missing_keys": compared.names,
        "since": compared.since, "purged": list(result.purged), "chains": chains, "complete": result.complete,
    }  # fmt: skip


def _tell(result: Result, here: str, there: str) -> None:
    moved, compared, checked = result.moved, result.compared, result.checked
    screen.line(f"Copied {_count(moved.incidents, 'incident')} and {_count(moved.keys, 'other key')} from {here} to {there}.")
    screen.line(f"{_count(moved.incidents_there, 'incident')} and {_count(moved.keys_there, 'other key')} were there already.")
    if moved.over:
        screen.line(f"{_count(moved.over, 'incident')} past store.retention_days left out.")
    if moved.unknown:
        screen.say(f"{_count(moved.unknown, 'key')} that this version does not know left out.", "yellow")
    for tag in result.purged:
        whose = "of all tenants" if tag == "*" else f"whose ids hold the tag {tag}"
        screen.say(
            f"Incidents {whose} were purged after they had been copied: run the same store purge on {there} too.", "yellow"
        )
    if compared.missing:
        screen.line(f"{_count(compared.missing, 'key')} not in {there}: {', '.join(compared.names)}", "bold red")
    else:
        screen.line(f"All {_count(compared.looked, 'key')} looked up in {there}: none is missing.", "green")
    if compared.since:
        screen.line(f"{_count(compared.since, 'incident')} came meanwhile: the next run copies them.")
    whole, faulty = _count(checked.whole, "chain"), checked.faulty_before
    still = f", {checked.open} still written on" if checked.open else ""
    before = f", {faulty} with the fault that it had before" if faulty else ""
    screen.line(f"{whole} verified there{still}{before}.")
    for fault in checked.faults:
        screen.line(f"record {fault.sequence} of {fault.chain} was {fault.what} on the way: {fault.incident}", "bold red")


def _next(result: Result, way: Way, here: str, there: str, config: Path | None) -> None:
    source = EMBEDDED if here == "the embedded store" else here
    again = command_for(f"store migrate --from {shlex.quote(source)}", config)
    if not result.complete:
        screen.say("Next: run this again.", "bold")
    elif way.into:
        screen.say(f"Next: set store.url to {there} and restart the proxies, then copy what came meanwhile: {again}", "bold")
    elif result.compared.since or result.checked.open:
        screen.say("Next: a proxy still writes to the source. Restart it, then run this again.", "bold")
    else:
        screen.say(f"Next: scim-witness incidents verify. {here[0].upper()}{here[1:]} is needed no more.", "bold")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
