"""Which of two values under one name is the newer, when evidence moves from one store to another. Pure.

`wins(key)` is the rule for the key's fields: True when the value that comes should stand in the place of the one that is there.
What cannot be read never takes a place, and what is written once (the log of a chain) is never replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from proxy.core.absence import LastRequest
from proxy.evidence import queries, records
from proxy.evidence.activity import unpack
from proxy.evidence.history import read_part
from proxy.evidence.silence import read_mark

Wins = Callable[[bytes, bytes], bool]
"""Gets what comes and what is there."""

_last: Final = msgspec.json.Decoder(LastRequest).decode
_span: Final = msgspec.json.Decoder(tuple[float, int, int, bool, str]).decode


def wins(key: str) -> Wins:
    """The rule for what stands under a key."""
    return next((rule for pattern, rule in _RULES if pattern.fullmatch(key)), _never)


def _never(coming: bytes, there: bytes) -> bool:
    del coming, there
    return False


def _note(coming: bytes, there: bytes) -> bool:
    """A note that was written anew has a higher number in the same chain; of two chains the later note counts."""
    new, old = queries.read_stored_note(coming), queries.read_stored_note(there)
    return new.sequence > old.sequence if new.chain == old.chain else new.note.at > old.note.at


def _history(coming: bytes, there: bytes) -> bool:
    """Both are one instance's own memory of a token: the one that goes on for longer."""
    return _moment(coming) > _moment(there)


def _moment(value: bytes) -> tuple[float, float, float]:
    part = read_part(value)
    if part is None:
        raise records.RecordError("no history")
    read_at = part.last_reading.read_at if part.last_reading is not None else 0.0
    return part.last_seen or 0.0, max((change.seen_after for change in part.changes), default=0.0), read_at


def _activity(coming: bytes, there: bytes) -> bool:
    """Counters of one process in one hour, which only grow."""
    return _requests(coming) > _requests(there)


def _requests(value: bytes) -> int:
    return sum(traffic.requests for _, traffic in unpack(value.decode()))


def _last_request(coming: bytes, there: bytes) -> bool:
    return _last(coming).at > _last(there).at


def _beats(coming: bytes, there: bytes) -> bool:
    """Spans of one process that begin alike: the one with more beats; of two with as many the one that was taken back."""
    return _claim(coming) > _claim(there)


def _claim(value: bytes) -> tuple[int, bool, float]:
    end, beats, _, ok, _ = _span(value)
    return beats, not ok, -end


def _silence(coming: bytes, there: bytes) -> bool:
    new, old = read_mark(coming), read_mark(there)
    return new is not None and (old is None or new.seen > old.seen)


def _careful(rule: Wins) -> Wins:
    """What this version cannot read is left as it is."""

    def wins_if_read(coming: bytes, there: bytes) -> bool:
        try:
            return rule(coming, there)
        except (ValueError, records.RecordError, *records.UNREADABLE):
            return False

    return wins_if_read


_RULES: Final[tuple[tuple[re.Pattern[str], Wins], ...]] = tuple(
    (re.compile(pattern, re.DOTALL), _careful(rule))
    for pattern, rule in (
        (r"sw:\{.{4}\}:n:.*", _note),
        (r"sw:\{.{4}\}:h:.*", _history),
        (r"sw:\{.{4}\}:act:.*", _activity),
        (r"sw:\{.{4}\}:last:.*", _last_request),
        (r"sw:\{hb\d+\}:.*", _beats),
        (r"sw:\{.{4}\}:silent:.*", _silence),
    )
)
