"""What one process has seen of one token: counters that change in place, and the stored parts beside them. No I/O."""

from __future__ import annotations

from typing import Any

from proxy.core.history import ClientIdentity, StateChange, TokenHistory
from proxy.core.token import Reading
from proxy.evidence.client import identify
from proxy.evidence.merge import CLIENTS_KEPT, COUNTS_KEPT, merge, newest_clients


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
        self.last_seen: float | None = None
        self.last_good: float | None = None
        self.last_good_operation = ""
        self.last_good_address = ""
        self.first_good: float | None = None
        self.first_bad: float | None = None
        self.failing_since: float | None = None
        self.last_bad: float | None = None
        self.last_bad_reason = ""
        self.counts: dict[Any, int] = {}
        self.clients: dict[tuple[str, str], list[Any]] = {}
        self.client_key = ("", "")
        self.client: list[Any] = [0.0, 0.0, 0]
        self.changes: list[StateChange] = []
        self.last_reading: Reading | None = None
        self.good = self.dirty = self.loaded = self.loading = False
        self.dirty_since = 0.0
        self.base: TokenHistory | None = None
        self.others: TokenHistory | None = None

    def own(self) -> TokenHistory:
        """Our own part, with what an earlier life of this instance had stored."""
        counts: dict[str, int] = {}
        for key, count in self.counts.items():
            counts[_answer(key)] = counts.get(_answer(key), 0) + count
        live = TokenHistory(
            fingerprint=self.fingerprint,
            tenant=self.tenant,
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            last_good=self.last_good,
            last_good_operation=self.last_good_operation,
            first_bad=self.first_bad,
            last_bad=self.last_bad,
            last_bad_reason=self.last_bad_reason,
            counts=counts,
            clients=newest_clients(ClientIdentity(*key, *seen) for key, seen in self.clients.items()),
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

    def count(self, key: Any) -> None:
        """Count an answer. The first 32 kinds are told apart."""
        counts = self.counts
        if key not in counts:
            if len(counts) >= COUNTS_KEPT:
                key = "other"
            counts.setdefault(key, 0)
        counts[key] += 1

    def used_by(self, user_agent: str, address: str, at: float) -> None:
        """Count a client. The same one as last time costs two comparisons."""
        key = (user_agent, address)
        if key != self.client_key:
            self.client_key = key
            identity = identify(user_agent, address)
            if identity not in self.clients:
                if len(self.clients) >= CLIENTS_KEPT:
                    del self.clients[min(self.clients, key=lambda one: self.clients[one][1])]
                self.clients[identity] = [at, at, 0]
            self.client = self.clients[identity]
        self.client[1] = at
        self.client[2] += 1


def _answer(key: Any) -> str:
    return f"{key[0]}:{key[1]}" if isinstance(key, tuple) else str(key)
