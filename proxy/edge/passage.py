"""What the road learns of one request while it walks: a scratch pad that ends as a frozen Exchange, and perhaps an Incident.

Here alone bytes of a client become text that is written down, so here alone they are masked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Final, Protocol

from proxy.core.credential import Bearer, Credential, Malformed, Missing, Secret, Several
from proxy.core.exchange import OAUTH, AnsweredBy, Exchange
from proxy.core.grammar import Fields
from proxy.core.headers import value_of, values_of
from proxy.core.history import TokenHistory
from proxy.core.inbound import Inbound
from proxy.core.incident import Admission, BackendAnswer, Case, Incident, Kind
from proxy.core.memory import OauthEvent
from proxy.core.scim import OTHER_READ, Operation, mask, printable
from proxy.core.scim import Kind as Does
from proxy.core.token import Reading, Unavailable
from proxy.core.verdict import Allow, Deny, Unable
from proxy.edge.faults import FaultKind
from proxy.edge.judge import Judgement

UNKNOWN_TENANT: Final = "_unknown"
MASK: Final = b"<token>"
_WORDS_WORTH_MASKING: Final = re.compile(rb"[!#-&(-+\--~]{8,}")
"""What may be a token in a credential that is no bearer: it is masked wherever else it stands. Quotes and commas part words."""
SHORTEST_PIECE: Final = 8
"""Octets of a token's beginning that are still taken out where a text was cut within it."""


_TAGS: Final = {Allow: "allow", Deny: "deny", Unable: "unable"}
_MISSING: Final = Missing()
_NOBODY: Final = AnsweredBy.NOBODY
TEXT_LIMIT: Final = 256
"""Octets of a client's own words that are written down."""
_WRITTEN: dict[bytes, str] = {}
_WRITTEN_LIMIT: Final = 1_024
"""Hosts and user agents remembered as text: real traffic has dozens; when strangers have filled it, it is emptied."""


def _written(raw: bytes) -> str:
    text = _WRITTEN.get(raw)
    if text is None:
        text = printable(raw, TEXT_LIMIT)
        if len(raw) <= TEXT_LIMIT:
            if len(_WRITTEN) >= _WRITTEN_LIMIT:
                _WRITTEN.clear()
            _WRITTEN[raw] = text
    return text


class Witness(Protocol):
    """Who keeps the evidence."""

    def admit(self, case: Case) -> Admission:
        """Say whether a refusal is an incident of its own or repeats one, which is then counted there."""

    def record(self, incident: Incident, secret: Secret | None, admission: Admission) -> None:
        """Put a fresh one on disk before returning, then follow it up. Raises Unrecorded."""

    def history(self, fingerprint: str) -> TokenHistory | None:
        """What memory has of a token."""

    def tenant_of(self, fingerprint: str) -> str:
        """The tenant that a token belonged to when it was last known, or nothing."""

    def saw(self, exchange: Exchange) -> None:
        """Take notice of a finished exchange: log, metrics, history, activity."""


class Passage:
    """One request on the road. Times: `at` epoch seconds, `started` monotonic."""

    def __init__(self, identity: str, request: Inbound | None, client: str) -> None:
        self.id = identity
        self.request = request
        self.client = client
        self.at = time.time()
        self.started = time.monotonic()
        self.operation: Operation = OTHER_READ
        self.credential: Credential = _MISSING
        self.judgement: Judgement | None = None
        self.route_tenant = ""
        self.status = 0
        self.answered_by = _NOBODY
        self.fault: FaultKind | None = None
        self.observed = False
        self.incident = ""
        self.gathered = b""
        self.hidden: tuple[Secret, ...] = ()
        self.oauth: OauthEvent | None = None
        self.backend = ""
        self.attempts = 1
        self.bytes_in = self.bytes_out = 0
        self.lookup_seconds = self.backend_seconds = 0.0

    def answered(self, by: AnsweredBy, status: int) -> None:
        """An answer has gone out."""
        self.answered_by = by
        self.status = status

    @property
    def secret(self) -> Secret | None:
        """What was presented, whole or malformed."""
        credential = self.credential
        if isinstance(credential, Bearer):
            return credential.secret
        return credential.presented if isinstance(credential, Malformed) else None

    @property
    def fingerprint(self) -> str:
        """The name of the bearer token, or of the malformed field's value, or nothing."""
        secret = self.secret
        return secret.fingerprint if secret is not None else ""

    def case(self, witness: Witness, kind: Kind, reason: str) -> Case:
        """What a refusal of this request is about, to tell whether it repeats another."""
        known = self.judgement is not None and self.judgement.row is not None
        return Case(self.tenant(witness), self.fingerprint, kind, reason, self.client, self.id, self.at, known)

    def tenant(self, witness: Witness) -> str:
        """Whose request it is: by the row, else by what the token was, else by the route."""
        row = self.judgement.row if self.judgement is not None else None
        if row is not None:
            return row.tenant
        if self.oauth is not None and self.oauth.tenant:
            return self.oauth.tenant
        return (witness.tenant_of(self.fingerprint) if self.fingerprint else "") or self.route_tenant or UNKNOWN_TENANT

    def exchange(self, tenant: str) -> Exchange:
        """The frozen value of all this, as it stands now."""
        judgement = self.judgement
        verdict = judgement.verdict if judgement is not None else None
        reading = judgement.held.reading if judgement is not None and judgement.held is not None else None
        method, target, host, agent, trace = self._texts()
        return Exchange(
            self.id,
            self.at,
            method,
            target,
            self.operation.route,
            tenant,
            self.client,
            self.status,
            self.answered_by,
            self._credential_shape(),
            self.fingerprint,
            "" if verdict is None else _TAGS[type(verdict)],
            "" if verdict is None else verdict.reason,
            self.observed,
            "" if reading is None else reading.source,
            "" if reading is None else reading.via,
            0.0 if judgement is None else judgement.age,
            self.fault or "",
            self.incident,
            agent,
            host,
            self.backend,
            self.bytes_in,
            self.bytes_out,
            self.lookup_seconds,
            self.backend_seconds,
            time.monotonic() - self.started,
            self.attempts,
            trace,
            self.route_tenant,
        )

    def _texts(self) -> tuple[str, str, str, str, str]:
        """What of the request is written down: method, masked target, host, user agent, traceparent."""
        request = self.request
        if request is None:
            return "", "", "", "", ""
        texts = (request.target, request.host, request.agent, request.trace)
        together = b"\n".join(texts)
        for secret in self._secrets():
            if together.find(secret) >= 0:
                texts = (self.clean(texts[0]), self.clean(texts[1]), self.clean(texts[2]), self.clean(texts[3]))
        return request.method.decode(), mask(texts[0]), _written(texts[1]), _written(texts[2]), _written(texts[3])

    def _credential_shape(self) -> str:
        if self.operation.kind is Does.OAUTH:
            return OAUTH
        match self.credential:
            case Bearer():
                return "bearer"
            case Missing():
                return "missing"
            case Several():
                return "several"
            case Malformed(why=why):
                return f"malformed:{why}"

    def clean(self, raw: bytes) -> bytes:
        """Take the presented secret out of bytes of client or backend, wherever else it stands in them."""
        for secret in self._secrets():
            if secret in raw:
                raw = raw.replace(secret, MASK)
        return raw

    def _secrets(self) -> Sequence[bytes]:
        if self.hidden:
            return [secret.reveal() for secret in self.hidden]
        credential = self.credential
        if isinstance(credential, Bearer):
            token = credential.secret.reveal()
            return (token,) if token.find(b",") < 0 else (token, *_WORDS_WORTH_MASKING.findall(token))
        if isinstance(credential, Malformed):
            return _WORDS_WORTH_MASKING.findall(credential.presented.reveal())
        if isinstance(credential, Several) and self.request is not None:
            return _WORDS_WORTH_MASKING.findall(b" ".join(self.request.authorization))
        return ()

    def _clean_cut(self, raw: bytes) -> bytes:
        """Clean what may have been cut within a secret."""
        raw = self.clean(raw)
        for secret in self._secrets():
            for size in range(min(len(secret), len(raw)) - 1, SHORTEST_PIECE - 1, -1):
                if raw.endswith(secret[:size]):
                    return raw[:-size] + MASK
        return raw

    def backend_answer(self, status: int, fields: Fields, body: bytes, *, cut: bool) -> BackendAnswer:
        """A refusing backend's words, masked."""
        return BackendAnswer(
            status=status,
            address=self.backend,
            www_authenticate=tuple(printable(self.clean(v)) for v in values_of(fields, b"www-authenticate")),
            content_type=printable(self.clean(value_of(fields, b"content-type")), 128),
            server=printable(self.clean(value_of(fields, b"server")), 128),
            body=self._clean_cut(body).decode("latin-1"),
            body_truncated=cut,
        )


def build_incident(
    passage: Passage,
    witness: Witness,
    kind: Kind,
    instance: str,
    after: Judgement | None = None,
    backend: BackendAnswer | None = None,
) -> Incident:
    """Assemble the record of a refusal. `after` is the fresh judgement made because of it."""
    judgement = passage.judgement
    tenant = passage.tenant(witness)
    reason = after.verdict.reason if after is not None else judgement.verdict.reason if judgement is not None else ""
    secret = passage.secret
    return Incident(
        id=passage.incident,
        at=passage.at,
        kind=kind,
        tenant=tenant,
        fingerprint=passage.fingerprint,
        reason=reason,
        exchange=passage.exchange(tenant),
        instance=instance,
        reading=_first_reading(judgement),
        second_look=_second_look(judgement, after),
        backend=backend,
        history=witness.history(passage.fingerprint) if passage.fingerprint else None,
        credential_length=len(secret) if secret is not None else 0,
        addressed_tenant=passage.route_tenant,
    )


def _first_reading(judgement: Judgement | None) -> Reading | None:
    if judgement is None or judgement.held is None:
        return None
    return judgement.first or judgement.held.reading


def _second_look(judgement: Judgement | None, after: Judgement | None) -> Reading | None:
    if after is not None:
        return after.held.reading if after.held is not None else None
    if judgement is not None and judgement.first is not None and judgement.held is not None:
        return judgement.held.reading
    return None


def holds_valid(judgement: Judgement | None) -> bool:
    """Whether a judgement says that the token is good."""
    return judgement is not None and isinstance(judgement.verdict, Allow)


def could_not_tell(judgement: Judgement) -> bool:
    """Whether the source did not answer."""
    return judgement.held is not None and isinstance(judgement.held.reading.state, Unavailable)
