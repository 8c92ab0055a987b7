"""Configuration enters once, here: a TOML file and the environment become one frozen `Settings`.

All faults are reported at once, each with file, line, key and fix. Secrets do not print. No default opens the door.
`section` and `shape` with `server`, `tokens`, `witness` say what there is; `raw` and `toml_lines` read; `field` and `making`
make sections of it; `wording` and `crosscheck` tell the faults; `load` does it all; `reference` writes the documentation from
the same descriptions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from proxy.settings.faults import Fault, SettingsFault
from proxy.settings.load import changed, load, revive
from proxy.settings.shape import Settings

__all__ = ["Fault", "Settings", "SettingsFault", "changed", "environment", "load", "revive"]


def environment() -> Mapping[str, str]:
    """Return the process's environment: the one place where it is read."""
    return os.environ  # noqa: TID251 - the one place that reads the environment
