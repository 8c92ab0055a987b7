"""A worker: `python -P -m proxy.supervise.worker LISTEN_FD CONTROL_FD`, started by the supervisor and by nobody else.

It serves clients on the socket that all workers share, and answers its supervisor. SIGTERM, or a supervisor that is gone,
makes it drain, flush and end.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from typing import Final

import msgspec

from proxy.admin.health import judge
from proxy.settings import revive
from proxy.supervise.channel import Answer, Ask, Begin, ChannelClosed, Status, encode, receive, receive_first
from proxy.supervise.loops import loop_factory
from proxy.tasks import Tasks
from proxy.wire import Place, Program, StartFault
from proxy.wire.program import report

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
"""The form in which metrics go to the supervisor: it keeps exemplars."""


class Worker:
    """Answers the supervisor for a program."""

    def __init__(self, program: Program, writer: asyncio.StreamWriter, tasks: Tasks) -> None:
        self._program = program
        self._writer = writer
        self._tasks = tasks

    def say(self, answer: Answer) -> None:
        """Send an answer. A supervisor that is gone is noticed by who reads."""
        self._writer.write(encode(answer))

    async def obey(self, reader: asyncio.StreamReader) -> None:
        """Answer every question, each by itself, until the supervisor is gone."""
        while True:
            try:
                ask = msgspec.json.decode(await receive(reader), type=Ask)
            except ChannelClosed:
                return
            _ = self._tasks.start(self._answer(ask), ask.what)

    async def _answer(self, ask: Ask) -> None:
        try:
            self.say(await self._do(ask))
        except StartFault as fault:
            self.say(Answer(ask.number, ok=False, text=str(fault)))
        except Exception as error:
            self.say(Answer(ask.number, ok=False, text=f"{ask.what}: {type(error).__name__}"))
            raise

    async def _do(self, ask: Ask) -> Answer:
        match ask.what:
            case "status":
                return Answer(ask.number, ok=True, status=self._status())
            case "metrics":
                _, body = await asyncio.to_thread(self._program.metrics.render, OPENMETRICS)
                return Answer(ask.number, ok=True, text=body.decode())
            case "prepare":
                await self._program.prepare(revive(ask.values or {}))
            case "commit":
                await self._program.commit()
            case "discard":
                await self._program.discard()
            case "reopen_log":
                self._program.reopen_log()
            case _:
                return Answer(ask.number, ok=False, text=f"{ask.what} is not known here")
        return Answer(ask.number, ok=True)

    def _status(self) -> Status:
        judged = judge(self._program.health.parts(), draining=self._program.health.draining)
        totals = self._program.totals()
        return Status(
            judged.ready, judged.parts, totals.requests, totals.incidents, totals.inflight, totals.lag, totals.durations,
            self._program.lately.grown(),
        )  # fmt: skip


async def _serve(begin: Begin, listen: socket.socket, control: socket.socket) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):  # they are the supervisor's to obey
        loop.add_signal_handler(number, lambda: None)
    control.setblocking(False)  # noqa: FBT003
    reader, writer = await asyncio.open_unix_connection(sock=control)
    tasks = Tasks(report)
    program = Program(revive(begin.values), Place(listen, worker=begin.worker, store_url=begin.store_url))
    worker = Worker(program, writer, tasks)
    try:
        await program.start()
    except StartFault as fault:
        worker.say(Answer(0, ok=False, text=str(fault)))
        await writer.drain()
        return 1
    worker.say(Answer(0, ok=True))
    obeying = tasks.start(worker.obey(reader), "supervisor")
    obeying.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await program.stop()
    await tasks.close()
    writer.close()
    return 0


def main() -> int:
    """Be told who we are, then serve. Returns the exit status."""
    listen = socket.socket(fileno=int(sys.argv[1]))
    control = socket.socket(fileno=int(sys.argv[2]))
    for sock in (listen, control):
        sock.set_inheritable(False)
    listen.setblocking(False)  # noqa: FBT003
    try:
        begin = receive_first(control)
    except ChannelClosed:
        return 1
    loop = str(begin.values.get("loop", "auto"))
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        return runner.run(_serve(begin, listen, control))


if __name__ == "__main__":
    sys.exit(main())
