"""Several sources in an order: the first that knows a token speaks for it.

Unknown only when all of them answered and none knows it: one source's outage never turns into a 401. Rows are named
`source:row` outside, so that two databases may use the same numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.credential import Secret
from proxy.core.token import Known, Reading, Surroundings, TokenSource, TokenState, Unavailable, Unknown

NOT_OURS: Final = "not_a_jwt"
"""What a source says of a token that is not of its kind at all: another one's word counts for more."""


class FirstMatch:
    """Asks sources one after the other, so that a later one is not loaded with tokens of an earlier one."""

    def __init__(self, sources: Sequence[TokenSource], name: str = "first_match") -> None:
        self.name = name
        self._sources = {source.name: source for source in sources}
        if len(self._sources) != len(sources) or not sources:
            raise ValueError("sources need names of their own, and there must be one")
        if any(":" in source.name for source in sources):
            raise ValueError("a source's name must not hold a colon: it names rows outside")

    async def read(self, secret: Secret) -> Reading:
        """The first Known; else the first Unavailable; else Unknown."""
        readings = []
        for source in self._sources.values():
            reading = await source.read(secret)
            if isinstance(reading.state, Known):
                return outside(reading)
            readings.append(reading)
        return _without_row(readings)

    async def second_look(self, secret: Secret) -> Reading:
        """The same on each source's primary."""
        readings = []
        for source in self._sources.values():
            reading = await source.second_look(secret)
            if isinstance(reading.state, Known):
                return outside(reading)
            readings.append(reading)
        return _without_row(readings)

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Each row by the source that it came from, at the same time, so that none waits for another that does not answer. A
        row of no source here is left out."""
        by_source: dict[str, list[Known]] = {}
        for row in known:
            name, _, inner = str(row.row).partition(":")
            if name in self._sources:
                by_source.setdefault(name, []).append(_inside(row, inner))
        answers = await asyncio.gather(*(self._sources[name].reread(rows) for name, rows in by_source.items()))
        return {
            _outer(name, key): outside(reading, name)
            for name, answer in zip(by_source, answers, strict=True)
            for key, reading in answer.items()
        }

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """A row's from the source that it came from; without a row, what all of them know, in order. With what every other
        source says of the token."""
        if isinstance(state, Known):
            name, _, inner = str(state.row).partition(":")
            if name in self._sources:
                around = await self._sources[name].surroundings(secret, _inside(state, inner))
                return _with_readings(around, await self._readings(secret, without=name))
        merged = _merged([await source.surroundings(secret, state) for source in self._sources.values()], self.name)
        return _with_readings(merged, await self._readings(secret))

    async def _readings(self, secret: Secret, without: str = "") -> tuple[Reading, ...]:
        readings = [await source.read(secret) for name, source in self._sources.items() if name != without]
        return tuple(outside(reading) for reading in readings)


def _with_readings(around: Surroundings, readings: tuple[Reading, ...]) -> Surroundings:
    """With what was read of the others, beside what a source within has read of its own."""
    distinct = {(r.source, r.via): r for r in (*around.readings, *readings)}
    return msgspec.structs.replace(around, readings=tuple(distinct.values()))


def outside(reading: Reading, name: str = "") -> Reading:
    """Name a row as those know it who do not know its source: `source:row`."""
    if not isinstance(reading.state, Known):
        return reading
    row = msgspec.structs.replace(reading.state, row=_outer(name or reading.source, reading.state.row))
    return msgspec.structs.replace(reading, state=row)


def _inside(row: Known, inner: str) -> Known:
    key = inner[1:] if inner.startswith("=") else int(inner) if _is_number(inner) else inner
    return msgspec.structs.replace(row, row=key)


def _outer(name: str, key: int | str) -> str:
    """Numbers as they are; a text that could be taken for one, or for this mark itself, with `=` before it."""
    marked = isinstance(key, str) and (_is_number(key) or key.startswith("="))
    return f"{name}:={key}" if marked else f"{name}:{key}"


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _without_row(readings: Sequence[Reading]) -> Reading:
    """The first that did not answer; else one that can say why it does not take the token; else the first."""
    silent = next((reading for reading in readings if isinstance(reading.state, Unavailable)), None)
    telling = (r for r in readings if isinstance(r.state, Unknown) and r.state.why not in ("", NOT_OURS))
    return silent or next(telling, readings[0])


def _merged(found: Sequence[Surroundings], name: str) -> Surroundings:
    errors = [f"{around.source}: {around.error}" for around in found if around.error is not None]
    return Surroundings(
        read_at=max(around.read_at for around in found),
        source=name if len(found) > 1 else found[0].source,
        siblings=tuple(sibling for around in found for sibling in around.siblings),
        near_misses=tuple(miss for around in found for miss in around.near_misses),
        same_instant_count=sum(around.same_instant_count for around in found),
        schema_flags=tuple(dict.fromkeys(flag for around in found for flag in around.schema_flags)),
        error="; ".join(errors) or None,
        readings=tuple(reading for around in found for reading in around.readings),
        cross_checked=any(around.cross_checked for around in found),
        granted=next((around.granted for around in found if around.granted is not None), None),
        differs_since=min((a.differs_since for a in found if a.differs_since is not None), default=None),
    )
