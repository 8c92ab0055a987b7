"""What others wrote is what was looked at when it was taken in."""

from __future__ import annotations

import hashlib
import pathlib

FOLDER = pathlib.Path(__file__).with_name("vendor")


def test_axe_is_the_file_that_its_note_names():
    digest = hashlib.sha256((FOLDER / "axe.min.js").read_bytes()).hexdigest()
    assert f"sha256 {digest}\n" in (FOLDER / "README.md").read_text()
