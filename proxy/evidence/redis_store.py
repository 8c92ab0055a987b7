"""The store: a Redis or Valkey, single, Sentinel or Cluster. Only here is redis-py spoken to and are its errors translated.

Writes go out as pipelines without transaction; each command is one that may be repeated. So an answer that got lost costs a
repetition and nothing else. Reads and writes are built in `writes.py` and `queries.py`; this file runs them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import RedisCluster
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from proxy.evidence.connect import Client, close
from proxy.evidence.copies import Copies, Wait
from proxy.evidence.redirected import follow
from proxy.evidence.scripts import BY_SHA

BATCH: Final = 500
"""Commands in one pipeline: some 0.7 MB of incidents, a few milliseconds of the server's time."""

TURN: Final = 50
"""Commands in one pipeline of what is not urgent: requests have their turn between them, after a millisecond or two."""

PATIENCE: Final = 3.0
"""Seconds for a whole pipeline; each single read from a socket has the client's own, shorter limit."""

SCANNED: Final = 10_000
"""Keys looked at by one step of a scan: some milliseconds of the server's time."""

_CLIENT: Final = re.compile(r"<redis\.asyncio\.client\.Redis\(.*?\)>\)>\)>")
"""A Sentinel as redis-py writes it, with all its options: what it answered would be cut off behind them."""

TROUBLE: Final = (RedisError, RedisClusterException, OSError)
"""What redis-py raises. A Cluster that cannot be reached at all is no RedisError to it."""

Command = tuple[str | bytes | int | float, ...]


class StoreError(Exception):
    """The store did not take or give it. `why`: unreachable, timeout, refused, behind. Always worth another try later."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(f"store {why}: {detail}")
        self.why = why


Saw = Callable[[str, float], None]
"""Gets the operation and the seconds of a round trip."""


def unseen(operation: str, seconds: float) -> None:
    """For stores whose round trips nobody counts."""
    del operation, seconds


class RedisStore:
    """Runs commands on the store. Its waits are bounded; its errors are StoreError."""

    def __init__(self, client: Client, saw: Saw = unseen, copies: Copies | None = None) -> None:
        self._client = client
        self._saw = saw
        self._copies = copies or Copies(client)

    async def close(self) -> None:
        """Close all connections."""
        await close(self._client)

    async def run(self, commands: Sequence[Command], *, copied: bool = False) -> list[Any]:
        """Run commands in pipelines and return their answers in order. StoreError when any of them failed, and when
        `copied` writes are with no replica yet of a master that has one."""
        answers: list[Any] = []
        size = BATCH if copied else TURN
        for start in range(0, len(commands), size):
            answers += await self._run_batch(commands[start : start + size], copied=copied)
        return answers

    async def ping(self) -> None:
        """StoreError unless the store answers."""
        await self.run([("EXISTS", "sw:{ping}")])

    async def infos(self) -> list[dict[str, str]]:
        """What each node says of itself (INFO). StoreError."""
        try:
            async with asyncio.timeout(PATIENCE):
                found: Any = await self._client.info()
        except TimeoutError as error:
            raise StoreError("timeout", f"no answer within {PATIENCE:g} s") from error
        except TROUBLE as error:
            raise translate(error) from error
        of_cluster = bool(found) and all(isinstance(node, Mapping) and "redis_version" in node for node in found.values())
        nodes = list(found.values()) if of_cluster else [found]
        return [{str(name): str(value) for name, value in node.items()} for node in nodes]

    async def scan(self, pattern: str, kind: str | None = None) -> AsyncIterator[str]:
        """Names of keys of a type (stream, hash, ...) or of any, on all nodes, in no order; one may come twice. StoreError."""
        try:
            async for name in self._client.scan_iter(match=pattern, count=SCANNED, _type=kind):
                yield name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
        except TROUBLE as error:
            raise translate(error) from error

    async def _run_batch(self, commands: Sequence[Command], *, copied: bool) -> list[Any]:
        started = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                answers = await self._pipeline(commands, copied=copied)
                missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
                if missing:
                    again = await self._pipeline([_with_text(commands[i]) for i in missing], copied=copied)
                    for i, answer in zip(missing, again, strict=True):
                        answers[i] = answer
        except TimeoutError as error:
            raise StoreError("timeout", f"no answer within {PATIENCE:g} s") from error
        except TROUBLE as error:
            raise translate(error) from error
        finally:
            self._saw("batch", time.monotonic() - started)
        for answer in answers:
            if isinstance(answer, Exception):
                raise translate(answer) from answer
        return answers

    async def _pipeline(self, commands: Sequence[Command], *, copied: bool) -> list[Any]:
        """Once more in a Cluster, after looking anew at who serves what; the other clients try twice by themselves."""
        try:
            return await self._once(commands, copied=copied)
        except RedisCluster.ERRORS_ALLOW_RETRY:
            if not isinstance(self._client, RedisCluster):
                raise
            self._copies.forget()
            await self._client.aclose()
            return await self._once(commands, copied=copied)

    async def _once(self, commands: Sequence[Command], *, copied: bool) -> list[Any]:
        waits = await self._copies.waits() if copied else ()
        pipe: Any = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        for wait in waits:
            waiting, where = self._copies.command(wait)
            pipe.execute_command(*waiting, **where)
        if waits and isinstance(self._client, RedisCluster):
            answers: list[Any] = await pipe.execute(raise_on_error=False, allow_redirections=False)
            more, confirmed = await follow(self._client, self._copies, commands, answers)
            waits, answers = [*waits, *more], [*answers, *confirmed]
        else:
            answers = await pipe.execute(raise_on_error=False)
        lost = next((answer for answer in answers if isinstance(answer, RedisCluster.ERRORS_ALLOW_RETRY)), None)
        if lost is not None:
            raise lost
        if not any(isinstance(answer, NoScriptError) for answer in answers):  # those are sent again, and waited for then
            self._confirm(waits, answers[len(commands) :])
        return answers[: len(commands)]

    def _confirm(self, waits: Sequence[Wait], confirmed: Sequence[Any]) -> None:
        for wait, answer in zip(waits, confirmed, strict=True):
            if isinstance(answer, ResponseError):  # a right that is missing
                raise answer
            if not self._copies.suffices(wait, answer):
                self._copies.forget()
                raise StoreError("behind", "the replicas have not taken it yet")


def translate(error: Exception) -> StoreError:
    """What redis-py raised as a StoreError. The detail names no key's value and no password."""
    text = _CLIENT.sub("a Sentinel", (str(error).splitlines() or [""])[0])[:200]
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) or "Timeout" in type(error).__name__:
        return StoreError("timeout", text)
    name = type(error).__name__
    if isinstance(error, (OSError, RedisClusterException)) or "Connection" in name or "MasterNotFound" in name:
        return StoreError("unreachable", text)
    return StoreError("refused", text)


def _with_text(command: Command) -> Command:
    """EVAL with the script itself: it teaches exactly the node that did not know it, in a Cluster too."""
    return ("EVAL", BY_SHA[str(command[1])], *command[2:])
