"""Which masters have replicas that must have a record before it counts as stored.

A master answers before its replicas have what it took, so a failover may forget it. Therefore WAIT follows a delivery, on the
connection that wrote (it counts from that connection's own last write), to every master that has a replica. One without a known
one is asked instead whether it has got one since: a replica may be promoted seconds after it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool

from proxy.evidence.connect import Client

LOOK_EVERY: Final = 5.0
"""Seconds between looks at who has replicas: Sentinels and Clusters take longer to notice that one has gone."""

SHARE: Final = 0.6
"""Of the time in which a reply must come: the time for which the store itself waits for its replicas."""

Wait = tuple[Any, int]
"""A master (a node of a Cluster, None for the only one there is), and how many replicas must have it; 0 where none is known."""


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

    def command(self, wait: Wait) -> tuple[tuple[str | int, ...], dict[str, Any]]:
        """The command that waits, or asks, and where it goes."""
        master, number = wait
        what = ("WAIT", number, self._milliseconds) if number else ("INFO", "replication")
        return what, {} if master is None else {"target_nodes": master}

    def suffices(self, wait: Wait, answer: Any) -> bool:
        """Whether the answer to `command` says that nobody who may be promoted lacks anything."""
        _, number = wait
        if number:
            return isinstance(answer, int) and answer >= number
        return isinstance(answer, Mapping) and not answer.get("connected_slaves")

    async def _look(self) -> Sequence[Wait]:
        client = self._client
        if isinstance(client, RedisCluster):
            return await self._look_at_cluster(client)
        if not isinstance(client.connection_pool, SentinelConnectionPool):
            return [(None, self._wanted)] if self._wanted else []
        return [(None, max(self._wanted, int(await self._sentinel_names_one(client.connection_pool))))]

    async def _look_at_cluster(self, client: RedisCluster) -> Sequence[Wait]:
        """By CLUSTER NODES: CLUSTER SLOTS, which the client asks, leaves out a replica until something was copied to it. Such a
        one is promoted all the same."""
        _ = await client.initialize()
        await client.nodes_manager.initialize()  # the client asks once; replicas come later, and move
        nodes: dict[str, dict[str, Any]] = await client.execute_command("CLUSTER NODES")
        alive = [node for node in nodes.values() if "fail" not in node["flags"].split(",")]
        waits: dict[str, Wait] = {}
        for master in alive:
            replicas = sum(node["master_id"] == master["node_id"] for node in alive)
            number = max(self._wanted, min(1, replicas))
            for first, *_ in master["slots"]:
                serving = client.nodes_manager.slots_cache[int(first)][0]
                waits[serving.name] = (serving, number)
        return list(waits.values())

    async def _sentinel_names_one(self, pool: SentinelConnectionPool) -> bool:
        """Whether a replica may be promoted. That it is gone counts when most Sentinels say so: a few that are cut off together
        with the master call it gone as well, while the others promote it. So it does not while none can be asked."""
        sentinels = list(pool.sentinel_manager.sentinels)
        asked = (one.sentinel_slaves(pool.service_name) for one in sentinels)
        heard = [answer for answer in await asyncio.gather(*asked, return_exceptions=True) if isinstance(answer, list)]
        named = [replica for answer in heard for replica in answer]
        if any(not (replica["is_sdown"] or replica["is_odown"]) for replica in named):
            return True
        return 2 * len(heard) <= len(sentinels) and (bool(named) or not heard)
