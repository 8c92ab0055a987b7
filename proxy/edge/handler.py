"""The road, on one screen: extract, look up, decide, forward or answer, bear witness."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from proxy.core.credential import Bearer, Credential, Fingerprinter, Malformed, Secret, extract
from proxy.core.exchange import GRANTED, AnsweredBy
from proxy.core.grammar import Fault
from proxy.core.headers import answer_fields, value_of, values_of
from proxy.core.inbound import BadCredential, Here, Inbound
from proxy.core.incident import BACKEND_BODY_LIMIT, BackendAnswer, Kind, Unrecorded
from proxy.core.policy import Mode, OnDisagreement, Policy
from proxy.core.scim import Operation, classify
from proxy.core.verdict import Allow, Deny, Reason, Unable
from proxy.edge import answers
from proxy.edge.client_connection import ClientConnection
from proxy.edge.elsewhere import elsewhere
from proxy.edge.faults import ExchangeError, FaultKind
from proxy.edge.forward import NO_ANSWER, Forwarder, Sending
from proxy.edge.judge import Judge, Judgement
from proxy.edge.limits import Rate
from proxy.edge.listener import Peers
from proxy.edge.oauth import OauthFront
from proxy.edge.passage import Passage, Witness, build_incident, holds_valid

PEEK_SECONDS: Final = 1.0
"""How long a refusing backend's body is waited for before its answer is recorded and passed on without it."""


class RoadOptions(msgspec.Struct, frozen=True):
    """What the road needs to know of the deployment. `query_token` and `form_token` let a token stand there too (RFC 6750
    sections 2.2 and 2.3). `retry_body_limit` in octets. `probe_target` is the secret target at which our own heartbeat
    proves that the listener works; it is answered here and never forwarded or counted."""

    instance: str
    realm: str = "SCIM"
    base_path: bytes = b""
    query_token: bool = False
    form_token: bool = False
    explain_refusals: bool = True
    retry_body_limit: int = 65_536
    probe_target: bytes = b""


class Handler:
    """See the module. One for all connections; what belongs to a request is in its Passage."""

    def __init__(
        self,
        options: RoadOptions,
        policy: Policy,
        fingerprinter: Fingerprinter,
        judge: Judge,
        forwarder: Forwarder,
        witness: Witness,
        peers: Peers,
        tenant_of_route: Callable[[Inbound], str],
        report: Callable[[str, BaseException], None],
        oauth: OauthFront | None = None,
        requests: Rate | None = None,
        refusals: Rate | None = None,
    ) -> None:
        self.inflight = 0
        self._requests = requests
        self._refusals = refusals
        self._oauth = oauth
        self._options = options
        self._policy = policy
        self._fingerprinter = fingerprinter
        self._judge = judge
        self._forwarder = forwarder
        self._witness = witness
        self._peers = peers
        self._tenant_of_route = tenant_of_route
        self._report = report
        self._prefix = f"{options.instance}-{int(time.time() * 1000):x}-"  # two of one name never begin in one millisecond
        self._counter = itertools.count(1)

    async def walk(self, client: ClientConnection, request: Inbound | Fault | BadCredential) -> None:
        """See client_connection.Road."""
        if isinstance(request, Inbound) and request.target == self._options.probe_target:
            client.write(answers.PROBE)
            return
        passage = self._passage(client, request)
        self.inflight += 1
        await self._to_the_end(client, passage, self._walk(client, request, passage))

    async def go_on(
        self,
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
        sending: Sending,
        started: float,
        error: Exception | None,
    ) -> None:
        """Walk on with a request that was sent at `started` (monotonic) without a coroutine; `error` is what stopped it."""
        await self._to_the_end(client, passage, self._resume(client, request, passage, sending, started, error))

    def depart(self, client: ClientConnection, request: Inbound) -> bool:
        """See Road: here everything is walked."""
        del client, request
        return False

    def ordinary(self, client: ClientConnection, request: Inbound) -> Passage | None:
        """The passage of a request whose token is known and good by what is in memory; None when it has to be walked."""
        if self._requests is not None or request.answered_here:
            return None
        if request.target == self._options.probe_target or (self._oauth is not None and self._oauth.endpoint(request)):
            return None
        credential = self._credential(client, request)
        if not isinstance(credential, Bearer):
            return None
        operation = self._operation(request)
        judgement = self._judge.from_memory(credential, operation)
        if judgement is None or not isinstance(judgement.verdict, Allow):
            return None
        passage = self._passage(client, request)
        passage.credential = credential
        passage.operation = operation
        passage.judgement = judgement
        return passage

    def finish(self, client: ClientConnection, passage: Passage) -> None:
        """The exchange is over: everybody who takes notice of it is told."""
        self.inflight -= 1
        passage.bytes_in = client.body_octets
        self._witness.saw(passage.exchange(passage.tenant(self._witness)))

    async def _to_the_end(self, client: ClientConnection, passage: Passage, road: Awaitable[None]) -> None:
        try:
            await road
        except ExchangeError as error:
            self._broken(client, passage, error.kind)
        except Unrecorded:
            self._broken(client, passage, FaultKind.EVIDENCE_UNAVAILABLE)
        except asyncio.CancelledError:
            passage.fault = passage.fault or FaultKind.CLIENT_GONE
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours is a 503, reported; never a 401 and never a leak
            self._report("road", error)
            self._broken(client, passage, FaultKind.INTERNAL)
        finally:
            self.finish(client, passage)

    async def _walk(self, client: ClientConnection, request: Inbound | Fault | BadCredential, passage: Passage) -> None:
        if not isinstance(request, Inbound):
            self._refuse_message(client, request, passage)
            return
        if self._requests is not None and (wait := self._requests.of_address(passage.client)):
            passage.credential = self._credential(client, request)  # so that it is masked in what is written
            self._too_many(client, passage, FaultKind.TOO_MANY_REQUESTS, wait, bodiless=request.method == b"HEAD")
            return
        if self._oauth is not None and not request.answered_here and (endpoint := self._oauth.endpoint(request)):
            await self._oauth.walk(client, request, passage, endpoint)
            return
        credential = passage.credential = self._credential(client, request)
        if not isinstance(credential, Bearer) and (self._options.query_token or self._options.form_token):
            o = self._options
            credential = passage.credential = await elsewhere(
                client, request, passage, self._fingerprinter, form=o.form_token, query=o.query_token
            )
        operation = passage.operation = self._operation(request)
        judgement = self._judge.from_memory(credential, operation)
        if judgement is None and isinstance(credential, Bearer):
            judgement = await self._judge.from_source(credential.secret, operation)
            passage.lookup_seconds = time.monotonic() - passage.started
        passage.judgement = judgement
        if client.fault is not None:
            raise client.fault
        match judgement.verdict if judgement is not None else None:
            case Allow():
                await self._forward(client, request, passage)
            case Deny() | Unable() if self._policy.mode_of(passage.tenant(self._witness)) is Mode.OBSERVE:
                await self._observe(client, request, passage)
            case Deny() as denial:
                self._refuse(client, passage, denial, bodiless=request.method == b"HEAD")
            case _:
                self._unable(client, passage)

    # --- extract ----------------------------------------------------------------------------------------------------

    def _passage(self, client: ClientConnection, request: Inbound | Fault | BadCredential) -> Passage:
        identity = self._prefix + format(next(self._counter), "x")
        if isinstance(request, BadCredential) and request.request is not None:
            request = request.request
        if not isinstance(request, Inbound):
            return Passage(identity, None, client.address)
        address = client.address
        if client.peer.trusted:
            address = self._peers.client(client.peer, values_of(request.fields, b"x-forwarded-for"))
        passage = Passage(identity, request, address)
        passage.route_tenant = self._tenant_of_route(request)
        return passage

    def _credential(self, client: ClientConnection, request: Inbound) -> Credential:
        """Read the credential. A connection mostly brings the same one again: then it is not read anew."""
        fields, credential = client.presented
        if fields != request.authorization:
            credential = extract(request.authorization, self._fingerprinter)
            client.presented = (request.authorization, credential)
        return credential

    def _operation(self, request: Inbound) -> Operation:
        operation = classify(request.method, request.target, self._options.base_path)
        if request.overrides and not operation.writes:
            return msgspec.structs.replace(operation, writes=True)
        return operation

    # --- refuse -----------------------------------------------------------------------------------------------------

    def _refuse(self, client: ClientConnection, passage: Passage, denial: Deny, *, bodiless: bool) -> None:
        """Refuse with a 401 or 403: the record is on disk before the answer leaves."""
        if self._refusals is not None:
            row = passage.judgement.row if passage.judgement is not None else None
            known = row is not None or bool(passage.fingerprint and self._witness.tenant_of(passage.fingerprint))
            tenant = passage.tenant(self._witness)
            # what happened to a known token is what this is for: strangers at its address must not keep it off the record
            if wait := (0.0 if known else self._refusals.of_address(passage.client)) or self._refusals.of_tenant(tenant):
                self._too_many(client, passage, FaultKind.TOO_MANY_REFUSALS, wait, bodiless=bodiless)
                return
        self._put_on_record(passage, Kind.REFUSAL, denial.status)
        client.leave_unread()
        o = self._options
        client.write(
            answers.refusal(denial.reason, denial.status, passage.incident, o.realm, keep=client.keep, bodiless=bodiless)
        )

    def _too_many(self, client: ClientConnection, passage: Passage, kind: FaultKind, wait: float, *, bodiless: bool) -> None:
        """Say when to come again. Nobody is refused by it, so no incident is put on record."""
        passage.fault = kind
        passage.answered(AnsweredBy.PROXY, answers.FAULTS[kind][0])
        client.leave_unread()
        client.write(answers.too_many(kind, math.ceil(wait), keep=client.keep, bodiless=bodiless))

    def _put_on_record(self, passage: Passage, kind: Kind, status: int) -> None:
        passage.answered(AnsweredBy.PROXY, status)
        judgement = passage.judgement
        self._record(passage, kind, judgement.verdict.reason if judgement is not None else "", None, None)

    def _record(self, passage: Passage, kind: Kind, reason: str, after: Judgement | None, said: BackendAnswer | None) -> None:
        """Put a refusal on record, or count it where it repeats one. Raises Unrecorded."""
        admission = self._witness.admit(passage.case(self._witness, kind, reason))
        passage.incident = admission.incident_id
        if admission.fresh:
            incident = build_incident(passage, self._witness, kind, self._options.instance, after, said)
            self._witness.record(incident, passage.secret, admission)

    def _refuse_message(self, client: ClientConnection, message: Fault | BadCredential, passage: Passage) -> None:
        """Refuse a message that was not understood; within the credential it is a refusal like any other."""
        client.keep = False
        if isinstance(message, Fault):
            passage.answered(AnsweredBy.PROXY, message.status)
            passage.judgement = None
            client.write(answers.malformed(message))
            return
        presented = message.presented
        passage.credential = Malformed(message.why, Secret(presented, self._fingerprinter.of(presented) if presented else ""))
        denial = Deny(Reason.MALFORMED_CREDENTIAL, 401)
        passage.judgement = Judgement(denial)
        self._refuse(client, passage, denial, bodiless=message.bodiless)

    def _unable(self, client: ClientConnection, passage: Passage) -> None:
        client.leave_unread()
        passage.answered(AnsweredBy.PROXY, 503)
        bodiless = passage.request is not None and passage.request.method == b"HEAD"
        client.write(answers.unable(Reason.SOURCE_UNAVAILABLE, keep=client.keep, bodiless=bodiless))

    def _broken(self, client: ClientConnection, passage: Passage, kind: FaultKind) -> None:
        """The exchange broke: answer if nothing was answered yet, else show the break."""
        passage.fault = kind
        if kind in NO_ANSWER or client.gone:
            return
        if client.answer_started:
            client.break_off()
            return
        client.leave_unread()
        passage.incident = ""
        passage.answered(AnsweredBy.PROXY, answers.FAULTS[kind][0])
        bodiless = passage.request is not None and passage.request.method == b"HEAD"
        client.write(answers.fault(kind, keep=client.keep, bodiless=bodiless))

    def _answer_here(self, client: ClientConnection, request: Inbound, passage: Passage) -> None:
        client.leave_unread()
        asked = request.answered_here is Here.ASKED
        passage.answered(AnsweredBy.PROXY, GRANTED if asked else 204)
        row = passage.judgement.row if passage.judgement is not None else None
        scopes, tenant = row.scopes if row is not None else (), passage.tenant(self._witness)
        granted = answers.granted(tenant, passage.fingerprint, scopes, keep=client.keep)
        client.write(granted if asked else answers.options(keep=client.keep))

    # --- forward ----------------------------------------------------------------------------------------------------

    async def _observe(self, client: ClientConnection, request: Inbound, passage: Passage) -> None:
        """Forward what enforce would have refused, and say so on record."""
        passage.observed = True
        if passage.judgement is not None and isinstance(passage.judgement.verdict, Deny):
            try:
                self._put_on_record(passage, Kind.WOULD_REFUSE, 0)
            except Unrecorded as error:
                self._report("witness", error)
            passage.answered(AnsweredBy.NOBODY, 0)
        await self._forward(client, request, passage)

    async def _forward(self, client: ClientConnection, request: Inbound, passage: Passage) -> None:
        if self._requests is not None and (wait := self._requests.of_tenant(passage.tenant(self._witness))):
            self._too_many(client, passage, FaultKind.TOO_MANY_REQUESTS, wait, bodiless=request.method == b"HEAD")
            return
        if request.answered_here:
            self._answer_here(client, request, passage)
            return
        started = time.monotonic()
        sending = await self._forwarder.send(client, request, passage, passage.gathered)
        passage.backend_seconds = time.monotonic() - started
        await self._answer(client, request, passage, sending)

    async def _resume(
        self,
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
        sending: Sending,
        started: float,
        error: Exception | None,
    ) -> None:
        if error is not None:
            self._forwarder.abandon(client, sending)
            raise error
        await self._forwarder.go_on(client, request, passage, sending)
        passage.backend_seconds = time.monotonic() - started
        await self._answer(client, request, passage, sending)

    async def _answer(self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending) -> None:
        try:
            if sending.answer.status in (401, 403):
                await self._backend_refused(client, request, passage, sending)
            else:
                await self._forwarder.relay(client, request, passage, sending, answer_fields(sending.answer))
        except BaseException:
            self._forwarder.abandon(client, sending)
            raise
        self._forwarder.end(client, sending)

    async def _backend_refused(
        self, client: ClientConnection, request: Inbound, passage: Passage, sending: Sending, *, retried: bool = False
    ) -> None:
        """The backend refused: read the source at once, put both on record, then act as the policy says. Only a 401 can
        disagree with us: a 403 is an answer about the operation, and always passed on."""
        body = await sending.connection.peek_body(BACKEND_BODY_LIMIT, PEEK_SECONDS)
        after = None
        if isinstance(passage.credential, Bearer):
            after = await self._judge.fresh(passage.credential.secret, passage.operation)
        disagreed = sending.answer.status == 401 and holds_valid(after) and not passage.observed
        if disagreed and not retried and self._may_retry(sending):
            self._record_backend(passage, sending, body, after, Kind.DISAGREEMENT)
            await self._forwarder.again(client, request, passage, sending)
            if sending.answer.status in (401, 403):
                await self._backend_refused(client, request, passage, sending, retried=True)
                return
            await self._forwarder.relay(client, request, passage, sending, answer_fields(sending.answer))
            return
        if disagreed and self._policy.on_disagreement is OnDisagreement.UNAVAILABLE:
            self._record_backend(passage, sending, body, after, Kind.DISAGREEMENT)
            self._forwarder.abandon(client, sending)
            self._disagree(client, request, passage)
            return
        self._record_backend(passage, sending, body, after, Kind.BACKEND_REFUSAL)
        await self._pass_refusal(client, request, passage, sending, after, empty=not body)

    def _may_retry(self, sending: Sending) -> bool:
        """A 401 was not processed, so that it may be sent again."""
        return self._policy.on_disagreement is OnDisagreement.RETRY_ONCE and sending.replayable(self._options.retry_body_limit)

    def _disagree(self, client: ClientConnection, request: Inbound, passage: Passage) -> None:
        client.leave_unread()
        passage.answered(AnsweredBy.PROXY, 503)
        client.write(answers.disagreement(passage.incident, keep=client.keep, bodiless=request.method == b"HEAD"))

    def _record_backend(self, passage: Passage, sending: Sending, body: bytes, after: Judgement | None, kind: Kind) -> None:
        answer = sending.answer
        passage.answered(AnsweredBy.BACKEND, answer.status)
        said = passage.backend_answer(answer.status, answer.fields, body, cut=not sending.connection.complete)
        self._record(passage, kind, f"backend:{after.verdict.reason if after is not None else ''}", after, said)

    async def _pass_refusal(
        self,
        client: ClientConnection,
        request: Inbound,
        passage: Passage,
        sending: Sending,
        after: Judgement | None,
        *,
        empty: bool,
    ) -> None:
        answer = sending.answer
        lines = answer_fields(answer)
        says_json = b"json" in value_of(answer.fields, b"content-type").lower()
        speaks = says_json and (answer.bodiless or not (empty and sending.connection.complete))
        if speaks or not self._options.explain_refusals:
            lines.append(b"X-Incident-Id: %b\r\n" % passage.incident.encode())
            await self._forwarder.relay(client, request, passage, sending, lines)
            return
        client.leave_unread()
        passage.answered(AnsweredBy.BACKEND, answer.status)
        reason = after.verdict.reason if after is not None else "not presented"
        bodiless = request.method == b"HEAD"
        client.write(answers.explained(answer, lines, reason, passage.incident, keep=client.keep, bodiless=bodiless))
