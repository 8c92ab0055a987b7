"""What the .pxd files beside the sources declare is what the sources have: an attribute that is missing there could not be set
in compiled code, and one too many would be a name that nothing has."""

from __future__ import annotations

import ast
import pathlib
import re
import runpy
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[2]
ROAD: tuple[str, ...] = runpy.run_path(str(ROOT / "deploy/compile.py"))["ROAD"]
DECLARED = sorted(ROOT.joinpath("proxy").rglob("*.pxd"))
_TABLES = re.compile(r"^cdef dict (\w+(?:, \w+)*)$")
_CLASS = re.compile(r"^cdef class (\w+):$")
_ATTRIBUTES = re.compile(r"^    cdef public (?:object|bytes|dict|list|bint|double|Py_ssize_t|long long) (\w+(?:, \w+)*)$")
_METHOD = re.compile(r"^    cpdef (\w+)\((\w+(?:, \w+)*)\)$")
_WEAK = "    cdef object __weakref__"


class Shape(NamedTuple):
    """Of a class: its attributes, and its methods (those declared) with their parameters."""

    attributes: list[str]
    methods: dict[str, str]


def declared(text: str) -> tuple[list[str], dict[str, Shape]]:
    """Tables of the module, and its classes. Any other line than these is an error: what it means would have to be checked."""
    tables: list[str] = []
    found: dict[str, Shape] = {}
    for line in text.splitlines():
        if match := _TABLES.match(line):
            tables += match[1].split(", ")
        elif match := _CLASS.match(line):
            current = found[match[1]] = Shape([], {})
        elif match := _ATTRIBUTES.match(line):
            current.attributes.extend(match[1].split(", "))
        elif match := _METHOD.match(line):
            current.methods[match[1]] = match[2]
        else:
            assert line in ("", _WEAK), line
    return tables, found


def shape(node: ast.ClassDef) -> Shape:
    """What the methods of a class set on `self`, and its plain methods with positional parameters alone."""
    stores = [inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)]
    attributes = {store.attr for store in stores if isinstance(store.value, ast.Name) and store.value.id == "self"}
    methods = {
        inner.name: ", ".join(argument.arg for argument in inner.args.args)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef) and not (inner.args.kwonlyargs or inner.args.defaults or inner.decorator_list)
    }
    return Shape(sorted(attributes), methods)


def test_there_are_some():
    assert len(DECLARED) > 10


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: str(path.relative_to(ROOT)))
def test_declared_is_what_is_there(path: pathlib.Path):
    source = path.with_suffix(".py")
    assert str(source.relative_to(ROOT)) in ROAD, "declared, and never compiled"
    module = ast.parse(source.read_text())
    classes = {node.name: node for node in ast.walk(module) if isinstance(node, ast.ClassDef)}
    set_here = {node.target.id for node in module.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    tables, found = declared(path.read_text())
    assert set_here >= set(tables)
    for name, wanted in found.items():
        assert not classes[name].bases, f"{name} has a base: that must be an extension type too"
        there = shape(classes[name])
        assert sorted(wanted.attributes) == there.attributes, name
        assert wanted.methods.items() <= there.methods.items(), name


@pytest.mark.parametrize("text", ["cdef class A:\n    cdef public int a", "cdef class A:\n    cdef object a", "cimport b"])
def test_nothing_else_is_declared(text: str):
    with pytest.raises(AssertionError):
        declared(text)
