"""The life of a token as a drawing: events in order, equally far apart, with the time between them written on the line.

Pure. True distances would put ten years beside two seconds; what a reader needs is the order and the gaps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from proxy.core.diagnosis.evidence import Evidence
from proxy.core.diagnosis.scene import Scene, ended, set_scene
from proxy.core.diagnosis.words import span
from proxy.core.token import Known, Reading, Unavailable

WIDTH: Final = 1200
HEIGHT: Final = 132
MARGIN: Final = 78
EVENTS: Final = 10
"""Events that are drawn: more would overlap. The least telling ones are left out first; the list below the drawing says so."""

_WEIGHT: Final = {
    "incident": 0,
    "ended": 1,
    "good": 2,
    "created": 3,
    "successor": 4,
    "again": 5,
    "reread": 6,
    "change": 7,
    "seen": 8,
}


class Event(msgspec.Struct, frozen=True):
    """One dated event. `kind` gives shape and colour: one of `_ORDER`."""

    at: float
    kind: str
    label: str


class Mark(msgspec.Struct, frozen=True):
    """Where an event is drawn. `gap` is the time to the event before, in words, written at `gap_x`."""

    event: Event
    x: float
    above: bool
    gap: str = ""
    gap_x: float = 0.0


class Timeline(msgspec.Struct, frozen=True):
    """All events for the list, and the marks for the drawing."""

    events: tuple[Event, ...]
    marks: tuple[Mark, ...]
    width: int = WIDTH
    height: int = HEIGHT


def timeline(evidence: Evidence) -> Timeline:
    """Return the token's life around an incident, by the proxy's clock."""
    scene = set_scene(evidence)
    events = sorted(_distinct(_events(scene)), key=lambda event: (event.at, _WEIGHT[event.kind]))
    chosen = sorted(events, key=lambda event: _WEIGHT[event.kind])[:EVENTS]
    return Timeline(tuple(events), tuple(_marks([event for event in events if event in chosen])))


def _marks(events: list[Event]) -> Iterable[Mark]:
    step = (WIDTH - 2 * MARGIN) / max(1, len(events) - 1)
    for i, event in enumerate(events):
        x = MARGIN + i * step if len(events) > 1 else WIDTH / 2
        gap = span(event.at - events[i - 1].at) if i else ""
        yield Mark(event, round(x, 1), i % 2 == 0, gap, round(x - step / 2, 1))


def _distinct(events: Iterable[Event]) -> list[Event]:
    """One event for each kind and second: the same fact may be on record twice."""
    return list({(event.kind, int(event.at)): event for event in events}.values())


def _events(scene: Scene) -> Iterable[Event]:
    ahead = scene.offset or 0.0
    row = scene.last_row
    if row is not None:
        yield Event(row.created_at - ahead, "created", "issued")
        yield from _ends(row, scene.now, ahead)
    yield from _uses(scene)
    if scene.gone and scene.before is not None:
        yield Event(scene.vanished[1], "ended", "row gone")
    for sibling in (*scene.related("newer"), *scene.related("successor")):
        yield Event(sibling.created_at - ahead, "successor", "newer token issued")
    if scene.incident is not None:
        yield Event(scene.at, "incident", f"refused: {scene.incident.exchange.status}")
    yield from _rereads(scene)


def _ends(row: Known, now: float, ahead: float) -> Iterable[Event]:
    if row.revoked_at is not None and row.revoked_at <= now:
        yield Event(row.revoked_at - ahead, "ended", "revoked")
    if row.expires_at is not None and row.expires_at < now:
        yield Event(row.expires_at - ahead, "ended", "expired")


def _uses(scene: Scene) -> Iterable[Event]:
    history = (scene.incident.history if scene.incident else None) or scene.evidence.history
    later = scene.evidence.history
    if history is not None and history.first_good is not None and history.first_good != scene.last_good:
        yield Event(history.first_good, "good", "first good use")
    elif history is not None and history.first_seen is not None and history.first_seen < scene.at - 1 and not scene.last_good:
        yield Event(history.first_seen, "seen", "first seen here")
    if scene.last_good is not None:
        yield Event(scene.last_good, "good", "last good use")
    if scene.failing_since < scene.at - 1:
        yield Event(scene.failing_since, "change", "first failure")
    if later is not None and later.last_good is not None and later.last_good > scene.at:
        yield Event(later.last_good, "again", "works again")


def _rereads(scene: Scene) -> Iterable[Event]:
    """Looks after the incident: the first of each state, so that three equal ones are one mark."""
    told = ""
    for look in scene.later:
        state = state_word(look)
        if state != told:
            told = state
            yield Event(look.read_at, "reread", f"read again: {state}")


def state_word(look: Reading) -> str:
    """The state in one or two words, judged by the source's own clock."""
    if isinstance(look.state, Unavailable):
        return "no answer"
    if not isinstance(look.state, Known):
        return "no such token"
    now = look.source_time if look.source_time is not None else look.read_at
    return ended(look.state, now) or "alive"
