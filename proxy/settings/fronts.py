"""The sections about what stands in front: how much of it is taken, and fronts that only ask."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from proxy.settings.section import Bounds, Check, Section

_PATH: Final = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
_MOST: Final = 10_000_000
"""A minute: more than any process serves."""


def _path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError("must be a plain path without query, escapes and dots: write it like /_scim_witness/auth")
    return value


class RateLimits(Section, frozen=True, kw_only=True):
    """How often a client may ask, and be refused, per minute; as many may come at once. 0: no limit. Over a limit the answer
    is 429 with Retry-After, never 401. Each process counts for itself; a reload begins anew."""

    requests_per_address: Annotated[
        int,
        Bounds(ge=0, le=_MOST),
        "Requests of one client address (of one /64 in IPv6). Off: the addresses of an identity provider serve many customers.",
    ] = 0
    requests_per_tenant: Annotated[
        int, Bounds(ge=0, le=_MOST), "Requests of one tenant with a valid token. Off: a first import is a burst."
    ] = 0
    refusals_per_address: Annotated[
        int,
        Bounds(ge=0, le=_MOST),
        "401 of ours for tokens that nobody knows, of one client address; tokens that are known are not affected. "
        "Off: an address may be that of an identity provider with thousands of customers. 6000 hinders nobody but guessing.",
    ] = 0
    refusals_per_tenant: Annotated[
        int,
        Bounds(ge=0, le=_MOST),
        "401 and 403 of ours for one tenant, from whatever address; requests whose tenant is not known are not "
        "counted. Off: each refusal is evidence, and repeats are folded.",
    ] = 0


class ForwardAuth(Section, frozen=True, kw_only=True):
    """Fronts that carry requests to the backend themselves and only ask whether they may (docs/forward-auth.md)."""

    front: Annotated[
        Literal["off", "nginx", "traefik", "envoy"],
        "Who asks: nginx by auth_request (X-Original-Method and -URI), Traefik by ForwardAuth (X-Forwarded-Method "
        "and -Uri), Envoy by ext_authz over HTTP (the path, and then the target). Only from listen.trusted_proxies.",
    ] = "off"
    path: Annotated[
        str, Check(_path), "Where it asks, on the listener for clients. Requests to it are answered and never forwarded."
    ] = "/_scim_witness/auth"
