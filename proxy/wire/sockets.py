"""The sockets that the program listens on, bound here or handed to it, and the file that it logs to."""

from __future__ import annotations

import errno
import socket
from typing import Final

import structlog

from proxy.edge.listener import bind
from proxy.observe.log import configure
from proxy.observe.sink import Sink
from proxy.settings import Settings
from proxy.wire.state import StartFault

Address = tuple[str, int]

_REACHABLE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here, reached

_log = structlog.get_logger("program")


def open_log(settings: Settings, *, warn: bool = True) -> Sink:
    """Open the log, and say in it what is unwise about the settings. Raises StartFault."""
    log = settings.log
    try:
        sink = Sink(log.destination)
    except OSError as error:
        raise StartFault(
            f"log.destination {log.destination}: {error.strerror}. Name a file that this user may write."
        ) from None
    configure(sink, log.level)
    for warning in settings.warnings if warn else ():
        _log.warning("settings", key=warning.key, detail=warning.message, fix=warning.fix)
    return sink


def listening(settings: Settings, given: socket.socket | None) -> socket.socket:
    """The socket for clients: the one that was handed over, else one of our own. Raises StartFault."""
    return given or _bound("listen", settings.listen.host, settings.listen.port)


def ops_listening(settings: Settings, given: socket.socket | None) -> socket.socket:
    """The same for operators."""
    return given or _bound("ops", settings.ops.host, settings.ops.port)


def _bound(section: str, host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        raise StartFault(f"{section}.port: {host}:{port} {_why(error, section, port)}") from None


def _why(error: OSError, section: str, port: int) -> str:
    """What is wrong with an address, and what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"is in use. End what listens there (ss -ltnp 'sport = :{port}' names it), or set another {section}.port."
        case errno.EACCES:
            return f"is not for this user. Set {section}.port to 1024 or above, or allow the user to bind it."
        case errno.EADDRNOTAVAIL:
            return f"is no address of this machine. Set {section}.host to one that is, or to 0.0.0.0."
        case _:
            return f"cannot be taken ({error.strerror}). Set {section}.host and {section}.port."


def address_of(sock: socket.socket) -> Address:
    """Host and port that a socket is bound to."""
    host, port = sock.getsockname()[:2]
    return host, port


def reachable(address: Address) -> Address:
    """Where the address can be called from this machine."""
    return _REACHABLE.get(address[0], address[0]), address[1]


def text_of(address: Address) -> str:
    """For the log."""
    return f"{address[0]}:{address[1]}"
