"""The state directory and the key under which tokens have their names."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from proxy.core.credential import Fingerprinter
from proxy.settings import Settings

KEY_FILE: Final = "fingerprint.key"
KEY_BYTES: Final = 32


class StartFault(Exception):  # noqa: N818 - the reason why the program does not start, said in one line
    """The program cannot start. The message names the setting at fault and what to do."""


def prepare(settings: Settings) -> Path:
    """Make the state directory, private to its owner. Raises StartFault."""
    path = settings.state_dir.resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise StartFault(f"state_dir {path}: {error.strerror}. Give a folder that this user may write.") from None
    return path


def fingerprinter(settings: Settings, state: Path) -> Fingerprinter:
    """Return the fingerprinter under the configured key, else under the one in the state directory, made at the first start."""
    key = settings.fingerprint_key
    before = settings.fingerprint_previous.get_secret_value() if settings.fingerprint_previous is not None else ""
    former = [line.strip().encode() for line in before.splitlines()]
    return Fingerprinter(key.get_secret_value().encode() if key is not None else _own_key(state / KEY_FILE), former)


def require_successor(after: Fingerprinter, before: Fingerprinter) -> None:
    """Raise StartFault when a change of keys would lose what is remembered."""
    if not after.succeeds(before):
        raise StartFault(
            "fingerprint_key is another one, and fingerprint_previous does not hold the one before: no token would be known "
            "again. Add it there."
        )


def _own_key(path: Path) -> bytes:
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return _read_key(path)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode())
        return _read_key(path)
    except OSError as error:
        raise StartFault(f"fingerprint key {path}: {error.strerror}. Make it readable, or set fingerprint_key_file.") from None


def _read_key(path: Path) -> bytes:
    key = path.read_bytes().strip()
    if len(key) < 16:
        raise StartFault(f"fingerprint key {path}: too short. Restore it from a backup, or remove it to name tokens anew.")
    return key
