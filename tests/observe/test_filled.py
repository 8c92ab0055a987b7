"""No metric is declared that nobody fills."""

from __future__ import annotations

import pathlib
import re

import pytest

from proxy.observe import families
from proxy.observe.metrics import Metrics

PROXY = pathlib.Path(families.__file__).parents[1]
CODE = "\n".join(path.read_text() for path in sorted(PROXY.rglob("*.py")) if path.name != "families.py")
NAMES = {value: name for name, value in vars(families).items() if isinstance(value, families.Family)}


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.name)
def test_each_family_is_counted_or_watched(family):
    watched = re.search(rf'\bwatch\(\s*"{family.name}"', CODE)
    counted = re.search(rf"(_counts|_spreads)\[f\.{NAMES[family]}\]\.cell|_note\(f\.{NAMES[family]},", CODE)
    assert watched or counted
    try:
        Metrics().watch(family.name, lambda: 0.0)
    except ValueError:
        assert counted, "counted families take no other values"
    else:
        assert watched


def test_every_family_is_exposed():
    declared = {value.name for value in NAMES}
    assert declared == {family.name for family in families.FAMILIES}
