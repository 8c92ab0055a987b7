"""The pages are what the code makes of itself, and none is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.core.diagnosis import Code
from proxy.core.diagnosis.pages import causes_page, reasons_page
from proxy.core.verdict import Reason

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name,made", [("causes.md", causes_page()), ("reasons.md", reasons_page())])
def test_pages_are_up_to_date(name, made):
    assert (DOCS / name).read_text() == made


@pytest.mark.parametrize("code", Code)
def test_every_cause_has_a_section(code):
    assert f"\n## {code}\n" in causes_page()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told(reason):
    assert f"| `{reason}` |" in reasons_page()


def test_check_says_that_they_are_up_to_date():
    done = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
