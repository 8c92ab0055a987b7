"""The last thing that happens to an event before it is written: what may be a secret is masked.

Code does not log secrets; this is the net below it, for exception texts of libraries and for mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.core.credential import Secret

MASK: Final = "[masked]"
DEPTH_LIMIT: Final = 6
"""Levels of nesting that are looked into: events are flat, so what lies deeper was not meant for a log."""

TEXT_LIMIT: Final = 16_384
"""Characters of one value that are kept: a traceback fits."""

_SENSITIVE: Final = re.compile(
    r"token|authorization|secret|passw|dsn|cookie|credential|api[-_]?key|private[-_]?key|bearer|signature", re.IGNORECASE
)
_HARMLESS: Final = re.compile(r"fingerprint|_file$|_length$|_count$|_limit$", re.IGNORECASE)
_NAME: Final = r"\b((?:access_|refresh_|id_)?token|client_secret|secret|password|code|assertion|authorization)"
_GIVEN: Final = r"(\s*[=:]\s*|['\"]\s*:\s*)(['\"]?)"
_VALUE: Final = r"[^\s&\"',;]+"
_IN_TEXT: Final = (
    # behind a scheme another scheme is no token, and behind a name another name that is given: what follows the last one is
    (re.compile(r"\b((?:(?:bearer|basic|digest)(?:\s+|%20))+)[^\s\"',;]+", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"://[^/\s@\"']*@"), f"://{MASK}@"),
    (re.compile(rf"{_NAME}{_GIVEN}(?!{_NAME}{_GIVEN}{_VALUE}){_VALUE}", re.IGNORECASE), rf"\1\2\3{MASK}"),
)


def redact(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with everything masked that stands under a telling key or looks like a credential."""
    return {_text(str(key)): _value(str(key), value, 0) for key, value in event.items()}


def _value(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Secret):
        return repr(value)
    if _SENSITIVE.search(key) and not _HARMLESS.search(key):
        return MASK
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth >= DEPTH_LIMIT:
        return MASK
    if isinstance(value, Mapping):
        return {_text(str(inner)): _value(str(inner), entry, depth + 1) for inner, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_value(key, entry, depth + 1) for entry in value]
    return _text(str(value) if isinstance(value, BaseException) else repr(value))


def _text(text: str) -> str:
    text = text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + "..."
    for pattern, mask in _IN_TEXT:
        text = pattern.sub(mask, text)
    return text
