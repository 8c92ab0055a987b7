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
_ATTRIBUTES = re.compile(r"^    cdef public (long long|\w+) (\w+(?:, \w+)*)$")
_METHOD = re.compile(r"^    cpdef (?:(\w+) )?(\w+)\(((?:\w+ )?\w+(?:=\*)?(?:, (?:\w+ )?\w+(?:=\*)?)*)\)$")
_LOCALS = re.compile(r"^    @cython\.locals\((\w+=\w+(?:, \w+=\w+)*)\)$")
_CIMPORT = re.compile(r"^from (proxy(?:\.\w+)+) cimport (\w+(?:, \w+)*)$")
_OTHERWISE = ("", "cimport cython", "    cdef object __weakref__")
_PLAIN = {"object", "bytes", "dict", "list", "bint", "double", "Py_ssize_t", "long long"}


class Shape(NamedTuple):
    """Of a class: its attributes, and its methods (those declared) with their parameters, `=*` where they have defaults."""

    attributes: list[str]
    methods: dict[str, str]


class Declared(NamedTuple):
    """Tables of a module, its classes, which variables a method is said to have, and the names of types that are used."""

    tables: list[str]
    classes: dict[str, Shape]
    variables: dict[tuple[str, str], list[str]]
    types: set[str]
    cimported: dict[str, str]


def declared(text: str) -> Declared:
    """What a file says. Any other line than these is an error: what it means would have to be checked."""
    found = Declared([], {}, {}, set(), {})
    variables: list[str] = []
    for line in text.splitlines():
        if match := _CIMPORT.match(line):
            found.cimported.update(dict.fromkeys(match[2].split(", "), match[1]))
        elif match := _TABLES.match(line):
            found.tables.extend(match[1].split(", "))
        elif match := _CLASS.match(line):
            current_name = match[1]
            current = found.classes[current_name] = Shape([], {})
        elif match := _ATTRIBUTES.match(line):
            found.types.add(match[1])
            current.attributes.extend(match[2].split(", "))
        elif match := _LOCALS.match(line):
            variables = [part.partition("=")[0] for part in match[1].split(", ")]
            found.types.update(part.partition("=")[2] for part in match[1].split(", "))
        elif match := _METHOD.match(line):
            parameters = [parameter.rpartition(" ") for parameter in match[3].split(", ")]
            found.types.update(kind for kind in (match[1], *(kind for kind, _, _ in parameters)) if kind)
            current.methods[match[2]] = ", ".join(name for _, _, name in parameters)
            found.variables[current_name, match[2]], variables = variables, []
        else:
            assert line in _OTHERWISE, line
    return found


def shape(node: ast.ClassDef) -> Shape:
    """What the methods of a class set on `self`, and its plain methods with positional parameters alone."""
    stores = [inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store)]
    attributes = {store.attr for store in stores if isinstance(store.value, ast.Name) and store.value.id == "self"}
    methods = {
        inner.name: parameters(inner.args)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef) and not (inner.args.kwonlyargs or inner.decorator_list)
    }
    return Shape(sorted(attributes), methods)


def parameters(arguments: ast.arguments) -> str:
    """As a `.pxd` names them."""
    optional = len(arguments.args) - len(arguments.defaults)
    return ", ".join(f"{one.arg}=*" if at >= optional else one.arg for at, one in enumerate(arguments.args))


def test_there_are_some():
    assert len(DECLARED) > 10


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: str(path.relative_to(ROOT)))
def test_declared_is_what_is_there(path: pathlib.Path):
    source = path.with_suffix(".py")
    assert str(source.relative_to(ROOT)) in ROAD, "declared, and never compiled"
    module = ast.parse(source.read_text())
    classes = {node.name: node for node in ast.walk(module) if isinstance(node, ast.ClassDef)}
    set_here = {node.target.id for node in module.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    said = declared(path.read_text())
    assert set_here >= set(said.tables)
    assert said.types <= _PLAIN | said.cimported.keys() | said.classes.keys()
    for name, wanted in said.classes.items():
        assert not classes[name].bases, f"{name} has a base: that must be an extension type too"
        there = shape(classes[name])
        assert sorted(wanted.attributes) == there.attributes, name
        assert wanted.methods.items() <= there.methods.items(), name
        for method in wanted.methods:
            assert set(said.variables[name, method]) <= stored(classes[name], method), f"{name}.{method}"


def stored(node: ast.ClassDef, method: str) -> set[str]:
    """The variables that a method sets."""
    function = next(inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == method)
    return {inner.id for inner in ast.walk(function) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)}


@pytest.mark.parametrize("path", DECLARED, ids=lambda path: str(path.relative_to(ROOT)))
def test_whose_class_is_named_is_imported_by_the_source_too(path: pathlib.Path):
    """A class that only declarations name would be a dependency that nobody sees, the rules of the layers included."""
    tree = ast.parse(path.with_suffix(".py").read_text())
    imported = {alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    cimported = declared(path.read_text()).cimported
    assert cimported.items() <= imported.items()
    for name, module in cimported.items():
        declarations = ROOT.joinpath(*module.split(".")).with_suffix(".pxd")
        assert name in declared(declarations.read_text()).classes, module


@pytest.mark.parametrize(
    "text", ["cdef class A:\n    cdef object a", "cimport b", "from b cimport C", "cdef class A(B):", "    cpdef a(*b)"]
)
def test_nothing_else_is_declared(text: str):
    with pytest.raises(AssertionError):
        declared(text)
