"""What is remembered of the fields that a client sends with each request: all of them but the credential."""

from __future__ import annotations

from proxy.core.grammar import Fields


class Familiar:
    """Fields that were parsed and found good, `before` and `after` the credential, and what follows from them.

    `size`: octets before the credential; `count`: fields without it. `length` and the others are as in Inbound. `sized`: a
    Content-Length is among them. `stands`: they go on as they are, or not at all, whoever sends them. `written` is then what
    proxy/core/headers.py makes of them for the backend, `written_for` for whom.
    """

    __slots__ = (
        "after", "agent", "before", "connection", "count", "host", "keep_alive", "length", "size", "sized", "stands",
        "written", "written_for",
    )  # fmt: skip

    def __init__(
        self,
        size: int,
        before: Fields,
        after: Fields,
        host: bytes,
        connection: list[bytes],
        length: int | None,
        agent: bytes,
        *,
        keep_alive: bool,
        stands: bool,
    ) -> None:
        self.size = size
        self.before = before
        self.after = after
        self.count = len(before) + len(after)
        self.host = host
        self.connection = connection
        self.length = length
        self.agent = agent
        self.keep_alive = keep_alive
        self.stands = stands
        self.sized = any(field[0] == b"content-length" for field in (*before, *after))
        self.written: tuple[bytes, bytes, bytes] = (b"", b"", b"")
        self.written_for: tuple[object, bytes, bytes] = (None, b"", b"")
