"""Tells systemd how the service is (sd_notify(3)); without NOTIFY_SOCKET it says nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states. systemd that does not listen costs nothing and stops nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")

    def ready(self, pid: int | None = None) -> None:
        """The service serves; `pid` names its new main process."""
        self._send("READY=1" if pid is None else f"MAINPID={pid}\nREADY=1")

    def reloading(self) -> None:
        """Settings are being taken anew; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1_000}")

    def stopping(self) -> None:
        """The service drains."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if self._address[:1] not in ("/", "@"):
            return
        address = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # noqa: FBT003
            _ = sock.sendto(state.encode(), address)
