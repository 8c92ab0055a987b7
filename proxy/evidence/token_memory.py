"""What one process has seen of one token: counters that change in place, and the stored parts beside them. No I/O."""

from __future__ import annotations

from typing import Any, Final

from proxy.core.history import ClientIdentity, StateChange, TokenHistory
from proxy.core.token import Reading
from proxy.evidence.client import identify
from proxy.evidence.merge import CLIENTS_KEPT, COUNTS_KEPT, merge, newest_clients

NEVER: Final = -1.0
"""In the place of a time that changes with each request: a plain number lies in the object itself."""


class Use:
    """By one client: first and last (epoch seconds), and how often."""

    __slots__ = ("first", "last", "times")

    def __init__(self, at: float) -> None:
        self.first = self.last = at
        self.times = 0


class Token:
    """What this process has seen of one token since it began to watch, and the stored parts (`base` is our own earlier one)."""

    __slots__ = (
        "base",
        "changes",
        "client",
        "client_key",
        "clients",
        "counts",
        "dirty",
        "dirty_since",
        "failing_since",
        "fingerprint",
        "first_bad",
        "first_good",
        "first_seen",
        "good",
        "kind",
        "kind_times",
        "last_bad",
        "last_bad_reason",
        "last_good",
        "last_good_address",
        "last_good_operation",
        "last_reading",
        "last_seen",
        "loaded",
        "loading",
        "others",
        "tenant",
    )

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.tenant = ""
        self.first_seen: float | None = None
        self.last_seen = self.last_good = NEVER
        self.last_good_operation = ""
        self.last_good_address = ""
        self.first_good: float | None = None
        self.first_bad: float | None = None
        self.failing_since: float | None = None
        self.last_bad: float | None = None
        self.last_bad_reason = ""
        self.counts: dict[Any, int] = {}
        self.kind: Any = None
        self.kind_times = 0  # answers of this kind that are not in `counts` yet
        self.clients: dict[tuple[str, str], Use] = {}
        self.client_key = ("", "")
        self.client = Use(0.0)
        self.changes: list[StateChange] = []
        self.last_reading: Reading | None = None
        self.good = self.dirty = self.loaded = self.loading = False
        self.dirty_since = 0.0
        self.base: TokenHistory | None = None
        self.others: TokenHistory | None = None

    def own(self) -> TokenHistory:
        """Our own part, with what an earlier life of this instance had stored."""
        self._count_in()
        counts: dict[str, int] = {}
        for key, count in self.counts.items():
            counts[_answer(key)] = counts.get(_answer(key), 0) + count
        live = TokenHistory(
            fingerprint=self.fingerprint,
            tenant=self.tenant,
            first_seen=self.first_seen,
            last_seen=_time(self.last_seen),
            last_good=_time(self.last_good),
            last_good_operation=self.last_good_operation,
            first_bad=self.first_bad,
            last_bad=self.last_bad,
            last_bad_reason=self.last_bad_reason,
            counts=counts,
            clients=newest_clients(ClientIdentity(*key, use.first, use.last, use.times) for key, use in self.clients.items()),
            changes=tuple(self.changes),
            last_reading=self.last_reading,
            first_good=self.first_good,
            failing_since=self.failing_since,
            last_good_address=self.last_good_address,
        )
        return live if self.base is None else merge(self.base, live)

    def whole(self) -> TokenHistory:
        """Everything that is known here, of all instances."""
        own = self.own()
        return own if self.others is None else merge(own, self.others)

    @property
    def blank(self) -> bool:
        """Nothing is known of it."""
        nothing = self.first_seen is None and not self.changes and self.last_reading is None
        return nothing and self.base is None and self.others is None

    def count(self, kind: Any) -> None:
        """Count an answer. The first 32 kinds are told apart. One of the kind before costs an addition."""
        if kind != self.kind:
            self._count_in()
            self.kind = kind
        self.kind_times += 1

    def _count_in(self) -> None:
        if self.kind_times:
            counts, kind = self.counts, self.kind
            if kind not in counts and len(counts) >= COUNTS_KEPT:
                kind = "other"
            counts[kind] = counts.get(kind, 0) + self.kind_times
            self.kind_times = 0

    def used_by(self, user_agent: str, address: str, at: float) -> None:
        """Count a client. The same one as last time costs two comparisons."""
        key = (user_agent, address)
        if key != self.client_key:
            self.client_key = key
            self.client = self._use_of(identify(user_agent, address), at)
        self.client.last = at
        self.client.times += 1

    def _use_of(self, identity: tuple[str, str], at: float) -> Use:
        use = self.clients.get(identity)
        if use is None:
            if len(self.clients) >= CLIENTS_KEPT:
                del self.clients[min(self.clients, key=lambda one: self.clients[one].last)]
            use = self.clients[identity] = Use(at)
        return use


def _time(at: float) -> float | None:
    return None if at == NEVER else at


def _answer(key: Any) -> str:
    return f"{key[0]}:{key[1]}" if isinstance(key, tuple) else str(key)
