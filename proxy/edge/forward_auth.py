"""The road for fronts that only ask: their questions become the requests that are asked about, everything else passes by."""

from __future__ import annotations

import msgspec

from proxy.core.forward_auth import Front, asked_about, is_question
from proxy.core.grammar import Fault, Limits
from proxy.core.inbound import BadCredential, Inbound
from proxy.edge.client_connection import ClientConnection
from proxy.edge.client_ports import Refused, Road


class ForwardAuth:
    """Stands before the road. Only our own proxies may ask: what a question says of client and request is believed."""

    def __init__(self, road: Road, path: bytes, front: Front, limits: Limits) -> None:
        self._road = road
        self._path = path
        self._front = front
        self._limits = limits

    async def walk(self, client: ClientConnection, request: Inbound | Refused) -> None:
        """See client_ports.Road."""
        inbound = request.request if isinstance(request, BadCredential) else request
        if isinstance(inbound, Inbound) and is_question(inbound.target, self._path, self._front):
            asked: Inbound | Refused = Fault(400, "forward_auth_peer_not_trusted")
            if client.peer.trusted:
                asked = asked_about(inbound, self._path, self._front, self._limits)
            if isinstance(request, BadCredential) and isinstance(asked, Inbound):
                asked = msgspec.structs.replace(request, request=asked)
            request = asked
        await self._road.walk(client, request)

    def depart(self, client: ClientConnection, request: Inbound) -> bool:
        """See client_ports.Road."""
        return not is_question(request.target, self._path, self._front) and self._road.depart(client, request)
