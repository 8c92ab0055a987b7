"""Commands as transcripts: `testdata/*.txt` hold what is typed and exactly what appears.

# why these commands stand together
$ scim-witness COMMAND [< FILE]
a line on stdout; `...` stands for any lines, `<...>` for any text within a line
! a line on stderr
[status 2]
-- name of a file --
its text
"""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

TESTDATA = pathlib.Path(__file__).parent / "testdata"
PLANTED = "planted-token-4fK9Zr2QxLmN7vBt1cYpWsHdGjEa0uI"
"""Stands in some of the inputs; must stand in no output."""


def sections(text):
    """The transcript, and the files below it by name."""
    transcript, *rest = re.split(r"^-- (\S+) --\n", text, flags=re.MULTILINE)
    return transcript, dict(zip(rest[::2], rest[1::2], strict=True))


def steps(transcript):
    """Every command with the lines expected on stdout and stderr, and the status."""
    found = []
    for line in transcript.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], [], [], 0])
        elif match := re.fullmatch(r"\[status (\d+)\]", line):
            found[-1][3] = int(match[1])
        elif line.startswith("!"):
            found[-1][2].append(line[2:])
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return found


def run(command, folder):
    words = shlex.split(command.replace("PLANTED", PLANTED))
    assert words[0] == "scim-witness"
    stdin = ""
    if "<" in words:
        words, stdin = words[: words.index("<")], (folder / words[-1]).read_text()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SCIM_WITNESS_", "COV"))}
    environ = {**kept, "SCIM_WITNESS_PURE": os.environ["SCIM_WITNESS_PURE"]}
    return subprocess.run(
        [sys.executable, "-m", "proxy.cli", *words[1:]],
        cwd=folder,
        env={**environ, "COLUMNS": "80", "PYTHONPATH": os.pathsep.join(sys.path)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def pattern(lines):
    parts = [r"(?:.*\n)*" if line == "..." else re.escape(line).replace(re.escape("<...>"), ".*") + r"\n" for line in lines]
    return re.compile("".join(parts))


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(TESTDATA.glob("*.txt")), ids=lambda file: file.stem)
def test_transcript(file, tmp_path):
    transcript, files = sections(file.read_text())
    for name, text in files.items():
        (tmp_path / name).write_text(text.replace("PLANTED", PLANTED))
    for command, out, err, status in steps(transcript):
        done = run(command, tmp_path)
        shown = f"$ {command}\n{done.stdout}\n--- stderr\n{done.stderr}"
        assert PLANTED not in shown.replace(command, "")
        assert "Traceback" not in done.stderr
        assert status == done.returncode, shown
        assert pattern(out).fullmatch("\n".join(line for line in done.stdout.splitlines() if line) + "\n" * bool(out)), shown
        assert pattern(err).fullmatch("\n".join(line for line in done.stderr.splitlines() if line) + "\n" * bool(err)), shown
