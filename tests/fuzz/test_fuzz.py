"""Every target under libFuzzer (atheris) in a process of its own, each for its share of the time: `make fuzz SECONDS=600`."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.table import TARGETS
from tests.servers.process import missing

SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
START = 60.0
"""Seconds for a process to begin, instrument and end, on a busy machine."""

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(SECONDS + 2 * START)]


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    if importlib.util.find_spec("atheris") is None:
        missing("atheris has no wheel for this platform or Python")
    share = SECONDS / len(TARGETS)
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", name, "--seconds", str(share)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}, timeout=share + START, check=False
    )
    assert 0 == done.returncode, done.stderr[-6_000:]
    counts = re.search(r"(\d+) inputs, (\d+) accepted", done.stdout)
    assert counts is not None, done.stderr[-2_000:]
    with capsys.disabled():
        print(f"\n  {done.stdout.strip()}", end="")
    assert int(counts[1]) > len(TARGETS[name].seeds), "it did not get past its seeds"
    assert int(counts[2]) > 0, "nothing was accepted: it never got past the first refusal"
