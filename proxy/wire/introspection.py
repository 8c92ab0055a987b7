"""Builds a source that asks an introspection endpoint. Imported where one is configured, see token_sources."""

from __future__ import annotations

from proxy.core.credential import Fingerprinter
from proxy.core.token import TokenSource
from proxy.settings.issuers import Introspection
from proxy.sources.endpoint import EndpointOptions
from proxy.sources.introspection.answer import Claims
from proxy.sources.introspection.source import Caller, IntrospectionOptions
from proxy.sources.introspection.source import Introspection as IntrospectionSource
from proxy.wire.c_parser import require_c_parser
from proxy.wire.state import StartFault


def introspection(source: Introspection, fingerprinter: Fingerprinter) -> TokenSource:
    """Build it. Raises StartFault when its certificate authorities cannot be read, or without aiohttp's C parser."""
    require_c_parser()
    bearer = source.bearer.get_secret_value() if source.bearer is not None else ""
    secret = source.client_secret.get_secret_value() if source.client_secret is not None else ""
    ca_file = str(source.ca_file) if source.ca_file is not None else None
    options = IntrospectionOptions(
        endpoint=EndpointOptions(source.url, source.timeout, source.connections, ca_file=ca_file),
        caller=Caller(source.client_id or "", secret, bearer, in_form=source.credentials == "form"),
        name=source.name,
        claims=Claims(source.tenant_claim, source.tenants, frozenset(source.audience)),
        recheck_every=source.recheck_every,
        secrets_limit=source.secrets_limit,
        doorkeeper=source.server == "doorkeeper",
    )
    try:
        return IntrospectionSource(options, fingerprinter)
    except OSError as error:
        raise StartFault(f"source.ca_file {ca_file}: {error}") from None
