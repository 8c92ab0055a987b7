"""A worker's process as its supervisor sees it, and the slot that always has one: started anew with back-off when it dies."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog

from proxy.supervise.backoff import deaths, pause
from proxy.supervise.channel import Answer, Ask, Begin, ChannelClosed, Status, encode, receive
from proxy.tasks import Tasks
from proxy.wire import StartFault

START_SECONDS: Final = 60.0
"""For a worker to serve; a second is usual, a token file of the greatest size takes ten."""
ASK_EVERY: Final = 1.0
"""Seconds between questions how a worker is: what readiness and the pages tell is as old as that."""
HUNG_SECONDS: Final = 30.0
"""Without an answer before a worker is killed: as long as its own /livez would take to call it dead."""

_log = structlog.get_logger("supervise")


class Hand:
    """One worker's process, and the channel to it. `settings` numbers the settings it was given. `status` is how it is now,
    None while it does not answer; `told` is the last that it said."""

    def __init__(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self.status: Status | None = None
        self.told: Status | None = None
        self.settings = 0
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[Answer]] = {0: loop.create_future()}
        self._heard = self._born = loop.time()

    @property
    def lived(self) -> float:
        """Seconds since it was started."""
        return asyncio.get_running_loop().time() - self._born

    async def started(self) -> None:
        """Wait until it serves. StartFault with its own words when it cannot."""
        try:
            answer = await self._answer(0, START_SECONDS)
        except ChannelClosed:
            code = await self.process.wait() if self._reader.at_eof() else None
            raise StartFault(f"a worker did not start: {'no answer' if code is None else f'exit status {code}'}.") from None
        if not answer.ok:
            raise StartFault(answer.text)

    async def ask(self, what: str, seconds: float, values: Mapping[str, Any] | None = None) -> Answer:
        """Ask something. ChannelClosed when there is no answer within `seconds`."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(encode(Ask(number, what, dict(values) if values is not None else None)))
        return await self._answer(number, seconds)

    async def _answer(self, number: int, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                return await self._waiting[number]
        except TimeoutError:
            raise ChannelClosed from None
        finally:
            del self._waiting[number]

    async def listen(self) -> None:
        """Take its answers until it is gone; who waits for one then is told."""
        try:
            while True:
                answer = msgspec.json.decode(await receive(self._reader), type=Answer)
                self._heard = asyncio.get_running_loop().time()
                future = self._waiting.get(answer.number)
                if future is not None and not future.done():
                    future.set_result(answer)
        except ChannelClosed:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ChannelClosed())
        finally:
            self._writer.close()

    async def mind(self) -> None:
        """Ask how it is, again and again; kill it when it has been silent for too long."""
        while True:
            try:
                self.status = self.told = (await self.ask("status", ASK_EVERY * 2)).status
            except ChannelClosed:
                self.status = None
            silent = asyncio.get_running_loop().time() - self._heard
            if silent > HUNG_SECONDS and self.process.returncode is None:
                _log.error("worker_hung", pid=self.process.pid, silent=round(silent))
                self.process.kill()
                return
            await asyncio.sleep(ASK_EVERY)

    async def end(self, seconds: float) -> None:
        """Let it drain, for at most so long; then it is killed."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(seconds):
                await self.process.wait()
        except TimeoutError:
            _log.error("worker_killed", pid=self.process.pid, detail="it did not end in time")
            self.process.kill()
            await self.process.wait()


async def launch(begin: Begin, listen: socket.socket, environ: Mapping[str, str], tasks: Tasks) -> Hand:
    """Start a fresh interpreter with the listening socket, and wait until it serves. StartFault."""
    ours, theirs = socket.socketpair()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "proxy.supervise.worker", str(listen.fileno()), str(theirs.fileno())),
            env=environ,
            pass_fds=(listen.fileno(), theirs.fileno()),
            start_new_session=True,  # Ctrl-C is for the supervisor, which then ends its workers in order
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)  # noqa: FBT003
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    hand = Hand(process, reader, writer)
    writer.write(encode(begin))
    _ = tasks.start(hand.listen(), f"worker {begin.worker}")
    try:
        await hand.started()
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    return hand


class Slot:
    """The place of one worker. `start` launches one with the settings in force."""

    def __init__(self, number: int, start: Callable[[int], Awaitable[Hand]], tasks: Tasks) -> None:
        self.number = number
        self.hand: Hand | None = None
        self.restarts = 0
        self._deaths = 0
        self._start = start
        self._tasks = tasks
        self._minding: asyncio.Task[None] | None = None

    async def fill(self) -> None:
        """Start the first worker. StartFault."""
        self._put(await self._start(self.number))

    async def run(self) -> None:
        """Have a worker for ever; for Tasks.keep."""
        while True:
            hand = self.hand
            if hand is None:
                await self._again()
                continue
            code = await hand.process.wait()
            if hand is not self.hand:
                continue  # it was replaced and went in order
            self.hand = None
            self._deaths = deaths(self._deaths, hand.lived)
            wait = pause(self._deaths)
            _log.error("worker_died", worker=self.number, pid=hand.process.pid, code=code, again_in=wait)
            await asyncio.sleep(wait)

    async def _again(self) -> None:
        self.restarts += 1
        try:
            self._put(await self._start(self.number))
        except (StartFault, OSError) as fault:
            self._deaths += 1
            wait = pause(self._deaths)
            _log.error("worker_not_started", worker=self.number, why=str(fault), again_in=wait)
            await asyncio.sleep(wait)

    async def replace(self, seconds: float) -> None:
        """Put a new worker in the old one's place, once it serves, and let the old one drain. StartFault: the old one stays."""
        before = self.hand
        fresh = await self._start(self.number)
        if before is not None and self.hand is not before:
            before = self.hand  # it died meanwhile, and another is there already
        self._put(fresh)
        if before is not None:
            await before.end(seconds)

    def _put(self, hand: Hand) -> None:
        self.hand = hand
        if self._minding is not None:
            _ = self._minding.cancel()
        self._minding = self._tasks.start(hand.mind(), f"worker {self.number}")
        _log.info("worker_serves", worker=self.number, pid=hand.process.pid)
