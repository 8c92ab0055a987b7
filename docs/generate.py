# ruff: noqa: INP001 - a script, no package
"""Write the pages that are made from the code: `python docs/generate.py`, or `--check` to see whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from proxy.core.diagnosis.pages import causes_page, reasons_page

DOCS = Path(__file__).parent
PAGES = {"causes.md": causes_page, "reasons.md": reasons_page}


def outdated() -> list[str]:
    """Return the names of pages that differ from what the code makes."""
    return [name for name, make in PAGES.items() if not (DOCS / name).is_file() or (DOCS / name).read_text() != make()]


def main(arguments: list[str]) -> int:
    """Write the pages; with `--check` only tell which are outdated (exit status 1)."""
    names = outdated()
    if arguments == ["--check"]:
        for name in names:
            sys.stderr.write(f"docs/{name} is outdated: run python docs/generate.py\n")
        return 1 if names else 0
    for name in names:
        (DOCS / name).write_text(PAGES[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
