"""Forward auth: a proxy in front asks whether a request may pass, and carries it to the backend itself. Pure.

Each kind of front says in its own way which request it asks about; only that way is read. A client that sends the same
field is overwritten by the front, and a field twice is refused.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from proxy.core.grammar import Fault, Limits
from proxy.core.headers import values_of
from proxy.core.inbound import Here, Inbound, parse_request


class Front(enum.StrEnum):
    """Who asks. nginx and Traefik name the request in fields, Envoy's ext_authz repeats it."""

    NGINX = "nginx"
    TRAEFIK = "traefik"
    ENVOY = "envoy"


_FIELDS: Final = {
    Front.NGINX: (b"x-original-method", b"x-original-uri"),
    Front.TRAEFIK: (b"x-forwarded-method", b"x-forwarded-uri"),
}


def is_question(target: bytes, path: bytes, front: Front) -> bool:
    """Whether a target is a question: `path` itself, or for Envoy the path before the target that is asked about."""
    if front is Front.ENVOY:
        return target.startswith(path) and target[len(path) : len(path) + 1] == b"/"
    return target == path


def asked_about(request: Inbound, path: bytes, front: Front, limits: Limits) -> Inbound | Fault:
    """Return the request that is asked about, or what is wrong with the question. It has the credential and the fields of
    the question, and is read as strictly as one that came itself. HEAD is asked about as GET where the question is one: the
    answer has a body then, and both only read."""
    if front is Front.ENVOY:
        return msgspec.structs.replace(request, target=request.target[len(path) :], answered_here=Here.ASKED, familiar=None)
    if request.method != b"GET":
        return Fault(400, "forward_auth_method", bodiless=request.method == b"HEAD")
    named = []
    for name in _FIELDS[front]:
        values = values_of(request.fields, name)
        if len(values) != 1:
            return Fault(400, name.replace(b"-", b"_").decode())
        named.append(values[0])
    method = b"GET" if named[0] == b"HEAD" else named[0]
    asked = parse_request(b"%b %b HTTP/1.1\r\nHost: %b" % (method, named[1], _host(request, front)), limits)
    if not isinstance(asked, Inbound):
        return Fault(400, "forward_auth_request")
    return msgspec.structs.replace(
        request, method=asked.method, target=asked.target, host=asked.host, answered_here=Here.ASKED, familiar=None
    )


def _host(request: Inbound, front: Front) -> bytes:
    """Traefik asks at the host of the question and names the client's beside it; nginx sends what it is told to."""
    named = values_of(request.fields, b"x-forwarded-host") if front is Front.TRAEFIK else []
    return named[0] if len(named) == 1 else request.host or b"localhost"
