"""`scim-witness run`: the proxy, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import asyncio
import importlib
import signal
from collections.abc import Callable
from typing import cast

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, settings_from
from proxy.settings import Settings
from proxy.wire import Program, StartFault

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the proxy until SIGTERM or Ctrl-C. Exit status: 0 stopped in order; 1 could not start; 2 configuration faults."""
    settings = settings_from(config)
    for warning in settings.warnings:
        screen.say(f"warning: {warning}", "yellow")
    try:
        with asyncio.Runner(loop_factory=_loop_factory(settings)) as runner:
            runner.run(_serve(settings))
    except StartFault as error:
        screen.stop(str(error))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    program = Program(settings)
    await program.start()
    try:
        screen.say(f"Clients: {_place(program.data_address)}   operators: {_place(program.ops_address)}")
        await program.serve_until(stop)
    finally:
        await program.stop()


def _place(address: tuple[str, int]) -> str:
    host, port = address
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def _loop_factory(settings: Settings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop that settings.loop asks for; None is asyncio's own."""
    if settings.loop == "asyncio":
        return None
    try:
        return cast("Callable[[], asyncio.AbstractEventLoop]", importlib.import_module("uvloop").new_event_loop)
    except ImportError:
        if settings.loop == "uvloop":
            screen.stop("loop is uvloop, which is not installed here", 'Set loop = "auto", or: pip install uvloop')
        return None
