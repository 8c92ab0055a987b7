"""Where a body ends: decoders that take whatever bytes arrive and give body octets (RFC 9112 sections 6 and 7). No I/O.

Framing bytes are consumed here and never passed on; whoever writes a body writes its own framing.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from proxy.core.grammar import parse_fields

SIZE_LINE_LIMIT: Final = 1_024
"""Octets of a chunk-size line with its extensions: nobody uses extensions, RFC 9112 section 7.1.1 asks for a bound."""
TRAILER_LIMIT: Final = 8_192
"""Octets of a trailer section; it is read and dropped (RFC 9110 section 6.5.1)."""

_WORD: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;%b(?:=(?:%b|\"[ !#-\[\]-~]*\"))?)*" % (_WORD, _WORD))
"""RFC 9112 section 7.1, without its optional white space, quoted pairs and obs-text: parsers differ on these."""
_SIZE_OF_BACKEND: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t -~\x80-\xff]*)?")
"""What is taken from a backend: some pad their sizes with spaces. Nothing of it is passed on."""
_SIZE_BEGUN: Final = re.compile(rb"[0-9A-Fa-f]{1,15}[ \t]*(?:;[\t -~\x80-\xff]*)?\r?")
_FORBIDDEN_TRAILERS: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"host", b"trailer", b"te", b"connection", b"authorization", b"cookie",
     b"content-type", b"content-encoding", b"content-range", b"expect", b"upgrade", b"forwarded", b"proxy-authorization")
)  # fmt: skip
"""RFC 9110 section 6.5.1: fields for framing, routing, authentication and request modifiers do not belong in trailers."""


class FramingError(Exception):
    """A body that breaks its framing. The message is a word for the log, never bytes of the body."""


class Decoder(Protocol):
    """Turns what arrives into body octets. `done` once the body is whole; `left` then holds what came after it."""

    done: bool
    left: bytes

    def feed(self, data: bytes) -> bytes:
        """Take bytes as they arrived, give the body octets among them. Raises FramingError."""


class Length:
    """A body of a known number of octets."""

    __slots__ = ("done", "left", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.done = length == 0
        self.left = b""

    def feed(self, data: bytes) -> bytes:
        """See Decoder."""
        size = len(data)
        if size > self.remaining:
            self.left = data[self.remaining :]
            data = data[: self.remaining]
            self.remaining = 0
        else:
            self.remaining -= size
        self.done = self.remaining == 0
        return data


class UntilClose:
    """A response body that ends with its connection (RFC 9112 section 6.3 rule 8)."""

    __slots__ = ("done", "left")

    def __init__(self) -> None:
        self.done = False
        self.left = b""

    def feed(self, data: bytes) -> bytes:
        """See Decoder."""
        return data


class Chunked:
    """The chunked coding. Sizes are 1 to 15 hexadecimal digits and nothing else; line ends are CR LF and nothing else.

    `lenient` is for a backend's answer: padded sizes pass, and so do trailers of any name, as all of them are dropped.
    """

    __slots__ = ("_held", "_in_trailer", "_lenient", "_remaining", "_trailer_size", "done", "left")

    def __init__(self, *, lenient: bool = False) -> None:
        self._held = b""
        self._lenient = lenient
        self._remaining = -1
        self._in_trailer = False
        self._trailer_size = 0
        self.done = False
        self.left = b""

    def feed(self, data: bytes) -> bytes:
        """See Decoder. `_remaining`: octets of the chunk still to come, 0 when its CR LF is due, -1 when a size line is due."""
        if self._held:
            data = self._held + data
            self._held = b""
        out: list[bytes] = []
        at = 0
        end = len(data)
        while at < end and not self.done:
            if self._remaining > 0:
                piece = data[at : at + self._remaining]
                out.append(piece)
                at += len(piece)
                self._remaining -= len(piece)
            elif self._remaining == 0:
                if end - at < 2:
                    if data[at:end] != b"\r":
                        raise FramingError("chunk_end")
                    break
                if data[at : at + 2] != b"\r\n":
                    raise FramingError("chunk_end")
                at += 2
                self._remaining = -1
            else:
                following = self._line(data, at)
                if following < 0:
                    break
                at = following
        if self.done:
            self.left = data[at:]
        else:
            self._held = data[at:]
        return out[0] if len(out) == 1 else b"".join(out)

    def _line(self, data: bytes, at: int) -> int:
        """Read one size line or trailer line at `at`. Returns where the next begins, -1 when it has not ended yet."""
        stop = data.find(b"\n", at)
        limit = TRAILER_LIMIT if self._in_trailer else SIZE_LINE_LIMIT
        if (len(data) if stop < 0 else stop) - at > limit:
            raise FramingError("trailer_too_long" if self._in_trailer else "chunk_size_too_long")
        if stop < 0:
            self._check_start(data[at:])
            return -1
        line = data[at : stop + 1]
        if line[-2:] != b"\r\n":
            raise FramingError("bare_cr_or_lf")
        line = line[:-2]
        if self._in_trailer:
            self._trailer(line)
        else:
            self._size(line)
        return stop + 1

    def _check_start(self, begun: bytes) -> None:
        """Refuse at once what can no longer become a size line, so that a bad body does not wait for a deadline."""
        if begun and not self._in_trailer and _SIZE_BEGUN.fullmatch(begun) is None:
            raise FramingError("chunk_size")

    def _size(self, line: bytes) -> None:
        match = (_SIZE_OF_BACKEND if self._lenient else _SIZE).fullmatch(line)
        if match is None:
            raise FramingError("chunk_size")
        size = int(match[1], 16)
        if size:
            self._remaining = size
        else:
            self._in_trailer = True

    def _trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer_size += len(line) + 2
        if self._trailer_size > TRAILER_LIMIT:
            raise FramingError("trailer_too_long")
        fields = parse_fields([line])
        if isinstance(fields, str):
            raise FramingError(f"trailer_{fields}")
        name = fields[0][0].replace(b"_", b"-")
        if self._lenient:
            return
        if name in _FORBIDDEN_TRAILERS or name.startswith(b"x-"):
            raise FramingError("trailer_forbidden")


LAST_CHUNK: Final = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Frame octets as one chunk. `data` must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
