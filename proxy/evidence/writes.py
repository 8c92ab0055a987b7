"""What is written to the store, as commands. Pure. Every command has a bound on what it leaves behind and may be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.incident import Incident, time_of
from proxy.evidence import keys, records, scripts
from proxy.evidence.redis_store import Command
from proxy.evidence.segment import Line

DAY: Final = 86_400

_CHAIN_KEPT: Final = keys.CHAIN_BLOCK * keys.CHAIN_BLOCKS_KEPT

_RECORD: Final = scripts.sha(scripts.RECORD)
_INDEX: Final = scripts.sha(scripts.INDEX)
_FIELDS: Final = scripts.sha(scripts.FIELDS)
_MERGE: Final = scripts.sha(scripts.MERGE)


class Keep(msgspec.Struct, frozen=True):
    """How long (days) and how much the store keeps.

    `incidents_per_tag` bounds the stream and the index of the tenants that share a tag (about 1.5 KB each). `recent` bounds
    the index over all tenants: older ones are listed by tenant. `token_days` is for histories: tokens live for years. `events`
    bounds the lists of ends and of first uses of tokens (about 0.3 KB each).
    """

    incident_days: float = 90.0
    activity_days: float = 90.0
    heartbeat_days: float = 90.0
    token_days: float = 400.0
    incidents_per_tag: int = 100_000
    incidents_per_token: int = 100
    recent: int = 100_000
    tenants: int = 100_000
    chains: int = 10_000
    tokens_per_prefix: int = 1_000
    events: int = 20_000


def milliseconds(days: float) -> int:
    """Days as the milliseconds of a TTL."""
    return int(days * DAY * 1000)


def index(key: str, cap: int, ttl: int, members: Iterable[tuple[float | int, str]]) -> Command:
    """Add members to a capped zset. A score only ever grows."""
    flat: list[str | int | float] = [part for member in members for part in member]
    return ("EVALSHA", _INDEX, 1, key, cap, ttl, *flat)


def fields(key: str, ttl: int, values: Iterable[tuple[str, bytes | str]]) -> Command:
    """Set fields of a hash."""
    flat: list[str | bytes] = [part for value in values for part in value]
    return ("EVALSHA", _FIELDS, 1, key, ttl, *flat)


def merge(key: str, ttl: int, field: str, value: bytes, replaces: Iterable[tuple[str, bytes]]) -> Command:
    """Replace fields of a hash by one, unless one of them has changed since it was read."""
    flat: list[str | bytes] = [part for old in replaces for part in old]
    return ("EVALSHA", _MERGE, 1, key, ttl, field, value, *flat)


def seen_tenants(tenants: Mapping[str, float], keep: Keep) -> Command:
    """Remember tenants and when they were last seen."""
    ttl = milliseconds(max(keep.incident_days, keep.activity_days))
    return index(keys.TENANTS, keep.tenants, ttl, [(at, tenant) for tenant, at in tenants.items()])


class Delivery:
    """Builds the commands of one batch of one chain. `new` lists the places of the answers that are 1 for a new incident."""

    def __init__(self, chain: str, keep: Keep, now: float) -> None:
        self._chain = chain
        self._keep = keep
        self._now = now
        self._ttl = milliseconds(keep.incident_days)
        self._recent: list[tuple[float | int, str]] = []
        self._tenants: dict[str, list[tuple[float | int, str]]] = {}
        self._tokens: dict[str, list[tuple[float | int, str]]] = {}
        self._blocks: dict[str, list[tuple[str, bytes | str]]] = {}
        self._last = 0
        self._too_old: list[int] = []
        self.commands: list[Command] = []
        self.new: list[int] = []

    def add(self, line: Line) -> None:
        """Add one line. RecordError when it holds no record that this version can read."""
        kind, _, body = line.record.partition(b" ")
        if kind == records.INCIDENT:
            incident = records.read_incident(body)
            self._add_incident(incident, body, line)
            self._log(line, b"I" + incident.id.encode())
        else:
            note = records.unpack_note(line.record)
            value = f"{self._chain} {line.sequence} {line.previous} ".encode() + body
            try:
                key = keys.notes(note.incident)
            except ValueError as error:
                raise records.RecordError(f"note of an incident: {error}") from error
            self.commands.append(fields(key, self._ttl, [(note.name, value)]))
            self._log(line, b"N" + note.incident.encode() + note.name.encode())

    def set_aside(self, line: Line) -> None:
        """Leave a line out that holds no such record: its place in the chain stays known."""
        self._log(line, b"U")

    def finish(self) -> list[Command]:
        """All commands: the records first, then what finds them."""
        keep, ttl = self._keep, self._ttl
        found = self.commands
        for fingerprint, members in self._tokens.items():
            found.append(index(keys.by_token(fingerprint), keep.incidents_per_token, ttl, members))
        for tenant, members in self._tenants.items():
            found.append(index(keys.by_tenant(tenant), keep.incidents_per_tag, ttl, members))
        if self._recent:
            found.append(index(keys.RECENT, keep.recent, ttl, self._recent))
            found.append(seen_tenants({tenant: members[-1][0] / 1000 for tenant, members in self._tenants.items()}, keep))
        for key, values in self._blocks.items():
            found.append(fields(key, ttl, values))
        found += [("DEL", keys.chain_block(self._chain, first)) for first in self._too_old]
        if self._last:
            found.append(index(keys.CHAIN_LAST, keep.chains * 2, ttl, [(self._last, self._chain)]))
            found.append(index(keys.CHAINS, keep.chains, ttl, [(int(self._now), self._chain)]))
        return found

    def _add_incident(self, incident: Incident, body: bytes, line: Line) -> None:
        try:
            at = int(time_of(incident.id) * 1000)
        except ValueError as error:
            raise records.RecordError(f"incident id: {error}") from error
        oldest = max(0, int(self._now * 1000) - self._ttl)
        place = f"{self._chain} {line.sequence} {line.previous}"
        touched = (keys.stream(incident.id), keys.pointer(incident.id))
        bounds = (oldest, self._keep.incidents_per_tag, self._ttl)
        self.new.append(len(self.commands))
        self.commands.append(("EVALSHA", _RECORD, 2, *touched, incident.id, *bounds, place, body, keys.beginning(incident.id)))
        self._recent.append((at, incident.id))
        self._tenants.setdefault(incident.tenant, []).append((at, incident.id))
        if incident.fingerprint:
            self._tokens.setdefault(incident.fingerprint, []).append((at, incident.id))

    def _log(self, line: Line, what: bytes) -> None:
        """Remember in the chain's log which record this was: 16 octets of its digest, its kind and its id."""
        block = self._blocks.setdefault(keys.chain_block(self._chain, line.sequence), [])
        if line.sequence % keys.CHAIN_BLOCK == 0 and line.sequence > _CHAIN_KEPT:
            self._too_old.append(line.sequence - _CHAIN_KEPT)
        block.append((str(line.sequence), bytes.fromhex(line.digest)[:16] + what))
        self._last = max(self._last, line.sequence)


class Delivered(msgspec.Struct, frozen=True):
    """What became of a batch: incidents that were new, incidents the store had already, lines that nobody can read."""

    commands: Sequence[Command]
    new: Sequence[int]
    unreadable: Sequence[Line]


def deliver(chain: str, lines: Sequence[Line], keep: Keep, now: float) -> Delivered:
    """The commands that bring these lines into the store. `now` in epoch seconds."""
    delivery = Delivery(chain, keep, now)
    unreadable = []
    for line in lines:
        try:
            delivery.add(line)
        except records.RecordError:
            delivery.set_aside(line)
            unreadable.append(line)
    return Delivered(delivery.finish(), delivery.new, unreadable)
