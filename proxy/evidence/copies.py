"""Which masters have replicas that must have a record before it counts as stored.

A master answers before its replicas have what it took, so a failover may forget it. Therefore WAIT follows a delivery, on the
connection that wrote (it counts from that connection's own last write), to every master that has a replica.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from proxy.evidence.connect import Client

LOOK_EVERY: Final = 5.0
"""Seconds between looks at who has replicas: Sentinels and Clusters take longer to notice that one has gone."""

SHARE: Final = 0.6
"""Of the time in which a reply must come: the time for which the store itself waits for its replicas."""

Wait = tuple[Any, int]
"""A master (a node of a Cluster, None for the only one there is), and how many replicas must have it."""


class Copies:
    """`wanted` replicas must confirm, and one at least of each master for which Sentinel or the Cluster names one."""

    def __init__(
        self, client: Client, wanted: int = 0, timeout: float = 0.5, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`timeout` in seconds is that of one reply."""
        self._client = client
        self._wanted = wanted
        self._milliseconds = max(1, int(timeout * 1000 * SHARE))
        self._monotonic = monotonic
        self._looked: float | None = None
        self._waits: Sequence[Wait] = ()

    async def waits(self) -> Sequence[Wait]:
        """Whom to wait for. What redis-py raises when nobody can say."""
        now = self._monotonic()
        if self._looked is None or now - self._looked > LOOK_EVERY:
            self._waits = await self._look()
            self._looked = now
        return self._waits

    def forget(self) -> None:
        """Look again next time: somebody has changed places."""
        self._looked = None

    def command(self, wait: Wait) -> tuple[tuple[str, int, int], dict[str, Any]]:
        """The command that waits, and where it goes."""
        master, number = wait
        return ("WAIT", number, self._milliseconds), {} if master is None else {"target_nodes": master}

    async def _look(self) -> Sequence[Wait]:
        client = self._client
        if isinstance(client, RedisCluster):
            _ = await client.initialize()
            await client.nodes_manager.initialize()  # the client asks once; replicas come later, and move
            shards: dict[str, list[Any]] = {}
            for nodes in client.nodes_manager.slots_cache.values():  # a slot that was moved has its master alone
                if len(nodes) > len(shards.get(nodes[0].name, ())):
                    shards[nodes[0].name] = nodes
            numbers = {name: max(self._wanted, min(1, len(nodes) - 1)) for name, nodes in shards.items()}
            return [(nodes[0], numbers[name]) for name, nodes in shards.items() if numbers[name]]
        number = max(self._wanted, int(await self._sentinel_names_one()))
        return [(None, number)] if number else []

    async def _sentinel_names_one(self) -> bool:
        pool = self._client.connection_pool  # type: ignore[union-attr]
        if not isinstance(pool, SentinelConnectionPool):
            return False
        return bool(await pool.sentinel_manager.discover_slaves(pool.service_name))
