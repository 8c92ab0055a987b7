"""Tokens elsewhere than in the header: in the form or in the query (RFC 6750 sections 2.2 and 2.3), where allowed."""

from __future__ import annotations

from typing import Final

from proxy.core.credential import (
    Credential,
    Fingerprinter,
    Missing,
    Pairs,
    Several,
    extract_parameters,
    form_pairs,
    gives_way,
    holds_token,
    urlencoded_pairs,
)
from proxy.core.headers import value_of
from proxy.core.inbound import Inbound
from proxy.edge.body_flow import GATHER_LIMIT, gather
from proxy.edge.client_connection import ClientConnection
from proxy.edge.passage import Passage

FORM: Final = b"application/x-www-form-urlencoded"
JSON: Final = b"application/json"


async def elsewhere(
    client: ClientConnection, request: Inbound, passage: Passage, fingerprinter: Fingerprinter, *, form: bool, query: bool
) -> Credential:
    """Return the token in form or query where the header holds none, else what the header holds. Rails lets the query win.
    What was read of the body for it stays in the passage, to be forwarded. Raises ExchangeError."""
    credential = passage.credential
    if not gives_way(credential):
        return credential
    asked = urlencoded_pairs(request.target.partition(b"?")[2])
    sent: Pairs = ()
    if form and client.body is not None:
        content_type = value_of(request.fields, b"content-type").partition(b";")[0].strip(b" \t").lower()
        if content_type in (FORM, JSON):
            body = passage.gathered = await gather(client, request)
            if client.body.done and len(body) <= GATHER_LIMIT:
                sent = form_pairs(body, json=content_type == JSON)
    if not query and holds_token(sent) and holds_token(asked):
        return Several(2)  # the backend would go by the one in the query, which nobody has judged
    found = extract_parameters(sent, asked if query else (), fingerprinter)
    return credential if isinstance(found, Missing) else found
