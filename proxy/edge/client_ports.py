"""What a client connection needs from its neighbours: a road to walk, an owner that counts, and whoever its bytes go to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from proxy.core.grammar import Fault
from proxy.core.headers import Peer
from proxy.core.inbound import BadCredential, Inbound
from proxy.edge.faults import ExchangeError

if TYPE_CHECKING:
    from proxy.edge.client_connection import ClientConnection

Refused = Fault | BadCredential
Sink = Callable[[bytes], None]


class Flight(Protocol):
    """A request under way without a coroutine."""

    async def walk(self) -> None:
        """Go on with one."""

    def cancel(self) -> None:
        """The connection has ended: give up, and bear witness of it."""


class Road(Protocol):
    """What walks a request from head to answer."""

    async def walk(self, client: ClientConnection, request: Inbound | Refused) -> None:
        """Answer one request. Sets `client.keep` to False when the connection must end after it."""

    def depart(self, client: ClientConnection, request: Inbound) -> bool:
        """Send a request on its way without a coroutine: `client.flight` is set, and later its `landed` or `walk_on` called.
        False when the request must be walked; nothing has been done of it then."""


class Owner(Protocol):
    """What keeps count of connections. `road` is the one in force: another may take its place between two requests."""

    draining: bool
    road: Road

    def joined(self, client: ClientConnection) -> bool:
        """Register, and start `client.serve`; False when there are too many."""

    def left(self, client: ClientConnection) -> None:
        """Unregister."""


class PeerOf(Protocol):
    """Turns a transport's peer name into a Peer."""

    def __call__(self, name: object, tls: bool) -> Peer:  # noqa: FBT001
        """`name` is what get_extra_info("peername") gave."""


class Counterpart(Protocol):
    """Whoever the connection's bytes go to and come from just now."""

    def fail(self, fault: ExchangeError) -> None:
        """The client's side broke."""

    def pause_reading(self) -> None:
        """The client takes no more."""

    def resume_reading(self) -> None:
        """The client takes more."""
