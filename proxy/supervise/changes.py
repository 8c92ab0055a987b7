"""Sees that a file of the settings has changed, and takes the settings anew: in whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog

from proxy.settings import Settings, SettingsFault, load
from proxy.supervise.serving_ports import Served
from proxy.wire import StartFault

RETRY_SECONDS: Final = 60.0
"""Between attempts at settings that were refused: a source that did not answer may do so now."""

Stamp = tuple[tuple[int, int, int] | None, ...]

_log = structlog.get_logger("supervise")


def stamp(files: Iterable[Path]) -> Stamp:
    """Time, size and number of every file; None for one that is not there."""

    def one(path: Path) -> tuple[int, int, int] | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    return tuple(one(path) for path in files)


class Changes:
    """Tells of a change once, and only when the files have been still from one look to the next: nobody writes any more."""

    def __init__(self, settings: Settings) -> None:
        self.took(settings)

    def took(self, settings: Settings) -> None:
        """These settings were read just now."""
        self._files = settings.files
        self._taken = self._last = stamp(self._files)

    def look(self) -> bool:
        """Whether the files are to be read again. Blocking: use a thread."""
        now = stamp(self._files)
        settled, self._last = now == self._last, now
        if now == self._taken or not settled:
            return False
        self._taken = now
        return True


async def reload(served: Served, path: Path | None, environ: Mapping[str, str]) -> bool:
    """Read the settings and put them in force. Else nothing changes, and it is said why."""
    try:
        settings = await asyncio.to_thread(load, path, environ)
        await served.prepare(settings)
    except SettingsFault as fault:
        return _refused(served, _first_of(fault))
    except StartFault as fault:
        return _refused(served, str(fault))
    except Exception as error:  # noqa: BLE001 - whatever it is, the settings in force stay so
        return _refused(served, f"could not be taken: {type(error).__name__}")
    await served.commit()
    _log.info("settings_applied")
    return True


def _refused(served: Served, why: str) -> bool:
    served.reloads.refuse(why)
    _log.error("settings_refused", why=why, detail="the settings before stay in force")
    return False


def _first_of(fault: SettingsFault) -> str:
    more = len(fault.faults) - 1
    return str(fault.faults[0]) + (f" (and {more} more: scim-witness check-config names them all)" if more else "")
