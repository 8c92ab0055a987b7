"""Tokens listed by digest in a file, picked up again when its content changes.

A new file that is broken is reported and changes nothing: the last good one stays in force. At start there is no last good
one, so a broken or missing file is an error then. A file that is being written at that moment is left until it has come to
rest: the first half of a list is a list, too, and would refuse everybody in the second.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.token import Known, NearMiss, Reading, Sibling, Surroundings, TokenState, Unknown
from proxy.sources.doorkeeper.near import candidates
from proxy.sources.doorkeeper.rows import MARK_HEX_DIGITS
from proxy.sources.token_file_format import SIZE_LIMIT, Content, Hash, TokenFileError, parse

POLL_EVERY: Final = 0.5
"""Seconds between looks at the file: with the refresh of tokens in use a change is in force within 2 s."""

AT_REST: Final = 0.2
"""Seconds for which a changed content must stay as it is before it counts: whoever writes in place needs less."""

READ_ANYWAY: Final = 20
"""Looks after which the content is compared although size and times did not change: they can be set."""

SIBLINGS: Final = 8

Report = Callable[[tuple[str, ...]], None]


class TokenFile:
    """A TokenSource over one file. Raises TokenFileError at start only; later faults go to `report`."""

    def __init__(
        self,
        path: Path,
        *,
        name: str = "token_file",
        fingerprinter: Fingerprinter,
        key: bytes | None = None,
        report: Report,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self._path = path
        self._key = key
        self._fingerprint = fingerprinter.of
        self._report = report
        self._wall = wall
        self._sleep = sleep
        self._polls = 0
        self._told: tuple[str, ...] = ()
        self._seen = _stamp(path)
        raw = _bytes_of(path)
        self._content_hash = hashlib.sha256(raw).digest()
        self._use(self._parse(raw))

    def __len__(self) -> int:
        return len(self._content.tokens)

    async def read(self, secret: Secret) -> Reading:
        """Look the token up in the file as last read."""
        return self._reading(self._content.tokens.get(self._digest(secret.reveal()), Unknown()))

    async def second_look(self, secret: Secret) -> Reading:
        """The same: a file has no replica."""
        return await self.read(secret)

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Rows by name. One whose digest was replaced is left out, one that is gone is Unknown."""
        found = {}
        for row in known:
            now = self._by_name.get(row.row)
            if now is None or now.stored_mark == row.stored_mark:
                found[row.row] = self._reading(now if now is not None else Unknown())
        return found

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """Siblings by application and owner; near misses by undoing the usual damage."""
        row = state if isinstance(state, Known) else None
        siblings = tuple(self._siblings(row)) if row is not None else ()
        near = tuple(self._near(secret)) if row is None or row.row not in self._by_name else ()
        same = [other for other in self._by_name.values() if _same_instant(row, other)] if row is not None else []
        flags = tuple(self._replaced(row)) if row is not None else ()
        return Surroundings(self._wall(), self.name, siblings, near, len(same), flags)

    async def run(self) -> None:
        """Look at the file again and again: for Tasks.keep."""
        while True:
            await self._sleep(POLL_EVERY)
            await self.poll()

    async def poll(self) -> None:
        """Read the file if it changed. Faults are reported once, and leave in force what is."""
        self._polls += 1
        try:
            stamp = await asyncio.to_thread(_stamp, self._path)
            if stamp == self._seen and self._polls % READ_ANYWAY:
                return
            raw = await asyncio.to_thread(_bytes_of, self._path)
            content_hash = hashlib.sha256(raw).digest()
            if content_hash != self._content_hash:
                content = self._parse(raw)
                self._require_a_list(content)
                if not await self._rests(raw):
                    return
                self._use(content)
                self._content_hash = content_hash
            self._seen, self._told = stamp, ()
        except TokenFileError as error:
            if error.faults != self._told:
                self._told = error.faults
                self._report(error.faults)

    def _require_a_list(self, content: Content) -> None:
        """A disk that is full leaves a file of no bytes, which is TOML."""
        if self._content.tokens and not content.listed:
            raise TokenFileError((f"{self._path}: holds no list any more: write token = [] if nobody is to be let in",))

    async def _rests(self, raw: bytes) -> bool:
        """Whether the file still holds this a moment later. TokenFileError when it cannot be read then."""
        await self._sleep(AT_REST)
        return await asyncio.to_thread(_bytes_of, self._path) == raw

    def _parse(self, raw: bytes) -> Content:
        return parse(raw, str(self._path), self._mark, keyed=self._key is not None)

    def _mark(self, digest: bytes) -> str:
        return self._fingerprint(digest)[:MARK_HEX_DIGITS]

    def _use(self, content: Content) -> None:
        self._content = content
        self._by_name: dict[int | str, Known] = {row.row: row for row in content.tokens.values()}

    def _digest(self, raw: bytes) -> bytes:
        if self._content.hash is Hash.HMAC_SHA256 and self._key is not None:
            return hmac.digest(self._key, raw, "sha256")
        return hashlib.sha256(raw).digest()

    def _reading(self, state: Known | Unknown) -> Reading:
        return Reading(state, self.name, "file", self._wall())

    def _replaced(self, row: Known) -> Iterator[str]:
        """The flags for another digest of the same tenant under its name, and for one that was made in another way."""
        now = self._by_name.get(row.row)
        if now is not None and now.tenant == row.tenant and now.stored_mark != row.stored_mark:
            yield "secret_replaced"
            if now.stored != row.stored:
                yield "stored_otherwise"

    def _siblings(self, row: Known) -> list[Sibling]:
        same = [
            other
            for other in self._by_name.values()
            if other.row != row.row
            and (other.tenant, other.application, other.owner) == (row.tenant, row.application, row.owner)
        ]
        same.sort(key=lambda other: other.created_at, reverse=True)
        newer = [other for other in same if other.created_at > row.created_at][:SIBLINGS]
        older = [other for other in same if other.created_at <= row.created_at][:SIBLINGS]
        return [_sibling("newer", other) for other in newer] + [_sibling("older", other) for other in older]

    def _near(self, secret: Secret) -> list[NearMiss]:
        found = []
        for candidate in candidates(secret.reveal()):
            row = self._content.tokens.get(self._digest(candidate.plain))
            if row is not None:
                found.append(NearMiss(candidate.change, "token", self._fingerprint(candidate.plain), row.row, row.tenant))
        return found


def _sibling(relation: str, row: Known) -> Sibling:
    return Sibling(relation, row.row, row.created_at, row.revoked_at, row.expires_in, row.tenant, row.application, row.owner)


def _same_instant(row: Known | None, other: Known) -> bool:
    if row is None or row.revoked_at is None or other.revoked_at is None or other.row == row.row:
        return False
    return int(row.revoked_at * 1000) == int(other.revoked_at * 1000)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _bytes_of(path: Path) -> bytes:
    try:
        # without O_NONBLOCK a pipe in the file's place would hold us up for ever
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - by descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise TokenFileError((f"{path}: is no regular file",))
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise TokenFileError((f"{path}: cannot be read: {error.strerror}",)) from None
    if len(raw) > SIZE_LIMIT:
        raise TokenFileError((f"{path}: is larger than {SIZE_LIMIT >> 20} MiB",))
    return raw
