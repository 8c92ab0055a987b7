"""Every incident is played against the real parts, and asked for as a person would: the test knows only the code that must be
named. Blind: the scenario sets the world and never looks into the evidence."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from proxy.core.diagnosis import Code
from tests.scenarios.plays import SCENARIOS, Scenario
from tests.scenarios.world import World

MODULES = "ends refreshes strangers presents damage rights answers sources blind issuers silences files"
for _module in MODULES.split():
    importlib.import_module(f"tests.scenarios.{_module}")


@pytest.mark.heavy
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{'not ' if s.near else ''}{s.code}: {s.name}")
async def test_the_cause_is_named(scenario: Scenario, scene: World, record_property: Any) -> None:
    code = await scenario.play(scene)
    verdict = judged(scenario, code)
    record_property("scenario", (scenario.code, "near misses" if scenario.near else "scenarios", verdict))
    assert verdict == "right" or (scenario.near and verdict == "undetermined"), f"{code} was named"


def judged(scenario: Scenario, code: str) -> str:
    """`undetermined` is never wrong, but where a cause was to be named it is not enough."""
    if not scenario.near or scenario.really:
        right = code == (scenario.really or scenario.code)
        return "right" if right else "undetermined" if code == Code.UNDETERMINED else "wrong"
    return "wrong" if code == scenario.code else "right"


@pytest.mark.parametrize("code", list(Code))
def test_every_cause_has_two_scenarios_and_a_near_miss(code: Code) -> None:
    mine = [scenario.near for scenario in SCENARIOS if scenario.code == code]
    assert (True, True) == (mine.count(False) >= 2, mine.count(True) >= 1)
