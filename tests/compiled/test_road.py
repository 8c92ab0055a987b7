"""Against an installed wheel (.ci/run): every module on the way of a request is the compiled one, and is loaded as such."""

from __future__ import annotations

import importlib
import pathlib
import runpy
import sys
from importlib.machinery import ExtensionFileLoader

import pytest

from proxy import compiled

SCRIPT = runpy.run_path(str(pathlib.Path(__file__).parents[2] / "deploy/compile.py"))
MODULES: list[str] = [SCRIPT["module_of"](source) for source in SCRIPT["ROAD"]]

pytestmark = pytest.mark.compiled


def test_the_program_says_that_it_is_compiled():
    assert "compiled" == compiled.said()


@pytest.mark.parametrize("name", MODULES)
def test_it_is_loaded_compiled_from_where_the_wheel_was_installed(name):
    module = importlib.import_module(name)
    assert isinstance(module.__loader__, ExtensionFileLoader)
    assert module.__file__ is not None
    assert pathlib.Path(sys.prefix) in pathlib.Path(module.__file__).parents
