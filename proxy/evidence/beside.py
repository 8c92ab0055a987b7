"""What an incident takes with it of the memory beside tokens, and what that memory learns of it in the minute after.

The copies are made when the incident is recorded: what was so then cannot be asked for later. Afterwards two things may still
be learned, as notes: how each backend instance went on answering the token, and that a client carried a credential again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.incident import Incident, Kind, Note
from proxy.core.memory import BackendVerdicts, ClientMemory
from proxy.core.token import Known, OwnerState
from proxy.evidence.accounts import Accounts
from proxy.evidence.backends import Backends
from proxy.evidence.client import identify
from proxy.evidence.clients import WITHOUT, Clients, Key

_BACKEND: Final = AnsweredBy.BACKEND
BACKENDS: Final = "backends"
"""Notes of this name and a delay (`backends+10s`) hold how the instances answered up to then: JSON of BackendVerdicts."""
AGAIN: Final = "client_again"
"""The note that says when a client carried a credential again: JSON of ClientMemory."""
FOLLOWED_LIMIT: Final = 5_000
"""Incidents followed at once, about 0.2 KB each; beyond it the incident keeps the copy that it has."""
AGAIN_WITHIN: Final = 300.0
"""Seconds: who carries a credential again later has been repaired, which says nothing of the incident."""
IDLE: Final = 0.2
"""Seconds of a nap between looks for what is due."""

_BY_BACKEND: Final = (Kind.BACKEND_REFUSAL, Kind.DISAGREEMENT)
_OUT: Final = (OwnerState.INACTIVE, OwnerState.DELETED)


class Beside:
    """`record` puts a note on record and may raise `failed`: then that note is lost and counted."""

    def __init__(
        self,
        record: Callable[[Note], None],
        failed: type[Exception],
        delays: Sequence[float],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clients = Clients()
        self._backends = Backends()
        self._accounts = Accounts()
        self._record = record
        self._failed = failed
        self._delays = tuple(delays)
        self._clock = clock
        self._served: dict[str, int] = {}
        self._due: list[tuple[float, int, float, Incident]] = []
        self._order = itertools.count()
        self._bare: OrderedDict[Key, Incident] = OrderedDict()
        self.unrecorded = 0

    def saw(self, exchange: Exchange) -> None:
        """Take notice of a finished exchange. On the way of every request: no I/O, about a microsecond."""
        self._backends.saw(exchange)
        if exchange.source and exchange.answered_by is _BACKEND and exchange.status < 400:
            self._served[exchange.source] = self._served.get(exchange.source, 0) + 1
        self._accounts.saw(exchange)
        key = self.clients.saw(exchange)
        if key is not None and (incident := self._bare.pop(key, None)) is not None:
            self._tell_again(incident, exchange.at)

    def completed(self, incident: Incident) -> Incident:
        """The incident with what is remembered beside its token."""
        exchange = incident.exchange
        if exchange.credential in WITHOUT:
            key = identify(exchange.user_agent, exchange.client)
            return msgspec.structs.replace(incident, client=self.clients.before(key, incident.tenant, incident.at))
        if incident.kind in _BY_BACKEND:
            backends = self._backends.of(incident.fingerprint, incident.at)
            incident = msgspec.structs.replace(incident, backends=backends, served=dict(self._served))
        row = _row(incident)
        if row is not None and row.owner_state in _OUT:
            incident = msgspec.structs.replace(incident, owner_change=self._accounts.last_change(row.owner))
        return incident

    def follow(self, incident: Incident) -> None:
        """Look on after an incident that was recorded."""
        if incident.exchange.credential in WITHOUT:
            self._bare[identify(incident.exchange.user_agent, incident.exchange.client)] = incident
            if len(self._bare) > FOLLOWED_LIMIT:
                self._bare.popitem(last=False)
        elif incident.kind in _BY_BACKEND and len(self._due) < FOLLOWED_LIMIT:
            for delay in self._delays:
                heapq.heappush(self._due, (incident.at + delay, next(self._order), delay, incident))

    async def run(self) -> None:
        """Write down how instances went on answering, for ever."""
        while True:
            self.look_now()
            await asyncio.sleep(IDLE)

    def look_now(self) -> None:
        """Write the notes that are due."""
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _, _, delay, incident = heapq.heappop(self._due)
            told = self._backends.of(incident.fingerprint, now)
            if told:
                self._note(Note(incident.id, f"{BACKENDS}+{delay:g}s", now, text=_encode(told)))

    def _tell_again(self, incident: Incident, at: float) -> None:
        if at - incident.at <= AGAIN_WITHIN:
            self._note(Note(incident.id, AGAIN, at, text=_encode(ClientMemory(again=at))))

    def _note(self, note: Note) -> None:
        try:
            self._record(note)
        except self._failed:
            self.unrecorded += 1


def _row(incident: Incident) -> Known | None:
    for reading in (incident.second_look, incident.reading):
        if reading is not None and isinstance(reading.state, Known):
            return reading.state
    return None


def _encode(value: tuple[BackendVerdicts, ...] | ClientMemory) -> str:
    return msgspec.json.encode(value).decode()
