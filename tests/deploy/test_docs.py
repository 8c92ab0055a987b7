"""Links between the pages hold, and the commands that pages name exist."""

from __future__ import annotations

import pathlib
import re
from typing import Final

import pytest

from tests.deploy.running import ROOT
from tests.deploy.test_prometheus import anchors

PAGES: Final = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "SECURITY.md", *(ROOT / "deploy").rglob("*.md")])
COMMANDS: Final = {path.stem.replace("_", "-") for path in (ROOT / "proxy" / "cli").glob("*.py")}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]*(?:#[^)\s]+)?)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(str(there.relative_to(ROOT))), target


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert set() == {page for page in pages if f"({page})" not in index}


@pytest.mark.parametrize("folder", ["runbooks", "how-to", "."])
def test_commands_in_pages_exist(folder: str) -> None:
    for page in (ROOT / "docs" / folder).glob("*.md"):
        for command in re.findall(r"^ {4}scim-witness ([a-z-]+)", page.read_text(), re.MULTILINE):
            assert command in COMMANDS, f"{page.name}: {command}"
