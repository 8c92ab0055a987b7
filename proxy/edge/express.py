"""The ordinary request without a coroutine: a token in memory, an idle connection to the backend, an answer that comes whole.

Nearly every request is like that, and waking a task twice for each costs a fifth of its time. The steps are the plain road's
own (Handler); only who calls them differs. What turns out not to be ordinary is walked, from its start or from where it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from proxy.core.headers import answer_fields
from proxy.core.inbound import Inbound
from proxy.core.outbound import Outbound
from proxy.edge.client_connection import ClientConnection
from proxy.edge.client_ports import Refused
from proxy.edge.faults import FaultKind
from proxy.edge.forward import Forwarder, Sending
from proxy.edge.handler import Handler
from proxy.edge.passage import Passage


class Express:
    """See the module. A Road, as Handler itself is one: the same requests get the same answers on either."""

    def __init__(self, handler: Handler, forwarder: Forwarder, report: Callable[[str, BaseException], None]) -> None:
        self._handler = handler
        self._forwarder = forwarder
        self._report = report

    async def walk(self, client: ClientConnection, request: Inbound | Refused) -> None:
        """See Road."""
        await self._handler.walk(client, request)

    def depart(self, client: ClientConnection, request: Inbound) -> bool:
        """See Road."""
        if request.expects_continue or not self._forwarder.has_idle():
            return False
        passage = self._handler.ordinary(client, request)
        if passage is None:
            return False
        flight = _Flight(self._handler, self._forwarder, self._report, client, request, passage)
        return flight.depart()


class _Flight:
    """One request under way."""

    __slots__ = ("_client", "_error", "_forwarder", "_handler", "_passage", "_report", "_request", "_sending", "_started")

    def __init__(
        self,
        handler: Handler,
        forwarder: Forwarder,
        report: Callable[[str, BaseException], None],
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
    ) -> None:
        self._handler = handler
        self._forwarder = forwarder
        self._report = report
        self._client = client
        self._request = request
        self._passage = passage
        self._sending: Sending
        self._error: Exception | None = None
        self._started = time.monotonic()

    def depart(self) -> bool:
        """Send the request; False when no idle connection was fit to carry it, and nothing has been done."""
        client = self._client
        sending = self._forwarder.prepare(client, self._request)
        if not self._forwarder.take_idle(sending, self._request.method):
            return False
        self._sending = sending
        self._handler.inflight += 1
        client.flight = self
        try:
            self._forwarder.begin(client, self._passage, sending, self._request.method)
            settled = sending.connection.tell(self._arrived)
        except Exception as error:  # noqa: BLE001 - the plain road knows what each means
            self._error = error
            settled = True
        if settled:
            client.walk_on()
        return True

    def _arrived(self) -> None:
        """The answer's head is here with whatever of its body came along, or a fault instead."""
        client, sending = self._client, self._sending
        answer = sending.connection.outcome
        if client.gone:
            self.cancel()
            return
        if not isinstance(answer, Outbound) or not self._ordinary(answer):
            client.walk_on()
            return
        sending.answer = answer
        self._passage.backend_seconds = time.monotonic() - self._started
        try:
            self._forwarder.deliver(client, self._request, self._passage, sending, answer_fields(answer))
            self._forwarder.end(client, sending)
        except Exception as error:  # noqa: BLE001 - the plain road knows what each means
            self._error = error
            client.walk_on()
            return
        self._land()

    def _ordinary(self, answer: Outbound) -> bool:
        """Whether request and answer are whole, and nobody has refused anything."""
        body = self._client.body
        return answer.status not in (401, 403) and self._sending.connection.complete and (body is None or body.done)

    def _land(self) -> None:
        try:
            self._handler.finish(self._client, self._passage)
        except Exception as error:  # noqa: BLE001 - it comes out of a callback of the loop otherwise
            self._report("road", error)
            self._client.break_off()
        self._client.landed()

    async def walk(self) -> None:
        """See Flight."""
        await self._handler.go_on(self._client, self._request, self._passage, self._sending, self._started, self._error)

    def cancel(self) -> None:
        """See Flight."""
        self._client.flight = None
        self._passage.fault = self._passage.fault or FaultKind.CLIENT_GONE
        self._forwarder.abandon(self._client, self._sending)
        self._handler.finish(self._client, self._passage)
