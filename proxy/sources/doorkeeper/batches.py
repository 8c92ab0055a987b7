"""Look-ups that wait go together: while the queries in flight are out, all newcomers gather for the next one.

So a flood of guesses costs the database as many queries as it answers one after the other, however many come.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from proxy.sources.doorkeeper.database import Trouble
from proxy.tasks import Tasks

BATCH_LIMIT: Final = 500
"""Look-ups in one query: an index finds as many in a few milliseconds, well within a query's time."""

BATCH_CHARACTERS: Final = 256 * 1024
"""In the forms of one query, and those of one look-up more. Ordinary tokens are 64 long, and MySQL may take no more than 1 MB
at once (max_allowed_packet), in which each character is written as two."""

QUEUE_LIMIT: Final = 10_000
"""Look-ups that may wait: 20 batches, about what a second can answer; more would only time out."""

T = TypeVar("T")


class Batches(Generic[T]):
    """Gathers look-ups. `ask` gets a lane's number, below `lanes`, and the distinct forms of one batch."""

    def __init__(self, ask: Callable[[int, Sequence[str]], Awaitable[T]], lanes: int, tasks: Tasks, name: str) -> None:
        self._ask = ask
        self._free = list(range(lanes))
        self._tasks = tasks
        self._name = name
        self._waiting: collections.deque[tuple[Sequence[str], asyncio.Future[T]]] = collections.deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def get(self, forms: Sequence[str]) -> T:
        """Return the answer of the batch that held these forms. Trouble("overload") when too many wait."""
        if len(self._waiting) >= QUEUE_LIMIT:
            raise Trouble("overload", "too many look-ups wait for the database")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((forms, future))
        if self._free:
            lane = self._free.pop()
            _ = self._tasks.start(self._drain(lane), f"{self._name}-{lane}")
        return await future

    async def _drain(self, lane: int) -> None:
        try:
            while self._waiting:
                await self._one(lane)
        finally:
            self._free.append(lane)

    async def _one(self, lane: int) -> None:
        parts = collections.deque(filter(None, [self._take()]))
        while parts:
            taken = parts.popleft()
            try:
                answer = await self._ask(lane, list(dict.fromkeys(form for asked, _ in taken for form in asked)))
            except Trouble as trouble:
                if trouble.of_a_row and len(taken) > 1:  # the others are not to blame for it
                    parts.extend((taken[: len(taken) // 2], taken[len(taken) // 2 :]))
                else:
                    _fail(taken, trouble)
            except BaseException as error:
                _fail([item for part in (taken, *parts) for item in part], Trouble("error", type(error).__name__))
                raise
            else:
                for _, future in taken:
                    if not future.done():
                        future.set_result(answer)

    def _take(self) -> list[tuple[Sequence[str], asyncio.Future[T]]]:
        taken: list[tuple[Sequence[str], asyncio.Future[T]]] = []
        characters = 0
        with contextlib.suppress(IndexError):
            while len(taken) < BATCH_LIMIT and characters < BATCH_CHARACTERS:
                item = self._waiting.popleft()
                if not item[1].done():  # whoever asked may have gone meanwhile
                    taken.append(item)
                    characters += sum(map(len, item[0]))
        return taken


def _fail(taken: Sequence[tuple[Sequence[str], asyncio.Future[T]]], trouble: Trouble) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(Trouble(trouble.why, trouble.detail))  # its own: raising adds to a traceback
