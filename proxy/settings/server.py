"""The sections about the two listeners, the backend, the log and the metrics. Durations in seconds, sizes in bytes.

A field's description is its page in docs/settings.md; each bound says there why it is what it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from proxy.settings.section import Bounds, Bytes, Check, Networks, Port, Secret, Section, Words, is_host

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HOST: Final = re.compile(r"[A-Za-z0-9._~\-\[\]:]+")
_METHOD: Final = re.compile(r"[A-Z][A-Z-]*")


def _origin(value: str) -> str:
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise ValueError("is no URL: write it like https://scim.example.com or http://127.0.0.1:3000") from error
    if parts.scheme not in ("http", "https") or not is_host(parts.hostname or "") or port == 0:
        raise ValueError("must be an http or https URL with a host: write it like https://scim.example.com")
    if parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise ValueError(
            "must be scheme, host and port only, for the client's target reaches the backend as it is: "
            "remove path, query and user from it"
        )
    return value.rstrip("/")


def _address(value: str) -> str:
    if not is_host(value):
        raise ValueError("is no address and no host name: write it like 127.0.0.1 or 0.0.0.0")
    return value


def _server_name(value: str) -> str:
    if not is_host(value) or value.startswith("."):
        raise ValueError("is no host name: write it like scim.example.com")
    return value


def _bearer(value: Secret) -> Secret:
    """Nobody could present such a token: a field ends at its white space."""
    if any(letter.isspace() for letter in value.get_secret_value()):
        raise ValueError("holds white space, which no bearer token can: write the token alone, on one line")
    return value


def _collector(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be an http or https URL: write it like http://localhost:4318/v1/traces")
    return value


def _methods(value: tuple[str, ...]) -> tuple[str, ...]:
    """Methods are told apart by case (RFC 9110 section 9.1): `get` would let no request through."""
    if not value or not all(_METHOD.fullmatch(method) for method in value):
        raise ValueError('must be methods in capitals, one at least: write it like ["GET", "POST"]')
    return value


def _host(value: str) -> str:
    if not _HOST.fullmatch(value):
        raise ValueError('must be "preserve", "upstream" or a host name: write it like scim.example.com')
    return value


class ListenTls(Section, frozen=True, kw_only=True):
    """A certificate for clients. Without it the listener speaks plain HTTP, and TLS ends in front of it."""

    cert_file: Annotated[Path | None, "PEM file of the certificate chain. Needs key_file."] = None
    key_file: Annotated[Path | None, "PEM file of its key."] = None


class Listen(Section, frozen=True, kw_only=True):
    """The listener for clients (Okta, Entra, ...)."""

    host: Annotated[str, Check(_address), "Address to listen on. Loopback until you open it on purpose."] = "127.0.0.1"
    port: Annotated[Port, "Port to listen on; 0 takes a free one."] = 8080
    backlog: Annotated[
        int,
        Bounds(ge=1, le=65_535),
        "Connections the kernel may hold before they are accepted: a second of a reconnecting fleet.",
    ] = 1024
    max_connections: Annotated[
        int, Bounds(ge=1), "Open client connections; further ones are closed at once. About 50 KB of memory each."
    ] = 10_000
    head_limit: Annotated[
        Bytes,
        Bounds(ge=1024, le=1 << 20),
        "Request line and fields together: twice what common backends accept, so they refuse first.",
    ] = 65_536
    target_limit: Annotated[
        Bytes,
        Bounds(ge=256, le=1 << 20),
        "Request target: RFC 9110 section 4.1 asks for 8000 at least; long SCIM filters need more.",
    ] = 16_384
    header_count: Annotated[
        int, Bounds(ge=8, le=4096), "Fields in a request: clients send about 10, proxies in front add some."
    ] = 128
    methods: Annotated[
        Words,
        Check(_methods),
        "Methods that are let through; others get 405. Those of RFC 7644 section 3.2, with HEAD and OPTIONS.",
    ] = METHODS
    head_timeout: Annotated[
        float, Bounds(gt=0, le=600), "From the first byte of a request to the end of its fields: ends slow-loris."
    ] = 15
    idle_timeout: Annotated[
        float,
        Bounds(gt=0, le=3600),
        "A kept-alive client connection without a request. Above the 60 s of common load balancers, so that they close first.",
    ] = 75
    body_read_timeout: Annotated[float, Bounds(gt=0, le=3600), "The longest silence within a request body."] = 30
    write_timeout: Annotated[float, Bounds(gt=0, le=3600), "The longest time a client may take nothing of its answer."] = 30
    drain_seconds: Annotated[
        float, Bounds(ge=0, le=600), "Time for running requests after SIGTERM: below the 30 s that Kubernetes grants."
    ] = 25
    trusted_proxies: Annotated[
        Networks, "Ranges whose X-Forwarded-For (and PROXY header) is believed. None by default: anybody can write that field."
    ] = ()
    proxy_protocol: Annotated[
        bool,
        "Every connection from trusted_proxies begins with a PROXY header (version 1 or 2), whose address is the "
        "client; others have none. For fronts that pass bytes on.",
    ] = False
    tls: ListenTls = ListenTls()


class UpstreamTls(Section, frozen=True, kw_only=True):
    """How the backend's certificate is checked, and what we show it. Only with an https url."""

    ca_file: Annotated[Path | None, "PEM file of the authorities to trust instead of the system's."] = None
    cert_file: Annotated[Path | None, "PEM file of our client certificate, for mutual TLS. Needs key_file."] = None
    key_file: Annotated[Path | None, "PEM file of the key of cert_file."] = None
    verify: Annotated[bool, "Check the certificate. Off, anyone on the way reads the tokens; it warns at each start."] = True
    server_name: Annotated[
        str | None,
        Check(_server_name),
        "Name to ask for and to check, where it is not the url's host.",
    ] = None


class Upstream(Section, frozen=True, kw_only=True):
    """The SCIM backend."""

    url: Annotated[
        str, Check(_origin), "Scheme, host and port of the backend. No path: the client's target reaches it as it is."
    ]
    connect_timeout: Annotated[
        float, Bounds(gt=0, le=60), "TCP and TLS handshake. A backend on the same network needs milliseconds."
    ] = 5
    head_timeout: Annotated[
        float,
        Bounds(gt=0, le=3600),
        "From the request's end to the answer's fields. Below 60: Okta and Entra give up at 60 s and would not see our 504.",
    ] = 50
    body_timeout: Annotated[float, Bounds(gt=0, le=3600), "The longest silence within an answer's body."] = 30
    max_connections: Annotated[
        int, Bounds(ge=1, le=65_535), "Connections to the backend per process: protects a small backend."
    ] = 100
    queue_limit: Annotated[
        int, Bounds(ge=0, le=1_000_000), "Requests that may wait for a connection; further ones get 503 at once."
    ] = 1000
    queue_timeout: Annotated[float, Bounds(ge=0, le=60), "The longest wait for a connection, then 503 with Retry-After."] = 5
    idle_timeout: Annotated[
        float,
        Bounds(ge=0, le=3600),
        "An unused backend connection is closed after this. Below the 5 s of Puma and other app servers, so "
        "that we close first.",
    ] = 4
    host: Annotated[
        str,
        Check(_host),
        'Host field for the backend: "preserve" the client\'s, that of the "upstream" url, or a literal name.',
    ] = "preserve"
    forwarded: Annotated[
        bool, "Add X-Forwarded-For, -Proto and -Host. What clients not in trusted_proxies sent of these is removed."
    ] = True
    tls: UpstreamTls = UpstreamTls()


class OpsTls(Section, frozen=True, kw_only=True):
    """A certificate for the ops listener, and certificates by which its clients come in."""

    cert_file: Annotated[Path | None, "PEM file of the certificate chain. Needs key_file."] = None
    key_file: Annotated[Path | None, "PEM file of its key."] = None
    client_ca_file: Annotated[
        Path | None,
        "PEM file of the authorities that sign clients' certificates. With it a client must show one in the TLS "
        "handshake, and ops.token too if that is set. Needs cert_file.",
    ] = None
    client_names: Annotated[
        Words,
        "Names of which a client's certificate must have one, to the letter: as its common name or an alternative "
        "name. Empty lets in whoever the authorities sign for.",
    ] = ()
    open_probes: Annotated[
        bool, "Answer /livez and /readyz without a certificate, for a kubelet has none; all else stays refused."
    ] = False


class Ops(Section, frozen=True, kw_only=True):
    """The second listener: metrics, health, and the operators' pages."""

    host: Annotated[
        str,
        Check(_address),
        "Address to listen on. Anything but loopback needs token or tls.client_ca_file.",
    ] = "127.0.0.1"
    port: Annotated[Port, "Port to listen on; 0 takes a free one."] = 9090
    token: Annotated[
        Secret | None,
        Check(_bearer),
        Bounds(min_length=16),
        "Bearer token that every ops request must carry. At least 16 characters: 96 bits in base 64.",
    ] = None
    token_file: Annotated[Path | None, "File that holds token."] = None
    tls: OpsTls = OpsTls()


class Log(Section, frozen=True, kw_only=True):
    """What is written where."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], "Of the program's own events; exchanges are not affected."
    ] = "info"
    exchanges: Annotated[bool, "Write one line per request."] = True
    destination: Annotated[
        str, Bounds(min_length=1), '"stdout", "stderr" or the path of a file, which is opened to append and again after SIGHUP.'
    ] = "stdout"


class Metrics(Section, frozen=True, kw_only=True):
    """Bounds of what Prometheus is given."""

    tenant_label: Annotated[bool, "Name tenants in labels. Off, all are `_all`."] = True
    tenant_label_limit: Annotated[
        int,
        Bounds(ge=0, le=10_000),
        "Tenants named in labels: the configured ones, then the first seen; the rest is `_other`. At 10,000 "
        "a scrape takes 0.3 s.",
    ] = 200


class Traces(Section, frozen=True, kw_only=True):
    """Spans for OpenTelemetry (`pip install 'scim-witness[otel]'`): one for each request, and one for each of its steps."""

    endpoint: Annotated[
        str | None,
        Check(_collector),
        "Where a collector takes OTLP by HTTP, like http://localhost:4318/v1/traces. None: no traces.",
    ] = None
    ratio: Annotated[
        float,
        Bounds(ge=0, le=1),
        "The share of requests that is traced where the client's traceparent does not say. Making the spans of one "
        "costs more than forwarding it.",
    ] = 1
