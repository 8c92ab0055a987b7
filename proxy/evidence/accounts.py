"""The last change that SCIM made to each account lately: provisioning may deactivate the account that owns its own token."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.memory import AccountChange

_BACKEND: Final = AnsweredBy.BACKEND
ACCOUNTS_LIMIT: Final = 20_000
"""Accounts remembered, about 0.4 KB each: a large customer's whole sync. The one changed longest ago goes first."""
ID_LENGTH: Final = 64
"""Characters of an account's id that are compared: resource_owner_id is a number or a UUID."""
_CHANGES: Final = frozenset(("PUT", "PATCH", "DELETE"))


class Accounts:
    """Remembers. Only a change of `/Users/{id}` that the backend took costs anything."""

    def __init__(self, limit: int = ACCOUNTS_LIMIT) -> None:
        self._limit = limit
        self._changed: OrderedDict[str, AccountChange] = OrderedDict()

    def saw(self, exchange: Exchange) -> None:
        """Remember a change."""
        if exchange.method not in _CHANGES or exchange.answered_by is not _BACKEND or exchange.status >= 300:
            return
        above, _, account = exchange.target.partition("?")[0].rstrip("/").rpartition("/")
        if not above.endswith("/Users") or not 0 < len(account) <= ID_LENGTH:
            return
        self._changed[account] = AccountChange(account, exchange.method, exchange.at, exchange.id)
        self._changed.move_to_end(account)
        if len(self._changed) > self._limit:
            self._changed.popitem(last=False)

    def last_change(self, account: str | None) -> AccountChange | None:
        """The last change of an account that was seen here."""
        return None if account is None else self._changed.get(account)
