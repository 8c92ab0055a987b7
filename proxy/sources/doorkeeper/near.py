"""What a presented secret nearly is: what is left when the usual damage is undone. Pure, and only to diagnose.

The damage is what people and products do to a token on its way into a field (facts: causes.md, `token_mangled`).
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from proxy.sources.doorkeeper.rows import storable_text

VARIANTS: Final = 50
"""Candidates for one presented secret: each costs two index probes, so all of them together about a millisecond."""

EDGE: Final = 8
"""Characters that may be missing or too many at either end: more is another secret."""

SHORTEST: Final = 12
"""Characters below which a rest is no token any more, but something that anything may begin with."""

_DEPTH: Final = 3
LENGTH: Final = 1_024
"""Octets of an opaque token, by far; signed tokens are longer."""
_SCHEME: Final = re.compile(rb"\A(bearer|token|basic|oauth2?|apikey|api-key|authorization)(?::[ \t]*|[ \t]+)", re.IGNORECASE)
_QUOTES: Final = (b'"', b"'", b"`", "\u201c".encode(), "\u201d".encode(), "\u2018".encode(), "\u2019".encode(), b"<", b">")
_BLANKS: Final = (
    b" ",
    b"\t",
    b"\r",
    b"\n",
    b"\v",
    b"\f",
    "\u00a0".encode(),
    "\u200b".encode(),
    "\ufeff".encode(),
    b"\xa0",
    b"\0",
)


class Candidate(msgspec.Struct, frozen=True):
    """A plain secret that may have been meant, and what had happened to it (`none`: it was presented as it is)."""

    plain: bytes
    change: str


def candidates(presented: bytes, length: int = LENGTH) -> list[Candidate]:
    """Return what a presented secret may have been, most likely first, at most VARIANTS, without repetition.

    The value may be a whole header field: the one scheme that belongs there counts as no change.
    """
    if len(presented) > length:
        return []
    found: dict[bytes, str] = {}
    body, rest = presented, _without_scheme(presented)
    if rest is not None:
        body = rest
    else:
        found[presented] = "none"
    found.setdefault(body, "none")
    _peel(body, "none", 0, found)
    for plain, change in list(found.items()):
        for other in _cased(plain):
            found.setdefault(other, "case_changed" if change == "none" else change)
    for plain in (body, *(plain for plain in list(found) if plain.strip() == plain)):
        for cut in _cut(plain):
            found.setdefault(cut, "extended")
        if len(found) >= VARIANTS:
            break
    return [Candidate(plain, change) for plain, change in list(found.items())[:VARIANTS] if plain]


def forms(chosen: list[Candidate]) -> Mapping[str, tuple[Candidate, str]]:
    """Return every stored value that a candidate may have: value -> candidate and whether it is stored plain or sha256."""
    found: dict[str, tuple[Candidate, str]] = {}
    for candidate in chosen:
        text = storable_text(candidate.plain)
        if text is not None:
            found.setdefault(text, (candidate, "plain"))
        found.setdefault(hashlib.sha256(candidate.plain).hexdigest(), (candidate, "sha256"))
    return found


def prefix(presented: bytes) -> str | None:
    """Return the text with which a truncated token would begin, None when it is too short to say anything."""
    rest = _without_scheme(presented)
    text = storable_text((presented if rest is None else rest).strip())
    return text if text is not None and SHORTEST <= len(text) <= LENGTH and text.isascii() else None


def relation(presented: str, stored: str) -> str | None:
    """Return in what way a stored token that was found by its ends or spelling was damaged, None when it is another one."""
    if presented == stored:
        return None
    if presented.lower() == stored.lower():
        return "case_changed"
    missing = len(stored) - len(presented)
    if 0 < missing <= EDGE and presented in (stored[missing:], stored[:-missing]):
        return "truncated"
    return None


def _without_scheme(value: bytes) -> bytes | None:
    return value[7:] if value[:7].lower() == b"bearer " else None


def _peel(value: bytes, change: str, depth: int, found: dict[bytes, str]) -> None:
    if depth == _DEPTH:
        return
    for label, rest in _layers(value):
        if rest and rest != value and rest not in found:
            name = label if change == "none" else change
            found[rest] = name
            _peel(rest, name, depth + 1, found)


def _layers(value: bytes) -> Iterator[tuple[str, bytes]]:
    scheme = _SCHEME.match(value)
    if scheme is not None:
        yield "scheme_doubled" if scheme[1].lower() == b"bearer" else "scheme_other", value[scheme.end() :]
    yield "quoted", _without(value, _QUOTES, ends_only=True)
    yield "whitespace", _without(value, _BLANKS, ends_only=False) if scheme is None else value
    if b"%" in value:
        yield "percent_encoded", urllib.parse.unquote_to_bytes(value)


def _without(value: bytes, parts: tuple[bytes, ...], *, ends_only: bool) -> bytes:
    if not ends_only:
        for part in parts:
            value = value.replace(part, b"")
        return value
    trimmed = True
    while trimmed:
        trimmed = False
        for part in parts:
            if value.startswith(part) or value.endswith(part):
                value = value.removeprefix(part).removesuffix(part)
                trimmed = bool(value)
    return value


def _cased(value: bytes) -> tuple[bytes, ...]:
    return tuple(other for other in (value.lower(), value.upper(), value.swapcase()) if other != value)


def _cut(value: bytes) -> Iterator[bytes]:
    for count in range(1, EDGE + 1):
        if len(value) - count >= SHORTEST:
            yield value[:-count]
            yield value[count:]
