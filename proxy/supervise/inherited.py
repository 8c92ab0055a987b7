"""Sockets that were open before this process began: from systemd (sd_listen_fds(3)) or from the process that it succeeds.

A successor is told by one variable, `SCIM_WITNESS_INHERITED="listen=5 ops=6 ready=7"`: two listening sockets, and a pipe on
which it says that it is ready.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

import msgspec

from proxy.settings import Settings
from proxy.wire import StartFault

VARIABLE: Final = "SCIM_WITNESS_INHERITED"
FIRST: Final = 3
"""SD_LISTEN_FDS_START of sd-daemon.h."""
SYSTEMD: Final = frozenset({"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"})
NAMES: Final = {"listen": "listen", "ops": "ops", "scim-witness.socket": "listen"}
"""By FileDescriptorName=, whose default is the name of the unit."""


class Inherited(msgspec.Struct):
    """`ready` is a descriptor to write a line to, -1 without a predecessor. `succeeds`: the sockets come from one."""

    listen: socket.socket | None = None
    ops: socket.socket | None = None
    ready: int = -1

    @property
    def succeeds(self) -> bool:
        """Whether another process waits for this one to be ready, and then ends."""
        return self.ready >= 0

    def say_ready(self) -> None:
        """Tell the predecessor, once."""
        if self.ready >= 0:
            with contextlib.suppress(OSError):
                _ = os.write(self.ready, b"ready\n")
            os.close(self.ready)
            self.ready = -1


def inherited(environ: Mapping[str, str], pid: int) -> Inherited:
    """Take what was handed to this process. StartFault when it is not what it should be."""
    if VARIABLE in environ:
        return _from_predecessor(environ[VARIABLE])
    if environ.get("LISTEN_PID") == str(pid) and environ.get("LISTEN_FDS", "").isdecimal():
        return _from_systemd(int(environ["LISTEN_FDS"]), environ.get("LISTEN_FDNAMES", ""))
    return Inherited()


def left_for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what was meant for this process alone."""
    return {name: value for name, value in environ.items() if name not in SYSTEMD and name != VARIABLE}


def require_same_port(settings: Settings, found: Inherited) -> None:
    """A successor serves on its predecessor's sockets, so their ports must still be the settings'. Raises StartFault."""
    for name, sock, port in (("listen", found.listen, settings.listen.port), ("ops", found.ops, settings.ops.port)):
        if found.succeeds and sock is not None and port not in (0, sock.getsockname()[1]):
            raise StartFault(f"{name}.port {port} is not that of the process to succeed: stop that one and start anew.")


def _from_predecessor(text: str) -> Inherited:
    try:
        numbers = {name: int(number) for name, _, number in (pair.partition("=") for pair in text.split())}
    except ValueError:
        raise StartFault(f"{VARIABLE} is not of our making: unset it.") from None
    found = Inherited(ready=numbers.get("ready", -1))
    for name in ("listen", "ops"):
        if name in numbers:
            setattr(found, name, _socket(numbers[name], VARIABLE))
    if found.ready >= 0:
        os.set_inheritable(found.ready, False)  # noqa: FBT003
    return found


def _from_systemd(count: int, names: str) -> Inherited:
    found = Inherited()
    given = names.split(":") if names else []
    for place in range(count):
        name = NAMES.get(given[place] if place < len(given) else "", "listen" if count == 1 else "")
        if not name or getattr(found, name) is not None:
            raise StartFault("LISTEN_FDNAMES: systemd hands over sockets; name each, FileDescriptorName=listen or ops, once.")
        setattr(found, name, _socket(FIRST + place, "LISTEN_FDS"))
    return found


def _socket(number: int, variable: str) -> socket.socket:
    try:
        os.set_inheritable(number, False)  # noqa: FBT003
        sock = socket.socket(fileno=number)
        stream = sock.type == socket.SOCK_STREAM and sock.family in (socket.AF_INET, socket.AF_INET6)
    except OSError as error:
        raise StartFault(f"{variable}: descriptor {number} is no socket: {error.strerror}.") from None
    if not stream:
        raise StartFault(f"{variable}: descriptor {number} is no TCP socket: use ListenStream= with a port.")
    sock.setblocking(False)  # noqa: FBT003
    return sock
