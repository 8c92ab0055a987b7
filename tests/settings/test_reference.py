"""Examples load, and the pages say what the code does."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from proxy.settings import load
from proxy.settings.reference import as_everything, as_markdown, pages

ROOT = Path(__file__).parents[2]
SAMPLES = sorted(path for path in (ROOT / "config").glob("*.toml") if path.name != "tokens.toml")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_sample_loads_without_a_warning(sample):
    assert load(sample, {}).warnings == ()


def test_samples_are_there():
    assert {path.stem for path in SAMPLES} >= {
        "proxy",
        "minimal",
        "doorkeeper-postgres",
        "doorkeeper-mysql",
        "introspection",
        "entra-jwt",
        "token-file",
        "observe-first",
        "forward-auth",
        "everything",
    }


def test_settings_page_is_what_the_code_says():
    assert as_markdown() == (ROOT / "docs/settings.md").read_text(), "run python -m proxy.settings.reference docs"


def test_everything_is_what_the_code_says():
    assert as_everything() == (ROOT / "config/everything.toml").read_text(), "run python -m proxy.settings.reference everything"


def test_every_setting_is_described_and_in_everything():
    text = as_everything()
    for page in pages():
        assert page.about, page.header
        for key, field in page.fields():
            assert field.description, f"{page.header} {key}"
            assert f"\n{key} = " in text or f"\n# {key} = " in text, f"{page.header} {key}"


def test_every_number_has_a_bound():
    for page in pages():
        for key, field in page.fields():
            if field.kind in (int, float):
                assert {field.bounds.ge, field.bounds.gt} != {None}, f"{page.header} {key}"


def test_everything_holds_the_defaults():
    written = load(ROOT / "config/everything.toml", {})
    sparse = load(
        None,
        {"SCIM_WITNESS_UPSTREAM__URL": "http://b", "SCIM_WITNESS_SOURCE__KIND": "token_file", "SCIM_WITNESS_SOURCE__PATH": "t"},
    )
    for name in ("listen", "fresh", "policy", "spool", "evidence", "ops", "log", "metrics", "store", "tenant_route"):
        assert getattr(written, name) == getattr(sparse, name)


def test_keys_that_are_commented_out_are_toml_too():
    text = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and " = " in line and line[2:].split(" = ")[0].isidentifier() else line
        for line in as_everything().splitlines()
    )
    assert tomllib.loads(text)["store"]["url"].startswith("redis://")
