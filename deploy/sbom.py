# ruff: noqa: INP001, T201 - a script of its own, which says what it wrote
"""Writes the list of what the program is made of (CycloneDX 1.6): `python deploy/sbom.py dist/sbom.cdx.json`.

In it are the packages of requirements.lock that run with the program, in the locked versions with the hashes of all their
distributions, and the browser's files that are kept in this repository. What only tests and checks need is not. Licences are
those that the installed packages name; one that is for another platform, and so not installed here, is without.
"""

from __future__ import annotations

import base64
import datetime as dt
import importlib.metadata
import json
import os
import pathlib
import re
import sys
import tomllib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = pathlib.Path(__file__).resolve().parents[1]
PROJECT: Final = "scim-witness"
VENDORED: Final = "proxy/admin/static/vendor"
_ENTRY: Final = re.compile(r"([A-Za-z0-9._-]+)==(\S+)(?: ; (.+?))? \\\n")
_PLATFORMS: Final = (("linux", "posix", "Linux"), ("darwin", "posix", "Darwin"), ("win32", "nt", "Windows"))
_ENVIRONMENTS: Final = [
    {
        "sys_platform": name,
        "os_name": os_name,
        "platform_system": system,
        "python_full_version": full,
        "python_version": full[:4],
    }
    for name, os_name, system in _PLATFORMS
    for full in ("3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0")
]
"""Where the program may run: what is needed in any of these is part of it."""
_OSI: Final = "License :: OSI Approved :: "
_BY_CLASSIFIER: Final = {
    f"{_OSI}MIT License": "MIT",
    f"{_OSI}Apache Software License": "Apache-2.0",
    f"{_OSI}BSD License": "BSD-3-Clause",
    f"{_OSI}ISC License (ISCL)": "ISC",
    f"{_OSI}Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    f"{_OSI}Python Software Foundation License": "PSF-2.0",
}


class Locked(NamedTuple):
    """A package of the lock file. `marker`: on which platforms, empty for all."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


Needs = dict[str, frozenset[str]]
"""Of each package the names of those that it needs."""


def locked(text: str) -> dict[str, Locked]:
    """Read a lock file as uv writes it: `name==version`, hashes, and comments."""
    found: dict[str, Locked] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        entry = _ENTRY.match(block)
        if entry is not None:
            hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", block)
            found[entry[1]] = Locked(entry[1], entry[2], entry[3] or "", tuple(hashes))
    return found


def needs(requirements: Iterable[str]) -> Needs:
    """What is needed for some requirements, with the extras that each asks for, as the installed packages say. The lock's own
    comments do not tell extras apart: by them whatever a test asks of a package would be the program's."""
    found: dict[str, set[str]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(one) for one in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if (name, frozenset(one.extras)) in seen:
            continue
        seen.add((name, frozenset(one.extras)))
        further = [other for other in _required(name) if _applies(other, one.extras)]
        found.setdefault(name, set()).update(canonicalize_name(other.name) for other in further)
        waiting += further
    return {name: frozenset(others) for name, others in found.items()}


def _required(name: str) -> list[Requirement]:
    try:
        return [Requirement(one) for one in importlib.metadata.requires(name) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []  # for another platform


def _applies(requirement: Requirement, extras: Collection[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({**there, "extra": extra}) for there in _ENVIRONMENTS for extra in ("", *extras))


def licence(name: str) -> Iterator[Any]:
    """The licence that the installed package names: an SPDX expression, else by its classifier, else in its own words."""
    try:
        said = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return
    classified = [_BY_CLASSIFIER[c] for c in said.get_all("Classifier") or () if c in _BY_CLASSIFIER]
    text = said["License-Expression"] or " AND ".join(classified) or said["License"] or ""
    if text and "\n" not in text:
        yield LicenseFactory().make_from_string(text)


def python_component(package: Locked, scope: ComponentScope) -> Component:
    """A package with the hashes of all its distributions: which of them is installed depends on the platform."""
    url = PackageURL("pypi", name=package.name, version=package.version)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in package.hashes]
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        purl=url,
        bom_ref=url.to_string(),
        scope=scope,
        licenses=list(licence(package.name)),
        external_references=[
            ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(url.to_string()), hashes=hashes)
        ],
        properties=[Property(name="scim-witness:marker", value=package.marker)] if package.marker else [],
    )


def browser_component(entry: Mapping[str, Any]) -> Component:
    """A script or style of others that is served from this repository, with each of its files."""
    url = PackageURL("npm", name=entry["package"], version=entry["version"])
    return Component(
        type=ComponentType.LIBRARY,
        name=entry["package"],
        version=entry["version"],
        purl=url,
        bom_ref=url.to_string(),
        scope=ComponentScope.REQUIRED,
        licenses=[LicenseFactory().make_from_string(entry["licence"])],
        external_references=[ExternalReference(type=ExternalReferenceType.VCS, url=XsUri(entry["source"]))],
        components=[
            Component(
                type=ComponentType.FILE,
                name=f"{VENDORED}/{entry['package']}/{name}",
                bom_ref=f"{url.to_string()}#{name}",
                hashes=[HashType(alg=HashAlgorithm.SHA_384, content=_hex(integrity))],
            )
            for name, integrity in sorted(entry["files"].items())
        ],
    )


def _hex(integrity: str) -> str:
    return base64.b64decode(integrity.removeprefix("sha384-")).hex()


def bom(root: pathlib.Path) -> Bom:
    """Make the list for a checkout."""
    lock = (root / "requirements.lock").read_text()
    manifest = (root / VENDORED / "manifest.json").read_text()
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version = re.search(r'__version__.* = "([^"]+)"', (root / "proxy/__init__.py").read_text())
    if version is None:
        raise ValueError("proxy/__init__.py names no version")
    url = PackageURL("pypi", name=PROJECT, version=version[1])
    itself = Component(
        type=ComponentType.APPLICATION,
        name=PROJECT,
        version=version[1],
        purl=url,
        bom_ref=url.to_string(),
        description=project["description"],
        licenses=[LicenseFactory().make_from_string(project["license"])],
    )
    packages = locked(lock)
    extras = [one for requirements in project["optional-dependencies"].values() for one in requirements]
    always, everything = needs(project["dependencies"]), needs([*project["dependencies"], *extras])
    components = {
        name: python_component(packages[name], ComponentScope.REQUIRED if name in always else ComponentScope.OPTIONAL)
        for name in everything
    }
    browser = [browser_component(entry) for entry in json.loads(manifest)]
    found = Bom(components=[*components.values(), *browser], serial_number=uuid.uuid5(uuid.NAMESPACE_URL, lock + manifest))
    found.metadata.component = itself
    found.metadata.timestamp = _now()
    direct = {canonicalize_name(Requirement(one).name) for one in (*project["dependencies"], *extras)}
    found.register_dependency(itself, [*(components[name] for name in direct), *browser])
    for name, others in everything.items():
        found.register_dependency(components[name], [components[other] for other in others])
    return found


def _now() -> dt.datetime:
    """The time of what is built, where the builder says it (reproducible-builds.org), else now."""
    said = os.environ.get("SOURCE_DATE_EPOCH")  # noqa: TID251 - it belongs to the builder, not to the program's settings
    return dt.datetime.fromtimestamp(int(said), dt.UTC) if said else dt.datetime.now(dt.UTC)


def main() -> None:
    """Write the list to the file that is named."""
    target = pathlib.Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    made = bom(ROOT)
    target.write_text(JsonV1Dot6(made).output_as_string(indent=2) + "\n")
    print(f"{target}: {len(made.components)} components")


if __name__ == "__main__":
    main()
