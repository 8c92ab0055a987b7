"""A compiled module runs in the place of its source only while it was made from that very source, unless asked otherwise."""

from __future__ import annotations

import hashlib
import importlib
import os
import pathlib
import runpy
import shutil
import subprocess
import sys
from importlib.machinery import ExtensionFileLoader
from types import ModuleType

import pytest

from proxy.compiled import SUFFIX, Compiled, name_of

ROOT = pathlib.Path(__file__).parents[2]
ROAD: tuple[str, ...] = runpy.run_path(str(ROOT / "deploy/compile.py"))["ROAD"]


@pytest.fixture
def package(tmp_path: pathlib.Path) -> pathlib.Path:
    """A package `proxy` with two modules, of which one was compiled. (What lies in the file is never looked at here.)"""
    package = tmp_path / "proxy"
    (package / "compiled").mkdir(parents=True)
    (package / "edge").mkdir()
    (package / "edge/judge.py").write_text("pure = 1\n")
    (package / "edge/handler.py").write_text("pure = 2\n")
    (package / "compiled" / name_of(package, "proxy.edge.judge")).write_bytes(b"\x7fELF")
    return package


def finder(package: pathlib.Path) -> Compiled:
    return Compiled(package / "compiled", package)


def test_the_name_holds_the_hash_of_the_source(package):
    digest = hashlib.sha256(b"pure = 1\n").hexdigest()
    assert f"proxy.edge.judge-{digest}{SUFFIX}" == name_of(package, "proxy.edge.judge")


def test_fresh_is_taken_compiled(package):
    spec = finder(package).find_spec("proxy.edge.judge")
    assert spec is not None
    assert isinstance(spec.loader, ExtensionFileLoader)
    assert str(package / "compiled" / name_of(package, "proxy.edge.judge")) == spec.origin
    assert finder(package).said() == "compiled"


def test_stale_is_left_to_its_source(package):
    one = finder(package)
    (package / "edge/judge.py").write_text("pure = 3\n")
    assert one.find_spec("proxy.edge.judge") is None
    assert one.said() == "plain"


def test_what_is_declared_beside_a_source_is_a_part_of_it(package):
    one = finder(package)
    declarations = package / "edge/judge.pxd"
    declarations.write_text("cdef class Judge:\n")
    assert one.find_spec("proxy.edge.judge") is None
    assert one.said() == "plain"
    declarations.unlink()
    assert one.said() == "compiled"


@pytest.fixture
def dependent(package: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The handler's declarations name a class of the judge, whose own are there too; both are compiled."""
    monkeypatch.delitem(sys.modules, "proxy.edge.judge", raising=False)
    (package / "edge/handler.pxd").write_text("from proxy.edge.judge cimport Judge\n")
    (package / "compiled" / name_of(package, "proxy.edge.handler")).write_bytes(b"\x7fELF")
    return package


@pytest.mark.parametrize("changed", ["judge.py", "judge.pxd"])
def test_what_another_modules_class_is_named_for_is_a_part_of_it(dependent, changed):
    one = finder(dependent)
    assert one.find_spec("proxy.edge.handler") is not None
    (dependent / "edge" / changed).write_text("pure = 3\n")
    assert one.find_spec("proxy.edge.handler") is None
    assert one.said() == "plain"


def test_nobody_runs_compiled_beside_a_plain_one_whose_places_it_knows(dependent, monkeypatch):
    one = finder(dependent)
    judge = ModuleType("proxy.edge.judge")
    for file, taken in ((dependent / "compiled" / name_of(dependent, "proxy.edge.judge"), True), ("judge.py", False)):
        judge.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "proxy.edge.judge", judge)
        assert taken is (one.find_spec("proxy.edge.handler") is not None)
    monkeypatch.delitem(sys.modules, "proxy.edge.judge")
    (dependent / "compiled" / name_of(dependent, "proxy.edge.judge")).unlink()
    assert one.find_spec("proxy.edge.handler") is None


def test_two_that_name_each_other_are_parts_of_each_other(dependent):
    (dependent / "edge/judge.pxd").write_text("from proxy.edge.handler cimport Handler\n")
    names = {name_of(dependent, "proxy.edge.judge"), name_of(dependent, "proxy.edge.handler")}
    (dependent / "edge/handler.py").write_text("pure = 3\n")
    assert names.isdisjoint((name_of(dependent, "proxy.edge.judge"), name_of(dependent, "proxy.edge.handler")))


def test_the_stale_one_among_fresh_ones_is_named(package):
    (package / "compiled" / name_of(package, "proxy.edge.handler")).write_bytes(b"\x7fELF")
    one = finder(package)
    (package / "edge/judge.py").write_text("pure = 3\n")
    assert one.find_spec("proxy.edge.handler") is not None
    assert one.said() == "compiled, but for proxy.edge.judge"


def test_back_to_what_was_compiled_is_fresh_again(package):
    one = finder(package)
    for text, expected in (("pure = 3\n", "plain"), ("pure = 1\n", "compiled")):
        (package / "edge/judge.py").write_text(text)
        assert one.said() == expected


@pytest.mark.parametrize("module", ["proxy.edge.handler", "proxy.edge", "proxy", "aiohttp"])
def test_what_was_never_compiled_is_left_to_its_source(package, module):
    assert finder(package).find_spec(module) is None


def test_without_its_source_nothing_is_taken(package):
    (package / "edge/judge.py").unlink()
    assert finder(package).find_spec("proxy.edge.judge") is None


def test_another_interpreters_modules_are_not_looked_at(package):
    for path in (package / "compiled").iterdir():
        path.rename(path.with_name(path.name.replace(SUFFIX, ".cpython-27m-other.so")))
    assert finder(package).find_spec("proxy.edge.judge") is None
    assert finder(package).said() == "plain"


@pytest.mark.parametrize(
    "pure, taken", [("", "compiled"), ("0", "compiled"), ("false", "compiled"), ("1", "plain"), ("yes", "plain")]
)
def test_the_switch(tmp_path, pure, taken):
    """With the real package's beginning, and another library's extension module in the place of a compiled one."""
    package = tmp_path / "proxy"
    (package / "compiled").mkdir(parents=True)
    for name in ("__init__.py", "compiled/__init__.py"):
        (package / name).write_bytes((ROOT / "proxy" / name).read_bytes())
    (package / "_multidict.py").write_text("plain = True\n")
    extension = importlib.import_module("multidict._multidict").__file__
    assert extension is not None
    (package / "compiled" / name_of(package, "proxy._multidict")).symlink_to(extension)
    code = "from proxy import _multidict as m, compiled; print('plain' if hasattr(m, 'plain') else 'compiled', compiled.said())"
    assert f"{taken} {taken}" == ran([sys.executable, "-c", code], tmp_path, SCIM_WITNESS_PURE=pure).stdout.strip()


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of what the script needs, without anything compiled."""
    folder = tmp_path / "checkout"
    kept = shutil.ignore_patterns(f"*{SUFFIX}", "__pycache__")
    shutil.copytree(ROOT / "proxy", folder / "proxy", ignore=kept)
    (folder / "deploy").mkdir()
    shutil.copy(ROOT / "deploy/compile.py", folder / "deploy")
    return folder


NOT_COMPILED = "*** NOT COMPILED, so scim-witness runs plain and needs about a third more processor time: "


def test_without_a_compiler_one_line_says_that_it_runs_plain(checkout):
    done = ran([sys.executable, "deploy/compile.py"], checkout, SCIM_WITNESS_PURE="0", CC="/none/cc")
    assert f"{NOT_COMPILED}there is no C compiler (/none/cc); " in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert "plain" in ran([sys.executable, "-m", "proxy.cli", "version"], checkout, SCIM_WITNESS_PURE="0").stdout


def test_when_compiling_fails_nothing_is_left_half_done(checkout):
    for source in ROAD:
        (checkout / source).write_text("small = True\n")  # the compiler's failure is the same, and comes sooner
    done = ran([sys.executable, "deploy/compile.py"], checkout, SCIM_WITNESS_PURE="0", CC="false")
    assert f"{NOT_COMPILED}compiling failed with status 1; " in done.stderr.splitlines()[-1]
    assert [] == [*checkout.glob(f"proxy/compiled/*{SUFFIX}")]
    assert [] == [*checkout.glob("build/*")]


def test_who_asks_for_plain_gets_nothing_compiled_and_no_complaint(checkout):
    done = ran([sys.executable, "deploy/compile.py"], checkout, SCIM_WITNESS_PURE="1", CC="/none/cc")
    assert "" == done.stderr
    assert [] == [*checkout.glob(f"proxy/compiled/*{SUFFIX}")]


def test_every_module_of_the_road_is_there():
    assert set() == {source for source in ROAD if not (ROOT / source).is_file()}
    assert len(set(ROAD)) == len(ROAD)


def ran(command: list[str], folder: pathlib.Path, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(folder), **environ}
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=50, check=True)
