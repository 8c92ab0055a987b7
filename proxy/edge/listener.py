"""The listening socket of the data plane: accepts within a bound, and drains without cutting anybody off."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Final, cast

import msgspec

from proxy.core.credential import Missing
from proxy.core.grammar import Limits
from proxy.core.headers import Peer
from proxy.core.proxy_header import Told
from proxy.edge.client_connection import ClientConnection, Times
from proxy.edge.client_ports import PeerOf, Road
from proxy.edge.deadlines import Deadlines
from proxy.edge.door import Door, Refused, Terms
from proxy.tasks import Tasks

DRAIN_IDLE: Final = 2.0
"""Seconds a connection may stay idle while draining: a request that was on its way when draining began is still answered."""
TURNED_AWAY_LIMIT: Final = 100
"""Connections beyond the limit that are told so with a 503, which takes each up to LINGER_SECONDS; more are cut at once."""
DRAIN_POLL: Final = 0.05
"""Seconds between looks at how many are left."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ListenerOptions(msgspec.Struct, frozen=True):
    """Bounds of the data plane. See settings. `proxy_protocol`: whoever is one of our own proxies sends its header first.
    `refused` hears of TLS handshakes that failed: whose, by address, and why."""

    limits: Limits = Limits()
    times: Times = Times()
    max_connections: int = 10_000
    backlog: int = 1_024
    tls: ssl.SSLContext | None = None
    proxy_protocol: bool = False
    refused: Refused | None = None


class Peers:
    """Tells who is on a connection, and whether it is one of our own proxies in front."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)

    def __call__(self, name: object, tls: bool) -> Peer:  # noqa: FBT001
        """See PeerOf."""
        address = str(name[0]) if isinstance(name, tuple) and name else "unix"
        if address[:7] == "::ffff:":
            address = _address(address) or address
        return Peer(address.encode(), trusted=self.trusts(address), scheme=b"https" if tls else b"http")

    def behind(self, told: Told) -> PeerOf:
        """Who is on a connection of which a proxy in front has told."""
        return lambda name, tls: self((told.address, told.port) if told.address else name, tls or told.tls)

    def trusts(self, address: str) -> bool:
        """Whether an address belongs to one of our own proxies."""
        if not self._trusted:
            return False
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self._trusted)

    def client(self, peer: Peer, forwarded_for: Sequence[bytes]) -> str:
        """The client's address: the peer's, or behind our own proxies the first stranger from the right."""
        address = peer.address.decode("ascii", "replace")
        if not peer.trusted or not forwarded_for:
            return address
        for hop in reversed(b",".join(forwarded_for).split(b",")):
            candidate = _address(hop.strip(b" \t").decode("ascii", "replace"))
            if candidate is None:
                return address
            address = candidate
            if not self.trusts(candidate):
                break
        return address


def _address(text: str) -> str | None:
    """An address as a proxy in front writes it: bare, in brackets, or with the port that some (Azure's) add; IPv4 as such
    when it came in IPv6's clothes."""
    if text[:1] == "[":
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
    return None if parsed is None else str(getattr(parsed, "ipv4_mapped", None) or parsed)


class Listener:
    """Owns the client connections."""

    def __init__(self, options: ListenerOptions, road: Road, deadlines: Deadlines, tasks: Tasks, peers: Peers) -> None:
        self.draining = False
        self.turned_away = 0
        self.road = road
        self._options = options
        self._deadlines = deadlines
        self._tasks = tasks
        self._peers = peers
        self._clients: set[ClientConnection] = set()
        self._leaving: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._door: Door | None = None

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def accepting(self) -> bool:
        """Whether new connections are accepted."""
        if self._door is not None:
            return self._door.is_open
        return self._server is not None and self._server.is_serving()

    @property
    def entering(self) -> int:
        """Connections that have not yet come to HTTP: their TLS handshake or their PROXY header is under way."""
        return self._door.entering if self._door is not None else 0

    async def start(self, sock: socket.socket) -> None:
        """Accept on a bound socket."""
        o = self._options
        if o.tls is not None or o.proxy_protocol:
            self._door = Door(sock, self._tasks, self._terms, self._admits, self._behind)
            self._door.open(o.backlog)
        else:
            self._server = await asyncio.get_running_loop().create_server(self._connection, sock=sock, backlog=o.backlog)

    def switch(self, options: ListenerOptions, road: Road, peers: Peers) -> None:
        """From now on every request walks another road, and new connections have other bounds. Nothing in flight notices."""
        self._options, self.road, self._peers = options, road, peers
        for client in self._clients:
            client.presented = ([], Missing())  # the new road may know the same credential by another name

    def _connection(self) -> asyncio.Protocol:
        o = self._options
        return cast("asyncio.Protocol", ClientConnection(self, self._deadlines, o.limits, o.times, self._peers))

    def _terms(self) -> Terms:
        o, trusts = self._options, self._peers.trusts
        return Terms(o.times.head, o.tls, trusts if o.proxy_protocol else _never, o.refused)

    def _admits(self, entering: int) -> bool:
        admits = len(self._clients) + entering < self._options.max_connections
        self.turned_away += not admits
        return admits

    def _behind(self, told: Told) -> asyncio.Protocol:
        o = self._options
        peer_of = self._peers.behind(told)
        return cast("asyncio.Protocol", ClientConnection(self, self._deadlines, o.limits, o.times, peer_of))

    def joined(self, client: ClientConnection) -> bool:
        """See Owner."""
        if len(self._clients) >= self._options.max_connections:
            self.turned_away += 1
            self._leaving.add(client)
            if len(self._leaving) > TURNED_AWAY_LIMIT:
                client.break_off()
            return False
        self._clients.add(client)
        client.task = self._tasks.start(client.serve(), "client")
        return True

    def left(self, client: ClientConnection) -> None:
        """See Owner."""
        self._clients.discard(client)
        self._leaving.discard(client)

    async def drain(self, seconds: float) -> int:
        """Stop accepting, let every exchange end, within `seconds`. Returns how many connections had to be cut."""
        self.draining = True
        if self._server is not None:
            await _close(self._server)
        if self._door is not None:
            self._door.close()
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(DRAIN_POLL)  # what the kernel had handed over before we closed joins within the loop's next turns
        while (self._clients or self.entering) and (passed := loop.time() - started) < seconds:
            if passed >= min(DRAIN_IDLE, seconds / 2):
                for client in list(self._clients):
                    client.close_if_idle()
            await asyncio.sleep(DRAIN_POLL)
        return self.cut()

    def cut(self) -> int:
        """Break every connection off, whatever is under way on it. Returns how many there were."""
        cut = list(self._clients)
        for client in cut:
            client.break_off()
        return len(cut)


async def _close(server: asyncio.AbstractServer) -> None:
    """Accept no more. asyncio's own server drops what it accepted in the turn in which it is closed, open and unheard: so it
    stops listening first, and is closed when what it has accepted stands on its own."""
    if isinstance(server, asyncio.Server):
        loop = asyncio.get_running_loop()
        for listening in server.sockets:
            loop.remove_reader(listening)
        for _ in range(2):
            await asyncio.sleep(0)
    server.close()


def _never(address: str) -> bool:
    del address
    return False


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP socket for listening. Raises OSError naming what is wrong."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)  # noqa: FBT003
    except BaseException:
        sock.close()
        raise
    return sock
