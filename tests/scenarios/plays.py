"""The register of scenarios: which cause each plays, or which one it must not be taken for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from tests.scenarios.world import World

Play = Callable[[World], Awaitable[str]]
"""Sets the world, plays, and returns the code that the product names (`named`)."""


class Scenario(msgspec.Struct, frozen=True):
    """`near`: a near miss, which must not give `code`, but `really` (or `undetermined`) where that is said."""

    code: str
    name: str
    play: Play
    near: bool = False
    really: str = ""


SCENARIOS: Final[list[Scenario]] = []


def plays(code: str) -> Callable[[Play], Play]:
    """Register a scenario of a cause."""

    def register(play: Play) -> Play:
        SCENARIOS.append(Scenario(code, play.__name__, play))
        return play

    return register


def nearly(code: str, really: str = "") -> Callable[[Play], Play]:
    """Register a scenario that looks like a cause and is not."""

    def register(play: Play) -> Play:
        SCENARIOS.append(Scenario(code, play.__name__, play, near=True, really=really))
        return play

    return register


async def named(world: World, incident: str, *also: str, later: bool = False) -> str:
    """The cause that `incidents show --json` names, once the notes of the names in `also` are there too. `later`: asked for
    after the proxy has ended and written all that it knew, as a person does a day later."""
    shown = await world.shown(incident, *also)
    if later:
        await world.stop()
        shown = await world.command("incidents", "show", incident)
    code: str = shown["cause"]["code"]
    return code
