"""How each backend instance answered each token lately. In memory and bounded: an incident takes a copy of its token's part."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.memory import BackendVerdicts

_BACKEND: Final = AnsweredBy.BACKEND
TOKENS_LIMIT: Final = 20_000
"""Tokens in use that are told apart, about 0.6 KB each; the one whose hour began first goes first."""
ADDRESSES_LIMIT: Final = 16
"""Instances per token: more are pods that come and go, of which the newest count."""
WINDOW: Final = 3_600.0
"""Seconds after which counting begins anew; the hour before is still told."""


class _Count:
    """What one instance answered. Times are epoch seconds, 0 for never."""

    __slots__ = ("accepted", "first_accepted", "first_refused", "last_accepted", "last_refused", "refused")

    def __init__(self) -> None:
        self.accepted = self.refused = 0
        self.first_accepted = self.last_accepted = self.first_refused = self.last_refused = 0.0

    def told(self, address: str) -> BackendVerdicts:
        return BackendVerdicts(
            address,
            self.accepted,
            self.refused,
            self.first_refused or None,
            self.last_refused or None,
            self.first_accepted or None,
            self.last_accepted or None,
        )


class _Token:
    """`count` is that of `address`, the instance that answered last: mostly it answers again, and nothing is looked up."""

    __slots__ = ("address", "before", "began", "count", "counts")

    def __init__(self, at: float) -> None:
        self.began = at
        self.address: str | None = None
        self.count = _Count()
        self.counts: dict[str, _Count] = {}
        self.before: dict[str, _Count] = {}


class Backends:
    """Counts. `saw` is on the way of every request and does no I/O."""

    def __init__(self, limit: int = TOKENS_LIMIT) -> None:
        self._limit = limit
        self._tokens: OrderedDict[str, _Token] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def saw(self, exchange: Exchange) -> None:
        """Count one answer of a backend to a token. A 5xx is no verdict."""
        status = exchange.status
        if exchange.answered_by is not _BACKEND or not exchange.fingerprint or status >= 500:
            return
        count = self._count(exchange.fingerprint, exchange.backend, exchange.at)
        if status in (401, 403):
            count.refused += 1
            count.last_refused = exchange.at
            count.first_refused = count.first_refused or exchange.at
        else:
            count.accepted += 1
            count.last_accepted = exchange.at
            count.first_accepted = count.first_accepted or exchange.at

    def of(self, fingerprint: str, now: float) -> tuple[BackendVerdicts, ...]:
        """How each instance answered a token in the last hour or two."""
        token = self._tokens.get(fingerprint)
        if token is None or now - token.began > 2 * WINDOW:
            return ()
        told = [count.told(address) for half in (token.before, token.counts) for address, count in half.items()]
        return joined(told)

    def _count(self, fingerprint: str, address: str, at: float) -> _Count:
        token = self._tokens.get(fingerprint)
        if token is None:
            if len(self._tokens) >= self._limit:
                self._tokens.popitem(last=False)
            token = self._tokens[fingerprint] = _Token(at)
        elif at - token.began > WINDOW:
            token.before = token.counts if at - token.began <= 2 * WINDOW else {}
            token.counts, token.began, token.address = {}, at, None
            self._tokens.move_to_end(fingerprint)
        if token.address != address:
            token.address = address
            count = token.counts.get(address)
            if count is None:
                if len(token.counts) >= ADDRESSES_LIMIT:
                    del token.counts[next(iter(token.counts))]
                count = token.counts[address] = _Count()
            token.count = count
        return token.count


def joined(told: list[BackendVerdicts]) -> tuple[BackendVerdicts, ...]:
    """One entry per instance: sums, earliest and latest."""
    found: dict[str, BackendVerdicts] = {}
    for one in told:
        two = found.get(one.address)
        found[one.address] = one if two is None else _both(one, two)
    return tuple(found[address] for address in sorted(found))


def _both(a: BackendVerdicts, b: BackendVerdicts) -> BackendVerdicts:
    def first(*times: float | None) -> float | None:
        return min((at for at in times if at is not None), default=None)

    def last(*times: float | None) -> float | None:
        return max((at for at in times if at is not None), default=None)

    return BackendVerdicts(
        a.address,
        a.accepted + b.accepted,
        a.refused + b.refused,
        first(a.first_refused, b.first_refused),
        last(a.last_refused, b.last_refused),
        first(a.first_accepted, b.first_accepted),
        last(a.last_accepted, b.last_accepted),
    )
