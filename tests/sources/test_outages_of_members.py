"""One source's outage is never a 401: every combination of what the members of a composition say, whichever way they are asked,
judged as a request is. Exhaustive where it can be, drawn over time where it cannot.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known, Reading, Surroundings, TokenSource, TokenState, Unavailable, Unknown
from proxy.core.verdict import Allow, Deny, Unable, decide
from proxy.sources.cross_check import CrossCheck
from proxy.sources.first_match import FirstMatch
from proxy.tasks import Tasks
from tests.sources.conftest import secret

ROW: Final = Known(7, "acme", 0.0)
WORDS: Final[dict[str, TokenState]] = {
    "alive": ROW,
    "revoked": msgspec.structs.replace(ROW, revoked_at=1.0),
    "unknown": Unknown(),
    "refresh_token": Unknown("refresh_token"),
    "timeout": Unavailable("timeout"),
    "breaker": Unavailable("breaker"),
}
AWAY: Final = ("timeout", "breaker")


class Said:
    """A source that says one word, by every way of asking."""

    def __init__(self, name: str, word: str) -> None:
        self.name = name
        self.word = word

    @property
    def state(self) -> TokenState:
        return WORDS[self.word]

    async def read(self, _: object) -> Reading:
        return Reading(self.state, self.name, "primary", 10.0)

    second_look = read

    async def reread(self, known: Sequence[Known]) -> dict[int | str, Reading]:
        return {row.row: Reading(self.state, self.name, "primary", 10.0) for row in known}

    async def surroundings(self, _: object, __: object) -> Surroundings:
        return Surroundings(10.0, self.name)


async def verdicts(source: TokenSource) -> list[Allow | Deny | Unable]:
    """Of a request by each way that a verdict may rest on."""
    looks = [await source.read(secret("t")), await source.second_look(secret("t"))]
    return [decide(look.state, 10.0, 0.0, Policy(), OTHER_READ) for look in looks]


def composed(table: Said, other: Said, last: Said, tasks: Tasks) -> dict[str, tuple[TokenSource, tuple[Said, ...]]]:
    """Each composition with the members without whose answer nothing may be refused as unknown."""
    checked = CrossCheck(table, other, tasks, lambda *_: None)
    return {
        "first_match": (FirstMatch([table, other, last]), (table, other, last)),
        "cross_check": (checked, (table,)),
        "cross_check in first_match": (FirstMatch([CrossCheck(table, other, tasks, lambda *_: None), last]), (table, last)),
    }


@pytest.mark.parametrize("words", list(itertools.product(WORDS, repeat=3)), ids="-".join)
async def test_nothing_is_refused_that_a_silent_member_might_have_known(tasks: Tasks, words: tuple[str, str, str]) -> None:
    members = [Said(name, word) for name, word in zip(("table", "other", "last"), words, strict=True)]
    for name, (source, needed) in composed(members[0], members[1], members[2], tasks).items():
        for verdict in await verdicts(source):
            if isinstance(verdict, Deny):
                known = [member for member in members if isinstance(member.state, Known)]
                silent = [member.name for member in needed if member.word in AWAY]
                assert not silent or "revoked" in [member.word for member in known], (name, silent)
            if not any(isinstance(member.state, Known) for member in members):
                assert isinstance(verdict, Unable) is any(member.word in AWAY for member in needed), name
    while len(tasks):
        await asyncio.sleep(0)


@given(st.lists(st.tuples(*[st.sampled_from(list(WORDS))] * 3), min_size=1, max_size=6))
def test_a_row_is_unknown_again_only_by_the_word_of_its_own_source(course: list[tuple[str, str, str]]) -> None:
    """Members come and go; what was known is read again by its key each time."""
    asyncio.run(_course(course))


async def _course(course: list[tuple[str, str, str]]) -> None:
    tasks = Tasks(lambda name, error: pytest.fail(f"{name}: {error!r}"))
    members = [Said(name, "timeout") for name in ("table", "other", "last")]
    rows: dict[str, dict[str, Known]] = {}
    compositions = composed(members[0], members[1], members[2], tasks)
    for words in course:
        for member, word in zip(members, words, strict=True):
            member.word = word
        for name, (source, _) in compositions.items():
            kept = rows.setdefault(name, {})
            for key, reading in (await source.reread(list(kept.values()))).items():
                owner = next(m for m in members if f"{m.name}:" in str(key) and str(key).rstrip("7").endswith(f"{m.name}:"))
                assert isinstance(reading.state, Unavailable) is (owner.word in AWAY), (name, key)
                assert isinstance(reading.state, Unknown) is (owner.word in ("unknown", "refresh_token")), (name, key)
            state = (await source.read(secret("t"))).state
            if isinstance(state, Known):
                kept[str(state.row)] = state
    await tasks.close()
