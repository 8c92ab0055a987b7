"""The section about the OAuth endpoints."""

from __future__ import annotations

import re
from typing import Annotated, Final

from proxy.core.scim import OTHER_WRITE, classify
from proxy.settings.section import Check, Section

_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
"""Segments of plain characters: a path that servers read in one way only."""


def _endpoint(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError("must be a plain path without query, escapes and dots: write it like /oauth/token")
    if classify(b"POST", value.encode()) != OTHER_WRITE:
        raise ValueError("is an address of SCIM, which needs a token: write it like /oauth/token")
    return value


Endpoint = Annotated[str, Check(_endpoint)]


class Oauth(Section, frozen=True, kw_only=True):
    """The OAuth endpoints, when they are reached through this proxy: forwarded without a token and watched."""

    enabled: Annotated[
        bool,
        "Forward exactly these paths without a token and keep a ledger of what was issued, renewed, refused and "
        "revoked. Off, nothing is forwarded without a token.",
    ] = False
    token: Annotated[Endpoint, "Where tokens are issued and renewed (POST)."] = "/oauth/token"  # noqa: S105 - a path
    authorize: Annotated[Endpoint, "Where a person consents (GET, POST, DELETE)."] = "/oauth/authorize"
    revoke: Annotated[Endpoint, "Where tokens are revoked (POST)."] = "/oauth/revoke"
    introspect: Annotated[Endpoint, "Where tokens are looked up (POST)."] = "/oauth/introspect"
