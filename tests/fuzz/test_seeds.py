"""What must hold of every parser holds of its seeds, and of some thousand inputs near them, in every run of the tests."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.table import TARGETS
from tests.fuzz.target import Target

NEAR = 150
"""Inputs beside the seeds of each target: a second in all."""


def damaged(seed: bytes, target: Target, chance: random.Random) -> bytes:
    """A seed with one to three words put in, or octets taken out or changed."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 3)):
        at, size = chance.randrange(len(data) + 1), chance.randrange(4)
        data[at : at + size] = chance.choice((b"", chance.randbytes(1), *target.words))
    return bytes(data[: target.limit])


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_it_holds_of_seeds_and_of_what_is_near_them(target: Target):
    accepted = {target.check(seed) for seed in target.seeds}
    assert {True, False} == accepted, "the seeds begin on either side of what is accepted"
    chance = random.Random(target.name)
    for _ in range(NEAR):
        data = damaged(chance.choice(target.seeds), target, chance)
        try:
            target.check(data)
        except BaseException as error:
            error.add_note(f"python -m tests.fuzz {target.name} --input {str(data)!r}")
            raise


def test_names_are_unique_and_every_seed_fits():
    assert all(name == target.name for name, target in TARGETS.items())
    assert [] == [target.name for target in TARGETS.values() if max(map(len, target.seeds)) > target.limit]
