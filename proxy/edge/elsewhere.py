"""Tokens elsewhere than in the header: in the form or in the query (RFC 6750 sections 2.2 and 2.3), where allowed."""

from __future__ import annotations

from typing import Final

from proxy.core.credential import Credential, Fingerprinter, Missing, extract_form, extract_urlencoded, gives_way
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
    """Return the token in form or query where the header holds none, else what the header holds. Rails lets the form win.
    What was read of the body for it stays in the passage, to be forwarded. Raises ExchangeError."""
    credential = passage.credential
    if not gives_way(credential):
        return credential
    found: Credential = Missing()
    if form and client.body is not None:
        content_type = value_of(request.fields, b"content-type").partition(b";")[0].strip(b" \t").lower()
        if content_type in (FORM, JSON):
            body = passage.gathered = await gather(client, request)
            if client.body.done and len(body) <= GATHER_LIMIT:
                found = extract_form(body, fingerprinter, json=content_type == JSON)
    if query and isinstance(found, Missing):
        found = extract_urlencoded(request.target.partition(b"?")[2], "query", fingerprinter)
    return credential if isinstance(found, Missing) else found
