"""Builds a source that verifies signed tokens. Imported where one is configured, see token_sources."""

from __future__ import annotations

from typing import Final

from proxy.core.credential import Fingerprinter
from proxy.core.token import TokenSource
from proxy.settings.issuers import Jwt
from proxy.sources.endpoint import EndpointOptions
from proxy.sources.jwt.facts import Rules
from proxy.sources.jwt.keys import KeysOptions
from proxy.sources.jwt.source import Jwt as JwtSource
from proxy.sources.jwt.source import JwtOptions
from proxy.tasks import Tasks
from proxy.wire.c_parser import require_c_parser
from proxy.wire.state import StartFault

KEY_SET_BYTES: Final = 1 << 20
"""Of a key set that is read: Entra's is 20 KB, with its certificates."""


def jwt(source: Jwt, fingerprinter: Fingerprinter, tasks: Tasks) -> TokenSource:
    """Build it. Raises StartFault when its certificate authorities cannot be read, or without aiohttp's C parser."""
    require_c_parser()
    ca_file = str(source.ca_file) if source.ca_file is not None else None
    endpoint = EndpointOptions(source.jwks_url, source.timeout, 1, KEY_SET_BYTES, ca_file)
    rules = Rules(
        source.issuer, frozenset(source.audience), source.tenant_claim, source.tenants, source.scope_claims, source.leeway
    )
    options = JwtOptions(
        keys=KeysOptions(endpoint, source.refresh_every, source.grace),
        rules=rules,
        algorithms=frozenset(source.algorithms),
        name=source.name,
        verified_limit=source.verified_limit,
    )
    try:
        return JwtSource(options, fingerprinter, tasks)
    except OSError as error:
        raise StartFault(f"source.ca_file {ca_file}: {error}") from None
