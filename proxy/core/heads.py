"""From what a connection has sent to one request head after the other.

Clients send the same fields with every request, but for the credential. So the fields of a head that was found good are
remembered without it, and the next head that has the same octets there is not parsed anew: what depends on its first line and
on its credential is judged each time, by the same grammar.
"""

from __future__ import annotations

from typing import Final

from proxy.core.familiar import Familiar
from proxy.core.grammar import STEADY, Fault, Limits, text_fault
from proxy.core.inbound import (
    REQUEST_LINE,
    BadCredential,
    Inbound,
    is_lost,
    lost_at,
    overlong,
    parse_request,
)

_CREDENTIAL: Final = b"\r\nAuthorization: "
"""As all clients that we know write it. Another spelling is parsed like anything else."""
_NAME: Final = b"Authorization"
_LOWER: Final = b"authorization"
_FAMILIAR: dict[bytes, Familiar] = {}
_FAMILIAR_LIMIT: Final = 1_024
"""Sets of fields remembered: real traffic has dozens. When strangers have filled it, it is emptied and fills with real ones."""
_MEMORABLE: Final = 1_024
"""Octets of fields that are remembered."""
_MEMORABLE_FIELDS: Final = 24
"""Fields that are remembered: each is five objects, so that a hundred short ones need more memory than their octets tell. With
what is made of them all stay below 10 MB."""
_BY_A_FRONT: Final = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"))
"""What a proxy before us adds: the same for each client."""
_KNOWN: Final = STEADY | _BY_A_FRONT
_ADDED_TO: Final = _BY_A_FRONT | {b"via"}
"""Fields of which the backend gets more, or nothing."""


class Heads:
    """What a connection has sent and nobody has understood yet: cuts one request head after the other out of it.

    The result depends on the bytes alone, not on how they arrived. One empty line before a request is skipped (RFC 9112
    section 2.2); a second is a request line that is empty.
    """

    __slots__ = ("_end", "_limits", "_scanned", "_skipped", "held")

    def __init__(self, limits: Limits) -> None:
        self.held = b""
        self._limits = limits
        self._end = -1
        self._scanned = 0
        self._skipped = False

    def ready(self) -> bool:
        """Whether a head is here: whole, too long, or broken already."""
        held = self.held
        if held[:2] == b"\r\n":
            if self._skipped:
                self._end = 0
                return True
            held = self.held = held[2:]
            self._skipped = True
            self._scanned = 0
            if held[:2] == b"\r\n":
                self._end = 0
                return True
        self._end = held.find(b"\r\n\r\n", max(0, self._scanned - 3), self._limits.head + 4)
        if self._end >= 0:
            return True
        if len(held) >= self._limits.head + 4 or (held and is_lost(held, self._scanned, self._limits)):
            return True  # and still is when asked again
        self._scanned = len(held)
        return False

    def take(self) -> Inbound | Fault | BadCredential:
        """Parse the head that is ready and leave what follows it."""
        end, self._end, self._scanned, self._skipped = self._end, -1, 0, False
        if end < 0:
            started = self.held[: self._limits.head + 4]
            lost = lost_at(started, self._limits)
            return parse_request(started[:lost], self._limits) if lost else overlong(started, self._limits.head)
        head = self.held[:end]
        self.held = self.held[end + 4 :]
        return read(head, self._limits)


def read(head: bytes, limits: Limits) -> Inbound | Fault | BadCredential:
    """What `parse_request` says of a head, sooner where its fields are familiar."""
    line = head.find(b"\r\n")
    at = head.find(_CREDENTIAL, line) if line > 0 else -1
    if at < 0:
        return parse_request(head, limits)
    stop = head.find(b"\r\n", at + 2)
    if stop < 0:
        stop = len(head)
    rest = head[line:at] + head[stop:]
    familiar = _FAMILIAR.get(rest)
    if familiar is not None and familiar.size == at - line:
        request = _recognised(head, line, head[at + 2 : stop], familiar, limits)
        if request is not None:
            return request
    parsed = parse_request(head, limits)
    if familiar is None and isinstance(parsed, Inbound) and len(rest) <= _MEMORABLE:
        _remember(rest, at - line, head[:line], parsed)
    return parsed


def _recognised(head: bytes, line: int, credential: bytes, familiar: Familiar, limits: Limits) -> Inbound | None:
    """The request of a head with familiar fields; None when anything else about it is unusual."""
    match = REQUEST_LINE.fullmatch(head, 0, line)
    if match is None:
        return None
    method, target, major, minor = match.groups()
    if method not in limits.methods or major != b"1" or minor != b"1":
        return None
    if len(target) > limits.target or target[:1] != b"/" or familiar.count >= limits.fields or text_fault(credential):
        return None
    value = credential[len(_NAME) + 1 :].strip(b" \t")
    field = (_LOWER, _NAME, value, b"Authorization: %b\r\n" % value)
    return Inbound(
        method,
        target,
        1,
        familiar.host,
        [*familiar.before, field, *familiar.after],
        [value],
        familiar.connection,
        familiar.length,
        familiar.keep_alive,
        expects_continue=False,
        agent=familiar.agent,
        familiar=familiar,
    )


def _remember(rest: bytes, size: int, line: bytes, request: Inbound) -> None:
    """Remember a head's fields where nothing in them is secret, and nothing else depends on the first line."""
    if request.minor != 1 or line[len(request.method) + 1 : len(request.method) + 2] != b"/":
        return  # in an absolute-form the target says the host
    if len(request.fields) > _MEMORABLE_FIELDS:
        return
    places = [place for place, field in enumerate(request.fields) if field[0] == _LOWER]
    others = [field[0] for field in request.fields if field[0] != _LOWER]
    if len(places) != 1 or not _KNOWN.issuperset(others):
        return
    if len(_FAMILIAR) >= _FAMILIAR_LIMIT:
        _FAMILIAR.clear()
    before, after = request.fields[: places[0]], request.fields[places[0] + 1 :]
    _FAMILIAR[rest] = Familiar(
        size,
        before,
        after,
        request.host,
        request.connection,
        request.length,
        request.agent,
        keep_alive=request.keep_alive,
        stands=_ADDED_TO.isdisjoint(others),
    )
