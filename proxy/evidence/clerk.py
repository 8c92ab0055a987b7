"""What the road hands its evidence to: folds repeats, puts records on disk, remembers tokens, and sends others to look around.

Everything here that a request waits for is memory and one write to the spool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from proxy.core.credential import Secret
from proxy.core.exchange import OAUTH, Exchange
from proxy.core.history import StateChange, TokenHistory
from proxy.core.incident import Admission, Case, Incident, Unrecorded
from proxy.core.token import Known, Reading
from proxy.evidence.aliases import Aliases
from proxy.evidence.beside import Beside
from proxy.evidence.bus import Bus
from proxy.evidence.client import prefix_of
from proxy.evidence.events import Events
from proxy.evidence.fold import FLUSH_EVERY, Folder
from proxy.evidence.history import History
from proxy.evidence.reread import Rereader
from proxy.evidence.surveyor import Surveyor
from proxy.evidence.witness import SpoolError, Witness

Saw = Callable[[Exchange], None]


class Clerk:
    """See the module. `sinks` take notice of every exchange: log, metrics, activity. `hurry` is told of every incident on
    record."""

    def __init__(
        self,
        witness: Witness,
        folder: Folder,
        history: History,
        rereader: Rereader,
        surveyor: Surveyor,
        sinks: Sequence[Saw],
        beside: Beside | None = None,
        events: Events | None = None,
        aliases: Aliases | None = None,
        bus: Bus | None = None,
        hurry: Callable[[], None] | None = None,
    ) -> None:
        self._witness = witness
        self._folder = folder
        self._history = history
        self._rereader = rereader
        self._surveyor = surveyor
        self._sinks = tuple(sinks)
        self._beside = beside
        self._events = events
        self._hurry = hurry or _nothing
        self._bus = bus
        self._aliases = aliases

    def admit(self, case: Case) -> Admission:
        """Say under which incident a refusal goes, and whether it is to be recorded."""
        return self._folder.admit(
            fingerprint=case.fingerprint,
            reason=case.reason,
            answered_by=case.kind,
            network=prefix_of(case.client),
            tenant=case.tenant,
            known=case.known or self._history.was_good(case.fingerprint),
            request_id=case.exchange,
            now=case.at,
        )

    def record(self, incident: Incident, secret: Secret | None, admission: Admission) -> None:
        """Put an incident on disk, then have its token looked at again. Unrecorded when it is not on disk."""
        if self._beside is not None:
            incident = self._beside.completed(incident)
        try:
            self._witness.record(incident)
        except SpoolError as error:
            self._folder.withdraw(admission)
            raise Unrecorded(str(error)) from error
        self._hurry()
        if self._beside is not None:
            self._beside.follow(incident)
        if secret is None or not len(secret):
            return
        self.meet(secret)
        self._surveyor.want(incident, secret)
        reading = incident.second_look or incident.reading
        if reading is not None:
            self._rereader.schedule(incident.id, incident.at, secret, reading.state)

    async def run(self) -> None:
        """Write down how often incidents were repeated, for ever. A full disk makes the counts wait, not the requests."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self.write_repeats(time.time())

    def write_repeats(self, now: float) -> None:
        """Write the counts that changed."""
        notes = self._folder.notes(now)
        for at, note in enumerate(notes):
            try:
                self._witness.note(note)
            except SpoolError:
                self._folder.put_back(notes[at:])
                return

    def meet(self, secret: Secret) -> None:
        """Know a token under its names from before, where keys were changed."""
        if self._aliases is not None:
            self._aliases.meet(secret)

    def remember(self, fingerprint: str, reading: Reading) -> None:
        """Keep a row that was read: the source may delete it, and this is then the only memory of it."""
        change = self._history.ended(fingerprint, reading)
        if change is not None:
            self.changed(fingerprint, change)
        if isinstance(reading.state, Known):
            self._history.noted(fingerprint, reading)

    def changed(self, fingerprint: str, change: StateChange) -> None:
        """Keep a change of state that was seen between two readings."""
        self._history.changed(fingerprint, change)
        if self._events is not None:
            self._events.changed(fingerprint, change)
        if self._bus is not None:
            self._bus.tell(fingerprint)

    def history(self, fingerprint: str) -> TokenHistory | None:
        """What memory has of a token."""
        return self._history.of(fingerprint)

    def tenant_of(self, fingerprint: str) -> str:
        """The tenant that a token belonged to when it was last known, or nothing."""
        return self._history.tenant_of(fingerprint) or ""

    def saw(self, exchange: Exchange) -> None:
        """Take notice of a finished exchange."""
        if exchange.fingerprint:
            self._history.saw(exchange)
        if self._beside is not None and exchange.credential != OAUTH:
            self._beside.saw(exchange)
        for sink in self._sinks:
            sink(exchange)


def _nothing() -> None:
    pass
