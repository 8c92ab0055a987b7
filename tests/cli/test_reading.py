"""Who asks in the second of a refusal waits until its token has been looked around, and not for ever."""

from __future__ import annotations

import time
from typing import cast

import msgspec
import pytest

from proxy.cli import reading
from proxy.core.incident import Incident, Kind, Note
from proxy.core.token import Surroundings
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError
from tests.core.diagnosis.world import ROW, refusal

LOOKED = Note("I1", "surroundings", 0.0, surroundings=Surroundings(0.0, "doorkeeper"))
GAVE_UP = Note("I1", "surroundings", 0.0, surroundings=Surroundings(0.0, "doorkeeper", error="timeout"))


class Notes:
    """A reader that finds these notes, look after look; the last for ever."""

    def __init__(self, *found: list[Note]) -> None:
        self.found = list(found)
        self.asked = 0

    async def notes(self, _: str) -> list[Note]:
        self.asked += 1
        return self.found[min(self.asked, len(self.found)) - 1]


async def _asked(notes: Notes, monkeypatch: pytest.MonkeyPatch, age: float = 0.0, **changes: object) -> int:
    """How often the notes are read before an answer is given."""
    monkeypatch.setattr(reading, "PAUSE", 0.0)
    made = cast("Incident", refusal(ROW).incident)
    values = {"at": time.time() - age, "credential_length": 43} | changes
    await reading._settled(cast("EvidenceReader", notes), msgspec.structs.replace(made, **values))
    return notes.asked


async def test_it_waits_for_a_look_that_answered(monkeypatch):
    monkeypatch.setattr(reading, "SETTLES", 3_600.0)
    assert 4 == await _asked(Notes([], [], [GAVE_UP], [LOOKED]), monkeypatch)


@pytest.mark.parametrize(
    "age,changes",
    [
        (10.0, {}),
        (-10.0, {}),
        (0.0, {"credential_length": 0}),
        (0.0, {"surroundings": LOOKED.surroundings}),
        (0.0, {"kind": Kind.OAUTH_REFUSAL}),
    ],
    ids=["asked later", "a clock was set back", "nothing was presented", "looked around in the record", "the token endpoint's"],
)
async def test_where_there_is_nothing_to_wait_for_it_does_not(monkeypatch, age, changes):
    assert 0 == await _asked(Notes([]), monkeypatch, age, **changes)


async def test_it_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(reading, "SETTLES", 0.2)
    assert 0 < await _asked(Notes([]), monkeypatch)


async def test_without_the_store_it_does_not_wait(monkeypatch):
    class Away(Notes):
        async def notes(self, _: str) -> list[Note]:
            self.asked += 1
            raise StoreError("down", "refused")

    assert 1 == await _asked(Away(), monkeypatch)
