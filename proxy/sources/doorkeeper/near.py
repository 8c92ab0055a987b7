"""What a presented secret nearly is: what is left when the usual damage is undone. Pure, and only to diagnose.

The damage is what people and products do to a token on its way into a field (facts: causes.md, `token_mangled`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from proxy.sources.doorkeeper.rows import storable_text

VARIANTS: Final = 60
"""Candidates for one presented secret: each costs two index probes, so all of them together about a millisecond."""

PIECES: Final = 4
"""Parts of what was presented that may be a token of their own: user and password, a JSON member, the token twice."""

EDGE: Final = 8
"""Characters that may be missing or too many at either end, whatever is left; otherwise half of the token has to be there, or
no other one hold the rest."""

SHORTEST: Final = 12
"""Characters below which a rest is no token any more, but something that anything may begin with."""

URL_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
"""Characters of Doorkeeper's own tokens (lib/doorkeeper/oauth/helpers/unique_token.rb: urlsafe_base64)."""

DEFAULT_LENGTH: Final = 43
"""Characters of Doorkeeper's own tokens: what is pasted together with one, without anything between, leaves it at an end."""

_ELLIPSIS: Final = b"..."
"""How a page shows that it does not show all of a token: its characters may all be a token's."""
_HEX: Final = b"0123456789abcdef"
_DIGESTS: Final = (32, 40, 56, 64, 96, 128)
"""Hexadecimal digits of MD5, SHA-1 and the widths of SHA-2."""
_DEPTH: Final = 3
LENGTH: Final = 1_024
"""Octets of an opaque token, by far; signed tokens are longer."""
_SCHEME: Final = re.compile(rb"\A(bearer|token|basic|oauth2?|apikey|api-key|authorization)(?::[ \t]*|[ \t]+)", re.IGNORECASE)
_QUOTES: Final = (
    b'"',
    b"'",
    b"`",
    "\u201c".encode(),
    "\u201d".encode(),
    "\u2018".encode(),
    "\u2019".encode(),
    b"<",
    b">",
    b"\\",
)
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


_RUNS: Final = (re.compile(rb"[A-Za-z0-9_-]{12,}"), re.compile(rb"[A-Za-z0-9._~+/-]{12,}=*"))
"""What a token is made of: Doorkeeper's own, and any (RFC 6750 section 2.1); of SHORTEST characters at least."""
_BASE64: Final = re.compile(rb"\A[A-Za-z0-9+/_-]{16,}={0,2}\Z")
_ESCAPED: Final = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|([^u]))")
"""A character as JSON may write it."""
_TO_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_TO_STANDARD: Final = bytes.maketrans(b"-_", b"+/")


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
        for piece in _pieces(plain):
            found.setdefault(piece, "extended" if change == "none" else change)
    for plain, change in list(found.items()):
        for label, other in _respelled(plain):
            found.setdefault(other, label if change == "none" else change)
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


def digests(chosen: list[Candidate]) -> Mapping[str, tuple[Candidate, str]]:
    """Return the digests under which candidates may be stored, and nothing else."""
    return {hashlib.sha256(candidate.plain).hexdigest(): (candidate, "sha256") for candidate in chosen}


def completions(presented: bytes) -> list[Candidate]:
    """Return what a token may have been that lost its first or its last character. Among digests no other cut can be found:
    64 letters at two ends are 128 more index probes, two at one end would be 8,192."""
    rest = _without_scheme(presented)
    bare = presented if rest is None else rest
    if not SHORTEST <= len(bare) <= LENGTH or bare.translate(None, URL_SAFE):
        return []
    letters = [bytes((letter,)) for letter in URL_SAFE]
    return [Candidate(whole, "truncated") for letter in letters for whole in (bare + letter, letter + bare)]


def one_case(presented: bytes) -> bool:
    """Whether it is long and all its letters are of one case, which chance gives no token of Doorkeeper's. Digests do that too,
    so something that consists of hexadecimal digits only does not count."""
    rest = _without_scheme(presented)
    bare = presented if rest is None else rest
    hexadecimal = not bare.lower().translate(None, b"0123456789abcdef")
    return (
        len(bare) >= 2 * SHORTEST and bare in (bare.lower(), bare.upper()) and bare.lower() != bare.upper() and not hexadecimal
    )


def other_make(stored: str, presented: bytes, form: str) -> bool:
    """Whether what a row holds now is no token like the one presented, which it held before in that `form` (Known.stored), but
    a digest or cipher text: then the way of storing was changed, and nobody was given another token."""
    hexadecimal = not stored.encode().lower().translate(None, _HEX)
    if form != "plain":
        return not hexadecimal or len(stored) != hashlib.sha256().digest_size * 2
    if hexadecimal:
        return len(stored) in _DIGESTS and (len(presented) != len(stored) or bool(presented.lower().translate(None, _HEX)))
    return _RUNS[1].fullmatch(stored.encode()) is None and _RUNS[1].fullmatch(presented) is not None


def prefix(presented: bytes) -> str | None:
    """Return the text with which a truncated token would begin, None when it is too short to say anything. Within quotes, or
    after a second scheme, it is the longest run of a token's characters; of one that a page shows shortened, its beginning."""
    rest = _without_scheme(presented)
    bare = (presented if rest is None else rest).strip()
    bare = bare.partition(_ELLIPSIS)[0] if _ELLIPSIS in bare else bare
    if len(bare) <= LENGTH and _RUNS[1].fullmatch(bare) is None:
        bare = next(iter(_pieces(bare)), bare)
    text = storable_text(bare)
    return text if text is not None and SHORTEST <= len(text) <= LENGTH and text.isascii() else None


def relation(presented: str, stored: str, *, alone: bool = False) -> str | None:
    """Return in what way a stored token that was found by its ends or spelling was damaged, None when it is another one.
    `alone`: no other stored secret holds what was presented, so that any part of it will do."""
    if presented == stored:
        return None
    if presented.lower() == stored.lower():
        return "case_changed"
    start = stored.find(presented)
    if start < 0:
        return None
    little = max(start, len(stored) - len(presented) - start) <= EDGE
    return "truncated" if little or alone or len(presented) >= len(stored) // 2 else None


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
    if b"\\" in value:
        yield "quoted", _ESCAPED.sub(lambda found: bytes((int(found[1], 16),)) if found[1] else found[2], value)
    if b"&" in value:
        yield "quoted", html.unescape(value.decode("utf-8", "replace")).encode()
    half = len(value) // 2
    if value[:half] == value[half:]:
        yield "extended", value[:half]
    yield "base64_encoded", _decoded(value)


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


def _decoded(value: bytes) -> bytes:
    """What Base64 holds, if that is text; empty otherwise."""
    if not _BASE64.match(value):
        return b""
    try:
        text = base64.b64decode(value.rstrip(b"=").translate(_TO_STANDARD) + b"=" * (-len(value.rstrip(b"=")) % 4))
    except binascii.Error:
        return b""
    return text if len(text) >= SHORTEST and text.isascii() and text.decode("ascii").isprintable() else b""


def _pieces(value: bytes) -> list[bytes]:
    """The longest runs of a token's characters within something else."""
    found = dict.fromkeys(run for runs in _RUNS for run in runs.findall(value) if run != value)
    whole = () if len(value) <= DEFAULT_LENGTH + EDGE or found else (value[:DEFAULT_LENGTH], value[-DEFAULT_LENGTH:])
    return [*whole, *sorted(found, key=len, reverse=True)][:PIECES]


def _respelled(value: bytes) -> Iterator[tuple[str, bytes]]:
    for other in (value.lower(), value.upper(), value.swapcase()):
        yield "case_changed", other
    for table in (_TO_URL_SAFE, _TO_STANDARD):
        yield "alphabet_changed", value.translate(table)


def _cut(value: bytes) -> Iterator[bytes]:
    for count in range(1, EDGE + 1):
        if len(value) - count >= SHORTEST:
            yield value[:-count]
            yield value[count:]
