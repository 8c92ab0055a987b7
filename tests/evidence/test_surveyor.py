"""The look around a refused token: one that gave up is made again, so often and no more."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from proxy.core.credential import Secret
from proxy.core.history import StateChange, TokenHistory
from proxy.core.incident import Note
from proxy.core.token import Known, Surroundings, TokenState, Unknown
from proxy.evidence import surveyor
from proxy.evidence.surveyor import Surveyor, Wanted


async def _looked_around(monkeypatch, *errors: str | None) -> tuple[list[str | None], int]:
    """Look with these outcomes, until the outcomes or the tries are used up; what was put on record, and what is due still."""
    monkeypatch.setattr(surveyor, "AGAIN", (0.0, 0.0))
    left = list(errors)
    noted: list[str | None] = []
    over = asyncio.Event()

    async def look(_secret, _state) -> Surroundings:
        return Surroundings(1.0, "doorkeeper", error=left.pop(0))

    def record(note: Note) -> None:
        assert note.surroundings is not None
        noted.append(note.surroundings.error)
        if not left:
            over.set()

    made = Surveyor(look, record, OSError)
    made._put(Wanted("I1", Secret(b"s" * 20, "ab" * 16), Known(row=1, tenant="acme", created_at=0.0)))
    running = asyncio.ensure_future(made.run())
    async with asyncio.timeout(60):
        await over.wait()
    await asyncio.sleep(0)
    running.cancel()
    return noted, len(made) + made._due


ROW = Known(row=1, tenant="acme", created_at=0.0)
BEFORE = TokenHistory("ab" * 16, changes=(StateChange(ROW, Unknown(), 1.0, 2.0),))
WORKED = TokenHistory("ab" * 16, last_good=1.0)


@pytest.mark.parametrize(
    "state,remembered,looked_with",
    [
        (Unknown(), BEFORE, ROW),
        (Unknown(), WORKED, Unknown()),
        (Unknown(), None, Unknown()),
        (msgspec.structs.replace(ROW, revoked_at=1.0), BEFORE, msgspec.structs.replace(ROW, revoked_at=1.0)),
    ],
    ids=["its row was seen elsewhere", "its row was never seen", "nobody knew it", "its row is there"],
)
async def test_a_token_that_another_instance_knew_is_looked_around_by_the_row_it_had(state, remembered, looked_with):
    seen: list[TokenState] = []
    noted = asyncio.Event()

    async def look(_secret, given) -> Surroundings:
        seen.append(given)
        return Surroundings(1.0, "doorkeeper")

    async def recall(fingerprint):
        assert fingerprint == "ab" * 16
        return remembered

    made = Surveyor(look, lambda _: noted.set(), OSError, recall=recall)
    made._put(Wanted("I1", Secret(b"s" * 20, "ab" * 16), state))
    running = asyncio.ensure_future(made.run())
    async with asyncio.timeout(60):
        await noted.wait()
    running.cancel()
    assert [looked_with] == seen


async def test_one_that_gave_up_is_made_again(monkeypatch):
    assert (["timeout", None], 0) == await _looked_around(monkeypatch, "timeout", None)


async def test_one_that_gives_up_each_time_is_left_so(monkeypatch):
    assert (["timeout", "down", "timeout"], 0) == await _looked_around(monkeypatch, "timeout", "down", "timeout")


async def test_one_that_answered_is_not_made_again(monkeypatch):
    assert ([None], 0) == await _looked_around(monkeypatch, None)
