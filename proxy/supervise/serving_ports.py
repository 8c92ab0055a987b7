"""What can be served: a program alone, or a supervisor with its workers."""

from __future__ import annotations

from socket import socket as Socket  # noqa: N812 - the protocol has an attribute of its name
from typing import Protocol

from proxy.settings import Settings
from proxy.wire.reloads import Reloads


class Served(Protocol):
    """See wire.Program, which is the plain case."""

    settings: Settings
    reloads: Reloads
    socket: Socket | None
    ops_socket: Socket | None
    data_address: tuple[str, int]
    ops_address: tuple[str, int]

    async def start(self) -> None:
        """Start everything. StartFault."""

    async def prepare(self, settings: Settings) -> None:
        """Build what other settings ask for. StartFault: nothing has changed."""

    async def commit(self) -> None:
        """Put it in force."""

    def reopen_log(self) -> None:
        """Open the log's file anew."""

    async def roll(self) -> bool:
        """Replace every worker by a new one, one after the other; False where that is not possible."""

    async def stop(self, *, succeeded: bool = False) -> None:
        """Drain, flush, close."""
