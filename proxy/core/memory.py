"""What the proxy remembers beside tokens, as an incident keeps it: what the same client did before, how each backend instance
answered, who last changed an account, which calls went to the OAuth endpoints. Times in epoch seconds of the proxy's clock."""

from __future__ import annotations

import msgspec


class ClientMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the same client (user agent and address prefix) did before: its last request that carried a credential, the
    last one that was answered well, and since when its requests carry none.

    `shared`: requests of several tenants come from it and nothing tells whose this one is (an identity provider's egress).
    `again`: when it carried a credential once more after the incident.
    """

    last_with_credential: float | None = None
    last_good: float | None = None
    without_since: float | None = None
    shared: bool = False
    again: float | None = None


class BackendVerdicts(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one backend instance answered this token in the hour around the incident."""

    address: str
    accepted: int = 0
    refused: int = 0
    first_refused: float | None = None
    last_refused: float | None = None
    first_accepted: float | None = None
    last_accepted: float | None = None


class AccountChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of an account that passed through here by SCIM and that the backend took: which account, by what method."""

    account: str
    method: str
    at: float
    exchange: str = ""


class FirstUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first good use of a token that was seen here. `new`: the token was issued while this memory ran, so that it was the
    first use anywhere. `row` is its key in the source, which tells it where only digests are stored. `seconds` is how long the
    backend had the request before it answered, None where it answered somebody else. `renewed`: the row had come from a
    refresh, None where the row was not seen."""

    fingerprint: str
    tenant: str
    at: float
    new: bool = False
    row: int | str | None = None
    seconds: float | None = None
    renewed: bool | None = None


class OauthEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call to an OAuth endpoint that passed through here; fingerprints only. `endpoint`: token, authorize, revoke,
    introspect. `created` is the access token issued, `presented` the access token whose refresh token was presented (or
    that was revoked). `refresh_issued` tells whether the answer held a refresh token.

    `refresh_presented` and `refresh_created` name refresh tokens, `exchange` is the id of the request, `application` the name
    of the application by the row. `unread` says why a body was not read (too_large, encoding), `lint` what is wrong with the
    answer. `exchanged_at`: when the refresh token or code presented had been exchanged before, by the memory of then.

    `code` names the authorization code that was presented, or issued by authorize, `redirect` the redirect_uri, by fingerprint.
    Of a code whose issue passed through here `code_issued_at` tells when that was, `redirect_differs` whether for another
    redirect_uri.
    """

    at: float
    endpoint: str
    status: int
    grant_type: str = ""
    error: str = ""
    tenant: str = ""
    created: str = ""
    presented: str = ""
    expires_in: int | None = None
    refresh_issued: bool | None = None
    user_agent: str = ""
    client: str = ""
    exchange: str = ""
    refresh_presented: str = ""
    refresh_created: str = ""
    application: str = ""
    unread: str = ""
    lint: tuple[str, ...] = ()
    exchanged_at: float | None = None
    code: str = ""
    redirect: str = ""
    code_issued_at: float | None = None
    redirect_differs: bool | None = None
