"""What is fuzzed: a parser with what must hold of it for any bytes, valid inputs to begin from, and words of its language."""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.incident import Incident, Kind
from proxy.core.policy import Policy
from proxy.core.scim import Kind as Does
from proxy.core.scim import Operation
from proxy.core.token import Reading, TokenState
from proxy.core.verdict import decide
from proxy.evidence import records

CANARY: Final = "s3cr3t-c4nary-0123456789"
"""Stands in seeds and words where a secret may stand, and so must be in no text that is written down."""
AT: Final = 1_780_000_000.0
"""The instant of every check: an input that was found means the same tomorrow."""

_WORD: Final = re.compile(r"[a-z0-9_]{1,40}")
_READS: Final = Operation(Does.LIST, "Users", writes=False)


class Target(msgspec.Struct, frozen=True):
    """`check` takes any bytes, raises where something does not hold, and tells whether they were accepted, so that a run says
    whether it got past the first refusal. `limit`: octets of an input at most."""

    name: str
    check: Callable[[bytes], bool]
    seeds: Sequence[bytes]
    words: Sequence[bytes] = ()
    limit: int = 2_048


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Ways in which bytes may arrive besides all at once: some that depend on the bytes alone, and one by one."""
    chance = random.Random(zlib.crc32(data))
    for most in (1, 4):
        marks = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(most))})
        yield [data[start:stop] for start, stop in itertools.pairwise(marks)]
    if len(data) <= 256:
        yield [bytes((octet,)) for octet in data]


def words(parted: bytes, *more: bytes) -> tuple[bytes, ...]:
    """Words of a language: those without white space parted by it, and others."""
    return (*parted.split(), *more)


JSON_WORDS: Final = words(rb'{" ": " , [ ] { } true null 1e999 NaN "\ud800" \ud800 \u0000 -1', b"9" * 30)


def is_word(why: str) -> bool:
    """Whether a reason is a word of ours, which can hold nothing that a stranger wrote."""
    return _WORD.fullmatch(why) is not None


def can_be_used(state: TokenState) -> None:
    """Any state is judged, and comes back from the spool as it went there: a refusal that rests on it can be put on record."""
    decide(state, AT, 0.0, Policy(), _READS)
    exchange = Exchange("1", AT, "GET", "/Users", "Users.list", "acme", "192.0.2.1", 401, AnsweredBy.PROXY, "bearer")
    reading = Reading(state, "fuzz", "primary", AT)
    incident = Incident("1", AT, Kind.REFUSAL, "acme", "f" * 32, "unknown", exchange, "i1", reading=reading)
    assert incident == records.unpack(records.pack(incident))
