"""An order of sources: who speaks for a token, and that no outage becomes an Unknown."""

from __future__ import annotations

import itertools

import pytest

from proxy.core.token import Known, Reading, Surroundings, Unavailable, Unknown
from proxy.sources.first_match import FirstMatch
from tests.sources.conftest import secret

ROWS = {"known": Known(row=7, tenant="a", created_at=0.0), "unknown": Unknown(), "unavailable": Unavailable("timeout")}


class Fixed:
    def __init__(self, name: str, state) -> None:
        self.name = name
        self.state = state
        self.asked = 0
        self.reread_rows: list[Known] = []

    async def read(self, secret):
        self.asked += 1
        return Reading(self.state, self.name, "primary", 1.0)

    second_look = read

    async def reread(self, known):
        self.reread_rows = list(known)
        return {row.row: Reading(row, self.name, "primary", 2.0) for row in known}

    async def surroundings(self, secret, state):
        row = getattr(state, "row", None)
        return Surroundings(
            1.0, self.name, schema_flags=(f"{self.name}-{row}",), error="timeout" if self.state is None else None
        )


@pytest.mark.parametrize("first, second, third", list(itertools.product(ROWS, repeat=3)))
async def test_known_wins_and_unknown_needs_everybody(first, second, third):
    sources = [Fixed(name, ROWS[state]) for name, state in zip("abc", (first, second, third), strict=True)]
    states = [first, second, third]
    both = FirstMatch(sources)
    for reading in (await both.read(secret("t")), await both.second_look(secret("t"))):
        if "known" in states:
            assert isinstance(reading.state, Known)
            assert reading.state.row == f"{'abc'[states.index('known')]}:7"
        elif "unavailable" in states:
            assert reading.state == Unavailable("timeout")
        else:
            assert reading.state == Unknown()


async def test_a_later_source_is_not_asked_for_an_earlier_ones_token():
    later = Fixed("b", Unknown())
    await FirstMatch([Fixed("a", ROWS["known"]), later]).read(secret("t"))
    assert later.asked == 0


@pytest.mark.parametrize("key", [7, -7, "7", "-7", "uuid-1", "a:b", "=7", "", "\u0664"])
async def test_rows_go_back_to_their_source_under_their_own_key(key):
    row = Known(row=key, tenant="a", created_at=0.0)
    first, second = Fixed("a", Unknown()), Fixed("b", row)
    both = FirstMatch([first, second])
    outside = (await both.read(secret("t"))).state
    assert isinstance(outside, Known)
    again = await both.reread([outside])
    assert (first.reread_rows, second.reread_rows) == ([], [row])
    assert again[outside.row].state == outside
    assert (await both.surroundings(secret("t"), outside)).schema_flags == (f"b-{key}",)


async def test_equal_keys_of_two_sources_stay_apart():
    rows = [Known(row=f"{name}:7", tenant=name, created_at=0.0) for name in "ab"]
    again = await FirstMatch([Fixed("a", Unknown()), Fixed("b", Unknown())]).reread(rows)
    assert {row.row: row for row in rows} == {key: reading.state for key, reading in again.items()}


async def test_around_an_unknown_token_all_are_asked_and_errors_are_named():
    around = await FirstMatch([Fixed("a", None), Fixed("b", Unknown())]).surroundings(secret("t"), Unknown())
    assert (around.schema_flags, around.error) == (("a-None", "b-None"), "a: timeout")


def test_names_are_unique_and_hold_no_colon():
    for names in ("aa", [], ["a:b"]):
        with pytest.raises(ValueError, match="name"):
            FirstMatch([Fixed(name, None) for name in names])
