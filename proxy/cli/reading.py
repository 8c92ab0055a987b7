"""Opens the evidence for a command, and gathers what is known of one incident."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from proxy.cli import screen
from proxy.cli.screen import Status
from proxy.core.diagnosis import Diagnosis, Evidence, diagnose
from proxy.core.incident import Incident, Kind
from proxy.evidence.dossier import dossier
from proxy.evidence.reader import PREFIX_LENGTH, EvidenceReader
from proxy.evidence.redis_store import StoreError
from proxy.settings import Settings
from proxy.wire import open_reader
from proxy.wire.store import url_of

T = TypeVar("T")

ID_LENGTH: Final = 26
SETTLES: Final = 5.0
"""Seconds after a refusal in which its token is being looked around, with one look more where the first gave up."""
PAUSE: Final = 0.1
"""Seconds between two looks into the notes."""


def ask(settings: Settings, question: Callable[[EvidenceReader], Awaitable[T]]) -> T:
    """Ask the evidence and return the answer. Ends the command with status 4 when the store does not answer."""

    async def answer() -> T:
        async with open_reader(settings) as reader:
            return await question(reader)

    try:
        return asyncio.run(answer())
    except StoreError as error:
        screen.stop(f"the store cannot be reached: {store_trouble(settings, error)}", store_fix(settings), Status.STORE)


def store_trouble(settings: Settings, why: StoreError | str) -> str:
    """Why the store does not answer, in words."""
    if settings.store.url is None and url_of(settings) is None:
        return "the embedded store does not run"
    return str(why).removeprefix("store ")


def store_fix(settings: Settings) -> str:
    """What to do when the store does not answer."""
    if settings.store.url is None:
        folder = settings.state_dir.absolute()
        return (
            f"The embedded store lives while the proxy runs: start it with the same state_dir ({folder}), "
            "or name the right file with --config"
        )
    return "Check store.url and that Redis runs: scim-witness doctor"


async def find(reader: EvidenceReader, wanted: str) -> Incident:
    """Return the incident with this id, or the only one whose id begins so. Ends the command (status 3) when there is none."""
    text = wanted.strip().upper()
    try:
        if len(text) != ID_LENGTH:
            text = await _completed(reader, text)
        incident = await reader.incident(text)
    except ValueError:
        screen.stop(
            "that is no incident id",
            f"It has {ID_LENGTH} characters, digits and letters without ILOU; its first {PREFIX_LENGTH} or more will do too",
            Status.USAGE,
        )
    if incident is None:
        screen.stop(
            f"there is no incident {text}",
            "Is it another deployment's, or past store.retention_days? scim-witness incidents list",
            Status.NOT_FOUND,
        )
    return incident


async def _completed(reader: EvidenceReader, prefix: str) -> str:
    if len(prefix) > ID_LENGTH:
        raise ValueError("too long")
    found = await reader.find_incidents(prefix)
    if not found:
        screen.stop("no incident id begins with that", "scim-witness incidents list", Status.NOT_FOUND)
    if len(found) > 1:
        screen.stop(f"{len(found)} incident ids begin with that", "Give more of it: " + " ".join(found[:5]), Status.USAGE)
    return found[0]


async def gather(reader: EvidenceReader, incident: Incident, settings: Settings) -> Evidence:
    """Return everything known of an incident now. Without the store: the record and the notes that lie in the spool."""
    reads_only = incident.tenant in settings.policy.read_only_tenants
    found = await dossier(reader, incident, _required(incident, settings), reads_only=reads_only)
    if found.unread:
        screen.say(f"The store cannot be reached ({found.unread[0]}): this is what lies in the spool.", "yellow")
    return found.evidence


def _required(incident: Incident, settings: Settings) -> tuple[str, ...]:
    writes = incident.exchange.method not in ("GET", "HEAD", "OPTIONS")
    return settings.policy.write_scopes if writes else settings.policy.read_scopes


async def diagnosed(reader: EvidenceReader, wanted: str, settings: Settings) -> tuple[Evidence, Diagnosis]:
    """Find an incident, gather its evidence, name its cause."""
    incident = await find(reader, wanted)
    await _settled(reader, incident)
    evidence = await gather(reader, incident, settings)
    return evidence, diagnose(evidence)


async def _settled(reader: EvidenceReader, incident: Incident) -> None:
    """Who asks in the second of the refusal is answered when its token has been looked around: before that a replacement
    cannot be told from a revocation."""
    if not incident.credential_length or incident.surroundings is not None or incident.kind is Kind.OAUTH_REFUSAL:
        return
    with contextlib.suppress(StoreError):
        while 0 <= time.time() - incident.at < SETTLES:
            around = (note.surroundings for note in await reader.notes(incident.id))
            if any(found is not None and found.error is None for found in around):
                return
            await asyncio.sleep(PAUSE)


def now() -> float:
    """The present, in epoch seconds."""
    return time.time()
