"""The OAuth endpoints on the road: forwarded untouched, without a bearer verdict, and watched.

Off unless switched on. Bodies stream as everywhere; what is read of them are bounded copies, after the last octet has passed.
Only a refusal of the token endpoint is looked at before it leaves: the customer's provisioning stops there, so its record is
on disk first.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.exchange import AnsweredBy
from proxy.core.headers import answer_fields
from proxy.core.inbound import Inbound
from proxy.core.incident import Case, Incident, Kind
from proxy.core.memory import OauthEvent
from proxy.core.oauth import COPY_LIMIT, Answer, Call, Copy, Paths, endpoint_of, event_of, read_answer, read_call, refused
from proxy.core.scim import Kind as Does
from proxy.core.scim import Operation
from proxy.edge.client_connection import ClientConnection
from proxy.edge.forward import Forwarder, Sending
from proxy.edge.passage import UNKNOWN_TENANT, Passage, Witness

PEEK_SECONDS: Final = 1.0
"""How long a refusal's body is waited for before it is recorded and passed on without it."""


class Ledger(Protocol):
    """Who keeps the calls."""

    def owner_of(self, refresh: str) -> str:
        """The access token that a refresh token was issued with, both by fingerprint; nothing where that is not known."""

    def recalled(self, event: OauthEvent) -> OauthEvent:
        """The call with what memory has of it: whose it is, and what became of the refresh token or code before."""

    def saw(self, event: OauthEvent, issued: Secret | None) -> None:
        """Take notice of a call that has ended, and of the token that it issued. Never waits."""


class _Tape:
    """The copy of a body that passes."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def __call__(self, octets: bytes) -> None:
        self._size += len(octets)
        if self._size <= COPY_LIMIT:
            self._parts.append(octets)
        else:
            self._parts.clear()

    def copy(self, *, whole: bool) -> Copy:
        if self._size > COPY_LIMIT:
            return Copy(unread="too_large")
        return Copy(b"".join(self._parts), "" if whole else "incomplete")


class OauthFront:
    """See the module."""

    def __init__(
        self, paths: Paths, instance: str, fingerprinter: Fingerprinter, forwarder: Forwarder, witness: Witness, ledger: Ledger
    ) -> None:
        self._paths = paths
        self._instance = instance
        self._name = fingerprinter.of
        self._forwarder = forwarder
        self._witness = witness
        self._ledger = ledger

    def endpoint(self, request: Inbound) -> str:
        """Which endpoint a request is for, nothing for every other request."""
        return endpoint_of(request.method, request.target, self._paths)

    async def walk(self, client: ClientConnection, request: Inbound, passage: Passage, endpoint: str) -> None:
        """Forward a call, give its answer back, and have it noted. Raises ExchangeError and Unrecorded."""
        passage.operation = Operation(Does.OAUTH, endpoint, writes=request.method not in (b"GET", b"HEAD"))
        passage.hidden = read_call(endpoint, request.target, request.fields, Copy(), self._name).secrets
        started = time.monotonic()
        sending = await self._forwarder.send(client, request, passage)
        passage.backend_seconds = time.monotonic() - started
        try:
            if endpoint == "token" and 400 <= sending.answer.status < 500:
                await self._refusal(client, request, passage, sending)
            else:
                await self._watch(client, request, passage, sending)
        except BaseException:
            self._forwarder.abandon(client, sending)
            raise
        self._forwarder.end(client, sending)

    async def _watch(self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending) -> None:
        tape = _Tape()
        try:
            await self._forwarder.relay(client, request, passage, sending, answer_fields(sending.answer), tape)
        finally:
            # a client that left before it had the answer has changed its token all the same
            self._note(request, passage, sending, tape.copy(whole=sending.connection.complete))

    async def _refusal(self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending) -> None:
        body = await sending.connection.peek_body(COPY_LIMIT, PEEK_SECONDS)
        call, answer, event = self._note(
            request, passage, sending, Copy(body, "" if sending.connection.complete else "incomplete")
        )
        lines = answer_fields(sending.answer)
        if refused(call.endpoint, answer):
            passage.answered(AnsweredBy.BACKEND, answer.status)
            self._record(passage, sending, call, event)
            lines.append(b"X-Incident-Id: %b\r\n" % passage.incident.encode())
        await self._forwarder.relay(client, request, passage, sending, lines)

    def _note(self, request: Inbound, passage: Passage, sending: Sending, body: Copy) -> tuple[Call, Answer, OauthEvent]:
        """Read both copies and have the call noted."""
        flow = sending.flow
        asked = Copy() if flow is None else flow.copy
        call = read_call(passage.operation.resource, request.target, request.fields, asked, self._name)
        answer = read_answer(sending.answer.status, sending.answer.fields, body, self._name)
        issued = tuple(secret for secret in (answer.created, answer.refresh, answer.code) if secret is not None)
        passage.hidden = (*call.secrets, *issued)
        agent = passage.exchange("").user_agent
        event = event_of(call, answer, passage.at, passage.id, agent, self._ledger.owner_of)
        event = passage.oauth = self._ledger.recalled(event)
        self._ledger.saw(event, answer.created if answer.granted else None)
        return call, answer, event

    def _record(self, passage: Passage, sending: Sending, call: Call, event: OauthEvent) -> None:
        """Put a refusal on record, or count it where it repeats one. Raises Unrecorded."""
        tenant = event.tenant or UNKNOWN_TENANT
        reason = event.error or f"status_{event.status}"
        fingerprint = event.presented or event.refresh_presented
        # two codes, or two clients without one, are two stories: the network that they share is the identity provider's
        of = fingerprint or event.code or (self._name(event.client.encode()) if event.client else "")
        case = Case(
            tenant, of, Kind.OAUTH_REFUSAL, f"{event.grant_type}:{reason}", passage.client, passage.id, passage.at,
            known=bool(event.presented),
        )  # fmt: skip
        admission = self._witness.admit(case)
        passage.incident = admission.incident_id
        if not admission.fresh:
            return
        secret = call.refresh if event.refresh_presented else None
        incident = Incident(
            id=passage.incident,
            at=passage.at,
            kind=Kind.OAUTH_REFUSAL,
            tenant=tenant,
            fingerprint=fingerprint,
            reason=reason,
            exchange=passage.exchange(tenant),
            instance=self._instance,
            # without the body: a server may repeat there in any coding what it was sent
            backend=passage.backend_answer(event.status, sending.answer.fields, b"", cut=False),
            history=self._witness.history(event.presented) if event.presented else None,
            credential_length=len(secret) if secret is not None else 0,
            oauth=event,
        )
        self._witness.record(incident, secret, admission)
