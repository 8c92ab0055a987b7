"""Every incident is played against the real parts, and asked for as a person would: the test knows only the code that must be
named. Blind: the scenario sets the world and never looks into the evidence."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from proxy.core.diagnosis import Code
from tests.scenarios.plays import SCENARIOS, Scenario
from tests.scenarios.world import World

MODULES = (
    "ends refreshes strangers presents damage rights answers sources blind issuers silences files "
    "deletions revocations replacements rotations expiries mangled bare allowed refusals environments signatures absences"
)
for _module in MODULES.split():
    importlib.import_module(f"tests.scenarios.{_module}")


@pytest.mark.heavy
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: f"{'not ' if s.near else ''}{s.code}: {s.name}")
async def test_the_cause_is_named(scenario: Scenario, scene: World, record_property: Any) -> None:
    code = await scenario.play(scene)
    kind = "near misses" if scenario.near else "scenarios"
    record_property("scenario", (scenario.code, kind, scenario.judged(code)))
    assert scenario.passes(code), f"{code} was named"


async def _never(_: World) -> str:
    raise AssertionError


@pytest.mark.parametrize(
    "scenario, code, verdict, passes",
    [
        (Scenario("token_deleted", "plays", _never), "token_deleted", "right", True),
        (Scenario("token_deleted", "plays", _never), "undetermined", "undetermined", False),
        (Scenario("token_deleted", "plays", _never), "token_revoked", "wrong", False),
        (Scenario("token_deleted", "also", _never, also=("token_revoked",)), "token_revoked", "right", True),
        (Scenario("token_deleted", "also", _never, also=("token_revoked",)), "token_expired", "wrong", False),
        (Scenario("token_deleted", "perhaps", _never, unsure=True), "undetermined", "undetermined", True),
        (Scenario("token_deleted", "perhaps", _never, unsure=True), "token_revoked", "wrong", False),
        (Scenario("undetermined", "plays", _never), "undetermined", "right", True),
        (Scenario("undetermined", "plays", _never), "token_deleted", "wrong", False),
        (Scenario("token_deleted", "nearly", _never, near=True), "token_revoked", "right", True),
        (Scenario("token_deleted", "nearly", _never, near=True), "undetermined", "undetermined", True),
        (Scenario("token_deleted", "nearly", _never, near=True), "token_deleted", "wrong", False),
        (Scenario("token_deleted", "really", _never, near=True, really="token_expired"), "token_expired", "right", True),
        (Scenario("token_deleted", "really", _never, near=True, really="token_expired"), "undetermined", "undetermined", True),
        (Scenario("token_deleted", "really", _never, near=True, really="token_expired"), "token_revoked", "wrong", False),
    ],
    ids=lambda case: f"{case.name} {case.code}" if isinstance(case, Scenario) else str(case),
)
def test_what_may_be_named(scenario: Scenario, code: str, verdict: str, passes: bool) -> None:
    assert (verdict, passes) == (scenario.judged(code), scenario.passes(code))


@pytest.mark.parametrize("code", list(Code))
def test_every_cause_has_two_scenarios_and_a_near_miss(code: Code) -> None:
    mine = [scenario.near for scenario in SCENARIOS if scenario.code == code]
    assert (True, True) == (mine.count(False) >= 2, mine.count(True) >= 1)


def test_no_story_is_told_twice_under_one_name() -> None:
    names = [(scenario.code, scenario.name) for scenario in SCENARIOS]
    assert sorted(set(names)) == sorted(names)
