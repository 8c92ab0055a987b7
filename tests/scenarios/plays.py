"""The register of scenarios: which cause each plays, or which one it must not be taken for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from proxy.core.diagnosis import Code
from tests.scenarios.world import World

Play = Callable[[World], Awaitable[str]]
"""Sets the world, plays, and returns the code that the product names (`named`)."""


class Scenario(msgspec.Struct, frozen=True):
    """`near`: a near miss, which must not give `code`, but `really` (or `undetermined`) where that is said. `also`: what is
    right as well as `code`, where two causes meet. `unsure`: the evidence may not show it, so `undetermined` is no fault."""

    code: str
    name: str
    play: Play
    near: bool = False
    really: str = ""
    also: tuple[str, ...] = ()
    unsure: bool = False

    def judged(self, code: str) -> str:
        """`right`, `wrong` or `undetermined` for the code that was named. The last is right only where it is what was to be
        said."""
        if self.near and not self.really:
            right = code not in (self.code, Code.UNDETERMINED)
            wrong = code == self.code
        else:
            right = code in (self.really or self.code, *self.also)
            wrong = not right and code != Code.UNDETERMINED
        return "right" if right else "wrong" if wrong else "undetermined"

    def passes(self, code: str) -> bool:
        """Whether the product may say this: what is right, and `undetermined` of a near miss or where the evidence may not
        show it."""
        verdict = self.judged(code)
        return verdict == "right" or (verdict == "undetermined" and (self.near or self.unsure))


SCENARIOS: Final[list[Scenario]] = []


def plays(code: str, *also: str) -> Callable[[Play], Play]:
    """Register a scenario of a cause. `also` are causes that are as right as this one."""

    def register(play: Play) -> Play:
        SCENARIOS.append(Scenario(code, play.__name__, play, also=also))
        return play

    return register


def perhaps(code: str, *also: str) -> Callable[[Play], Play]:
    """Register a scenario of a cause which the evidence need not show: `undetermined` is no fault, and not right either."""

    def register(play: Play) -> Play:
        SCENARIOS.append(Scenario(code, play.__name__, play, also=also, unsure=True))
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
