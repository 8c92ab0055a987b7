"""docs/cli.md knows every command, every option and every exit status; README names no command that there is not."""

from __future__ import annotations

import pathlib
import re
import shlex

import pytest
import typer
from typer.core import TyperGroup

from proxy.cli import COMMANDS, app
from proxy.cli.screen import Status

ROOT = pathlib.Path(__file__).parents[2]
DOCS = (ROOT / "docs/cli.md").read_text()
EVERYWHERE = {"--help", "--config", "--json", "--install-completion", "--show-completion"}


def commands():
    """Every command with its full name."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name in COMMANDS:
        command = group.commands[name]
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {sub}", one) for sub, one in inner.items())


@pytest.mark.parametrize("name, command", list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_has_a_section_with_its_options(name, command):
    section = re.search(rf"^### `{name}[ `].*?(?=^##|\Z)", DOCS, re.MULTILINE | re.DOTALL)
    assert section is not None
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert set() == {option for option in options - EVERYWHERE if option not in section[0]}


@pytest.mark.parametrize("status", list(Status))
def test_every_exit_status_is_told(status):
    assert f"| {int(status)} |" in DOCS


def test_every_section_is_a_command():
    there = {name for name, _ in commands()}
    assert set(re.findall(r"^### `([a-z-]+(?: [a-z]+)?)", DOCS, re.MULTILINE)) == there


def test_readme_names_only_commands_that_there_are():
    there = {name.split()[0] for name, _ in commands()}
    named = set(re.findall(r"scim-witness ([a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    assert named <= there


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]


def typed(page):
    """Every command line of a page's code blocks, as words: without comments, redirections and what a pipe leads to."""
    for line in re.findall(r"^(?: {4})?(?:\$ )?(?:\.venv/bin/)?scim-witness ([a-z].+)$", page.read_text(), re.MULTILINE):
        words = shlex.split(line, comments=True)
        end = next((place for place, word in enumerate(words) if word in {"<", ">", "|", "2>&1", ";", "&&"}), len(words))
        yield line, words[:end]


@pytest.mark.parametrize("page", [page for page in PAGES if any(typed(page))], ids=lambda page: str(page.relative_to(ROOT)))
def test_what_pages_tell_to_type_is_understood(page):
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for line, words in typed(page):
        context = group.make_context("scim-witness", list(words[:1]), resilient_parsing=True)
        name, command, rest = group.resolve_command(context, words)
        while isinstance(command, TyperGroup):
            name, command, rest = command.resolve_command(context, rest)
        command.make_context(name, rest, parent=context)  # a click error names what is not understood
        assert line


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "docs/cli.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
