"""Which SCIM operation a request is (RFC 7644 section 3.2). Pure; bounded labels for logs and metrics."""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec


class Kind(enum.StrEnum):
    """What a request does. The values are metric labels: a closed set."""

    LIST = "list"
    GET = "get"
    SEARCH = "search"
    CREATE = "create"
    REPLACE = "replace"
    MODIFY = "modify"
    DELETE = "delete"
    BULK = "bulk"
    DISCOVERY = "discovery"
    OAUTH = "oauth"
    OTHER = "other"


class Operation(msgspec.Struct, frozen=True):
    """An operation. `writes` tells whether it may change anything, `route` is its label for logs and metrics, like
    `Users.list`: made of the others."""

    kind: Kind
    resource: str
    writes: bool
    route: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "route", f"{self.resource}.{self.kind}")


_RESOURCES: Final = {b"Users": "Users", b"Groups": "Groups", b"Me": "Me"}
_DISCOVERY: Final = {b"ServiceProviderConfig", b"ResourceTypes", b"Schemas"}
_BY_METHOD: Final = {
    b"GET": (Kind.LIST, Kind.GET, False),
    b"HEAD": (Kind.LIST, Kind.GET, False),
    b"OPTIONS": (Kind.OTHER, Kind.OTHER, False),
    b"POST": (Kind.CREATE, Kind.OTHER, True),
    b"PUT": (Kind.OTHER, Kind.REPLACE, True),
    b"PATCH": (Kind.OTHER, Kind.MODIFY, True),
    b"DELETE": (Kind.OTHER, Kind.DELETE, True),
}
OTHER_READ: Final = Operation(Kind.OTHER, "other", writes=False)
OTHER_WRITE: Final = Operation(Kind.OTHER, "other", writes=True)
_TABLE: Final[dict[tuple[bytes, str, bool], Operation]] = {
    (method, resource, has_id): Operation(by_id if has_id else bare, resource, writes)
    for method, (bare, by_id, writes) in _BY_METHOD.items()
    for resource in (*_RESOURCES.values(), "custom")
    for has_id in (False, True)
}


def classify(method: bytes, target: bytes, base_path: bytes = b"") -> Operation:
    """Tell the operation from method and raw target; `base_path` is where the SCIM endpoints begin, like /scim/v2.

    The path is only labelled, never rewritten; what cannot be told is `other`, and other than GET and HEAD it writes.
    """
    path = target.partition(b"?")[0]
    if base_path and path.startswith(base_path):
        path = path[len(base_path) :]
    head, _, last = path.rstrip(b"/").rpartition(b"/")
    above = head.rpartition(b"/")[2]
    if last == b".search" and method == b"POST":
        return Operation(Kind.SEARCH, _RESOURCES.get(above, "all"), writes=False)
    if last == b"Bulk":
        return Operation(Kind.BULK, "all", writes=True)
    if last in _DISCOVERY or above in _DISCOVERY:
        return Operation(Kind.DISCOVERY, "discovery", writes=method not in (b"GET", b"HEAD", b"OPTIONS"))
    resource, has_id = (_RESOURCES[last], last == b"Me") if last in _RESOURCES else (_RESOURCES.get(above), True)
    found = _TABLE.get((method, resource, has_id)) if resource else None
    if found is not None:
        return found
    return OTHER_READ if method in (b"GET", b"HEAD", b"OPTIONS") else OTHER_WRITE


TOKEN_NAMES: Final = frozenset(("access_token", "bearer_token"))
"""Parameters in which a token may stand (RFC 6750 section 2.3, Doorkeeper's request/methods)."""
_SCIM_NAMES: Final = ("filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count", "cursor")
_PARAMETERS: Final = {name.encode(): name for name in (*_SCIM_NAMES, *TOKEN_NAMES)}


def mask(target: bytes) -> str:
    """Return the target as it may be written down: the path, and of the query only the names that SCIM and bearer tokens have.

    RFC 7644 section 7.5.2: filters carry personal data. A secret may stand anywhere in a query, so all values are left out and
    every other name becomes `*`. Bytes that are not printable ASCII are percent-encoded.
    """
    path, mark, query = target.partition(b"?")
    text = printable(path)
    if not mark:
        return text
    names = [_PARAMETERS.get(part.partition(b"=")[0], "*") for part in query.split(b"&", 16)[:16]]
    return f"{text}?{'&'.join(names)}"


_is_printable: Final = re.compile(rb"[ -~]*").fullmatch


def printable(raw: bytes, limit: int = 512) -> str:
    """Return bytes of a client as text that is safe in a log: printable ASCII, the rest percent-encoded, cut at `limit`."""
    text = raw[:limit].decode("latin-1")
    if not _is_printable(raw):
        text = "".join(c if " " <= c <= "~" else f"%{ord(c):02X}" for c in text)
    return text if len(raw) <= limit else text + "..."
