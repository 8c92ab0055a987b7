"""What the clients send: the requests of identity providers to a SCIM backend, in a fixed, shuffled cycle.

A look-up by filter and a GET by id are most of it (Okta looks a user up before each write), then PATCH and POST, some pages
of lists, a few deletions, and 1.2 % of requests whose token is not good: unknown ones and revoked ones.
"""

from __future__ import annotations

import json
import random
from typing import Final, NamedTuple

BASE: Final = "/scim/v2"
CYCLE: Final = 5_000
"""Requests before it repeats: enough that 1.2 % is 60 requests, small enough to hold ready made in the load generator."""
REFUSED_SHARE: Final = 0.012
UNKNOWN: Final = 40
"""Different tokens that nobody ever issued."""
REVOKED: Final = 20
"""Different tokens that were revoked."""
TAIL: Final = "Rj4kZp0Wq8sLx2Nv6Tb1YcHdMfGuQe3a"
"""Makes a token as long as the 43 characters that Doorkeeper's default generator gives."""


def good_token(number: int) -> str:
    """The token of customer `number`."""
    return f"g{number:09d}_{TAIL}"


def revoked_token(number: int) -> str:
    """A token that was good once."""
    return f"r{number:09d}_{TAIL}"


def unknown_token(number: int) -> str:
    """A token that was never issued."""
    return f"u{number:09d}_{TAIL}"


def user(number: int, size: int = 1_000) -> dict[str, object]:
    """A user resource of about `size` octets."""
    resource: dict[str, object] = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": f"2819c223-7f76-453a-919d-{number:012d}",
        "externalId": f"00u{number:017d}",
        "userName": f"user{number}@customer.example",
        "name": {"givenName": "Barbara", "familyName": "Jensen", "formatted": "Barbara J Jensen"},
        "displayName": "Babs Jensen",
        "active": True,
        "emails": [{"value": f"user{number}@customer.example", "type": "work", "primary": True}],
        "groups": [{"value": "e9e30dba-f08f-4109-8486-d5c6a331660a", "display": "Tour Guides"}],
        "meta": {
            "resourceType": "User",
            "created": "2026-01-23T04:56:22Z",
            "lastModified": "2026-05-13T04:42:34Z",
            "location": f"https://api.vendor.example{BASE}/Users/2819c223-7f76-453a-919d-{number:012d}",
        },
    }
    missing = size - len(json.dumps(resource)) - len(', "title": ""')
    resource["title"] = "x" * max(0, missing)
    return resource


def listing(resources: int) -> bytes:
    """A page of a list with so many users."""
    page = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 2_000,
        "startIndex": 1,
        "itemsPerPage": resources,
        "Resources": [user(number) for number in range(resources)],
    }
    return json.dumps(page).encode()


PAGES: Final = {20: listing(20), 100: listing(100)}
"""Bodies of list pages by `count`: 20 KB and 100 KB."""


class Kind(NamedTuple):
    """One kind of request. `status` is what the backend answers."""

    name: str
    share: float
    method: str
    target: str
    status: int
    body: bytes = b""


def _patch(operations: list[dict[str, object]]) -> bytes:
    return json.dumps({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}).encode()


_ID: Final = "2819c223-7f76-453a-919d-413861904646"
_DEACTIVATE: Final = _patch([{"op": "replace", "value": {"active": False, "displayName": "Babs Jensen", "title": "Guide"}}])
_MEMBERS: Final = _patch([{"op": "add", "path": "members", "value": [{"value": f"{_ID[:-6]}{n:06d}"} for n in range(40)]}])

KINDS: Final = (
    Kind("look-up by userName", 0.34, "GET", BASE + "/Users?filter=userName%20eq%20%22user@customer.example%22", 200),
    Kind("GET user", 0.22, "GET", f"{BASE}/Users/{_ID}", 200),
    Kind("PATCH user", 0.14, "PATCH", f"{BASE}/Users/{_ID}", 200, _DEACTIVATE),
    Kind("POST user", 0.08, "POST", f"{BASE}/Users", 201, json.dumps(user(1, 700)).encode()),
    Kind("look-up of a group", 0.07, "GET", BASE + "/Groups?filter=displayName%20eq%20%22Tour%20Guides%22", 200),
    Kind("PATCH members", 0.05, "PATCH", f"{BASE}/Groups/{_ID}", 200, _MEMBERS),
    Kind("PUT user", 0.03, "PUT", f"{BASE}/Users/{_ID}", 200, json.dumps(user(1, 900)).encode()),
    Kind("DELETE user", 0.01, "DELETE", f"{BASE}/Users/{_ID}", 204),
    Kind("page of 20 (20 KB)", 0.04, "GET", f"{BASE}/Users?startIndex=1&count=20", 200),
    Kind("page of 100 (100 KB)", 0.02, "GET", f"{BASE}/Users?startIndex=1&count=100", 200),
)


class Request(NamedTuple):
    """One request in two parts, between which the token stands, and whether it must be refused."""

    before: bytes
    token: str
    after: bytes
    refused: bool

    @property
    def raw(self) -> bytes:
        """All of it."""
        return self.before + self.token.encode() + self.after


def request(kind: Kind, token: str, *, refused: bool = False) -> Request:
    """A request as Okta writes it."""
    before = f"{kind.method} {kind.target} HTTP/1.1\r\nHost: scim.vendor.example\r\nAuthorization: Bearer "
    after = (
        "\r\nUser-Agent: Okta SCIM Client 1.0.0\r\nAccept: application/scim+json, application/json\r\n"
        "Accept-Charset: utf-8\r\nAccept-Encoding: gzip,deflate\r\n"
    )
    if kind.body:
        after += f"Content-Type: application/scim+json; charset=utf-8\r\nContent-Length: {len(kind.body)}\r\n"
    return Request(before.encode(), token, after.encode() + b"\r\n" + kind.body, refused)


def cycle(customers: int, refused_share: float = REFUSED_SHARE, length: int = CYCLE) -> list[Request]:
    """The whole cycle, always the same for the same arguments: each kind by its share, tokens of `customers` customers."""
    dice = random.Random(20260122)
    refused = round(length * refused_share)
    kinds = [kind for kind in KINDS for _ in range(round(kind.share * length))]
    dice.shuffle(kinds)
    kinds = (kinds * 2)[:length]
    found = []
    for number, kind in enumerate(kinds):
        if number < refused:
            bad = revoked_token(number % REVOKED) if number % 4 == 0 else unknown_token(number % UNKNOWN)
            found.append(request(kind, bad, refused=True))
        else:
            found.append(request(kind, good_token(number % customers)))
    dice.shuffle(found)
    return found
