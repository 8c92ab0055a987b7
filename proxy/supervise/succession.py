"""Starts the process that takes over: the same command, so a newer version if one was installed, with our sockets."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

import structlog

from proxy.supervise.inherited import VARIABLE, left_for_children
from proxy.supervise.serving_ports import Served

READY_SECONDS: Final = 60.0
"""For the successor to be ready; a second or two is usual. Then it is ended, and this process goes on."""
ENDING_SECONDS: Final = 10.0
"""For one that failed to end before it is killed: it serves nobody yet."""
POLL: Final = 0.05

_log = structlog.get_logger("supervise")


async def succeed(served: Served, environ: Mapping[str, str]) -> bool:
    """Start a successor and wait until it is ready. False when it is not: then it is gone, and nothing has changed."""
    reader, writer = os.pipe()
    try:
        process = _start(served, environ, writer)
    except OSError as error:
        os.close(reader)
        _log.error("succession_failed", why=error.strerror)
        return False
    finally:
        os.close(writer)
    os.set_blocking(reader, False)
    ready = False
    try:
        ready = await _said_ready(reader, process)
    finally:
        os.close(reader)
        if not ready:
            await _end(process)
    _log.info("succeeded_by" if ready else "succession_failed", pid=process.pid, status=process.returncode)
    return ready


def _start(served: Served, environ: Mapping[str, str], ready: int) -> subprocess.Popen[bytes]:
    given = {"listen": served.socket, "ops": served.ops_socket}
    numbers = {name: sock.fileno() for name, sock in given.items() if sock is not None} | {"ready": ready}
    text = " ".join(f"{name}={number}" for name, number in numbers.items())
    return subprocess.Popen(  # not asyncio's, which would kill it with this process
        [sys.executable, *sys.orig_argv[1:]],
        env={**left_for_children(environ), VARIABLE: text},
        pass_fds=tuple(numbers.values()),
        stdin=subprocess.DEVNULL,
    )


async def _said_ready(reader: int, process: subprocess.Popen[bytes]) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_SECONDS
    while loop.time() < deadline and process.poll() is None:
        try:
            return os.read(reader, 16) == b"ready\n"
        except BlockingIOError:
            await asyncio.sleep(POLL)
    return False


async def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ENDING_SECONDS
    while process.poll() is None:
        if loop.time() > deadline:
            process.kill()
        await asyncio.sleep(POLL)
