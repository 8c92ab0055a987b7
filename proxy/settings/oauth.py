"""The section about the OAuth endpoints."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from proxy.core.scim import OTHER_WRITE, classify
from proxy.settings.section import Section

_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
"""Segments of plain characters: a path that servers read in one way only."""


def _endpoint(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError("must be a plain path without query, escapes and dots: write it like /oauth/token")
    if classify(b"POST", value.encode()) != OTHER_WRITE:
        raise ValueError("is an address of SCIM, which needs a token: write it like /oauth/token")
    return value


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class Oauth(Section):
    """The OAuth endpoints, when they are reached through this proxy: forwarded without a token and watched."""

    enabled: bool = Field(
        default=False,
        description="Forward exactly these paths without a token and keep a ledger of what was issued, renewed, refused and "
        "revoked. Off, nothing is forwarded without a token.",
    )
    token: Endpoint = Field(default="/oauth/token", description="Where tokens are issued and renewed (POST).")
    authorize: Endpoint = Field(default="/oauth/authorize", description="Where a person consents (GET, POST, DELETE).")
    revoke: Endpoint = Field(default="/oauth/revoke", description="Where tokens are revoked (POST).")
    introspect: Endpoint = Field(default="/oauth/introspect", description="Where tokens are looked up (POST).")
