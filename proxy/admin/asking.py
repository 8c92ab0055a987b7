"""What API and pages ask of the evidence: one port. Wiring answers it with the reader that the command line uses too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from proxy.core.absence import Absence, LastRequest, Traffic
from proxy.core.diagnosis import Diagnosis, Evidence
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Note
from proxy.core.setup import SetupFinding
from proxy.core.token import Known, Reading


class StoreAway(Exception):  # noqa: N818 - it is a state of the store, not a mistake
    """The store did not answer; its text says why. Shown, never hidden: an empty page would read as "nothing happened"."""


class Listing(msgspec.Struct, frozen=True):
    """Incidents, newest first. `before` is the cursor of the next page, None at the end. `store_error` is set when the store
    did not answer and only what lies in the spool is here."""

    incidents: tuple[Incident, ...]
    before: str | None = None
    store_error: str = ""


class Case(msgspec.Struct, frozen=True):
    """Everything known of one incident, and its cause. `unread` names what could not be read, and why."""

    evidence: Evidence
    diagnosis: Diagnosis
    unread: tuple[str, ...] = ()


class Silence(msgspec.Struct, frozen=True):
    """The answer to "did anything arrive?", and the cause where the evidence decides."""

    answer: Absence
    diagnosis: Diagnosis


class Risk(msgspec.Struct, frozen=True):
    """Tokens in use of one tenant that will fail: why (a code of the audit), how many, and when the first one does (epoch
    seconds), None when nobody can say."""

    code: str
    count: int
    first: float | None = None


class Minute(msgspec.Struct, frozen=True):
    """Traffic of one minute, which begins at `start` (epoch seconds)."""

    start: float
    traffic: Traffic


class Asking(Protocol):
    """Questions to the evidence. Each raises StoreAway when it cannot be answered; times are epoch seconds."""

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident, None when there is none. ValueError when that is no id."""

    async def incidents(self, tenant: str | None, fingerprint: str | None, before: str | None, limit: int) -> Listing:
        """A page of incidents: of a token, else of a tenant, else of all. ValueError when `before` is no id."""

    async def case(self, incident: Incident) -> Case:
        """Everything known of an incident now. Never raises for a store that is away: it says so."""

    async def notes(self, incident_id: str) -> Sequence[Note]:
        """What was learned after an incident, oldest first."""

    async def look_again(self, row: Known) -> Reading | None:
        """Read a row anew by its primary key, None when it was not read."""

    async def history(self, fingerprint: str) -> TokenHistory | None:
        """What is remembered of a token."""

    async def tenants(self) -> dict[str, float]:
        """Every tenant that was seen, with the time of its last incident or activity."""

    async def at_risk(self) -> Mapping[str, Sequence[Risk]]:
        """The tenants whose tokens in use will fail, by the audit's rules over what is remembered; at most a minute old."""

    async def last_request(self, tenant: str) -> LastRequest | None:
        """The last request of a tenant and its answer."""

    async def setup(self, tenant: str) -> SetupFinding:
        """Which set-up a tenant uses, what shows it, and when a client that cannot renew its token stops."""

    async def activity(self, tenant: str, start: float, end: float) -> Sequence[Minute]:
        """Traffic of a tenant per minute. ValueError for more time than may be asked for at once."""

    async def silence(self, tenant: str, start: float, end: float) -> Silence:
        """What arrived of a tenant between two instants, and for which share of the time that is proven."""
