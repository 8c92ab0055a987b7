"""What each client did before: when it last carried a credential, when it was last served. In memory and bounded.

A client is a family of user agents in a network. Only who was served is remembered, so a flood of guesses leaves nothing here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from proxy.core.exchange import GRANTED, AnsweredBy, Exchange
from proxy.core.history import TokenHistory
from proxy.core.memory import ClientMemory
from proxy.evidence.client import identify

_BACKEND: Final = AnsweredBy.BACKEND
CLIENTS_LIMIT: Final = 10_000
"""Clients remembered, about 1 KB each; the least recently served goes first."""
TENANTS_LIMIT: Final = 8
"""Tenants told apart behind one client: more are an identity provider's egress, where only the request itself tells."""

WITHOUT: Final = frozenset(("missing", "malformed:empty"))
"""Shapes of a request (Exchange.credential) that carries none."""

Key = tuple[str, str]


class _Client:
    """`tenants` maps a tenant to [last with a credential, last good], the longest unused first."""

    __slots__ = ("tenants", "without_since")

    def __init__(self) -> None:
        self.tenants: dict[str, list[float]] = {}
        self.without_since: float | None = None


class Clients:
    """Remembers. `saw` is on the way of every request and does no I/O."""

    def __init__(self, limit: int = CLIENTS_LIMIT) -> None:
        self._limit = limit
        self._clients: OrderedDict[Key, _Client] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def saw(self, exchange: Exchange) -> Key | None:
        """Remember one exchange. Returns the client when it carries a credential again after it carried none."""
        key = identify(exchange.user_agent, exchange.client)
        client = self._clients.get(key)
        if exchange.credential in WITHOUT:
            if client is not None and client.without_since is None:
                client.without_since = exchange.at
            return None
        good = exchange.status < 400 and (exchange.answered_by is _BACKEND or exchange.status == GRANTED)
        if client is None:
            if not good:
                return None
            client = self._admit(key)
        if not exchange.tenant.startswith("_"):
            self._use(client, exchange.tenant, exchange.at, good=good)
        if good:
            self._clients.move_to_end(key)
        if client.without_since is None:
            return None
        client.without_since = None
        return key

    def learn(self, history: TokenHistory) -> None:
        """Take from a token's stored history who used it while it was good: what is known again after a restart."""
        if history.last_good is None or not history.tenant:
            return
        for identity in history.clients:
            key = (identity.agent, identity.prefix)
            client = self._clients.get(key) or self._admit(key)
            if identity.first <= history.last_good:
                self._use(client, history.tenant, min(identity.last, history.last_good), good=True)

    def before(self, key: Key, tenant: str, at: float) -> ClientMemory | None:
        """What a client did before a request without credential. `tenant` is whose request it is by its route, or `_unknown`:
        then a client that serves several tenants says nothing certain."""
        client = self._clients.get(key)
        if client is None:
            return None
        known = not tenant.startswith("_")
        own: Iterable[list[float]] = client.tenants.values()
        if known:
            own = [client.tenants[tenant]] if tenant in client.tenants else []
        seen = list(own)
        if not seen:
            return None
        good = max(times[1] for times in seen)
        return ClientMemory(
            last_with_credential=max(times[0] for times in seen),
            last_good=good or None,
            without_since=at if client.without_since is None else client.without_since,
            shared=not known and len(seen) > 1,
        )

    def _admit(self, key: Key) -> _Client:
        while len(self._clients) >= self._limit:
            self._clients.popitem(last=False)
        client = self._clients[key] = _Client()
        return client

    def _use(self, client: _Client, tenant: str, at: float, *, good: bool) -> None:
        tenants = client.tenants
        times = tenants.pop(tenant, None)
        if times is None:
            if len(tenants) >= TENANTS_LIMIT:
                del tenants[next(iter(tenants))]
            times = [at, 0.0]
        tenants[tenant] = times
        times[0] = max(times[0], at)
        if good:
            times[1] = max(times[1], at)
