"""The sections about the two listeners, the backend, the log and the metrics. Durations in seconds, sizes in bytes.

A field's description is its page in docs/settings.md; each bound says there why it is what it is.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from proxy.settings.section import Bytes, Networks, Port, Section, Words, is_host

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


def _bearer(value: SecretStr) -> SecretStr:
    """Nobody could present such a token: a field ends at its white space."""
    if any(letter.isspace() for letter in value.get_secret_value()):
        raise ValueError("holds white space, which no bearer token can: write the token alone, on one line")
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


class ListenTls(Section):
    """A certificate for clients. Without it the listener speaks plain HTTP, and TLS ends in front of it."""

    cert_file: Path | None = Field(default=None, description="PEM file of the certificate chain. Needs key_file.")
    key_file: Path | None = Field(default=None, description="PEM file of its key.")


class Listen(Section):
    """The listener for clients (Okta, Entra, ...)."""

    host: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on. Loopback until you open it on purpose."
    )
    port: Port = Field(default=8080, description="Port to listen on; 0 takes a free one.")
    backlog: int = Field(
        default=1024,
        ge=1,
        le=65_535,
        description="Connections the kernel may hold before they are accepted: a second of a reconnecting fleet.",
    )
    max_connections: int = Field(
        default=10_000,
        ge=1,
        description="Open client connections; further ones are closed at once. About 50 KB of memory each.",
    )
    head_limit: Bytes = Field(
        default=65_536,
        ge=1024,
        le=1 << 20,
        description="Request line and fields together: twice what common backends accept, so they refuse first.",
    )
    target_limit: Bytes = Field(
        default=16_384,
        ge=256,
        le=1 << 20,
        description="Request target: RFC 9110 section 4.1 asks for 8000 at least; long SCIM filters need more.",
    )
    header_count: int = Field(
        default=128, ge=8, le=4096, description="Fields in a request: clients send about 10, proxies in front add some."
    )
    methods: Annotated[Words, AfterValidator(_methods)] = Field(
        default=METHODS,
        description="Methods that are let through; others get 405. Those of RFC 7644 section 3.2, with HEAD and OPTIONS.",
    )
    head_timeout: float = Field(
        default=15, gt=0, le=600, description="From the first byte of a request to the end of its fields: ends slow-loris."
    )
    idle_timeout: float = Field(
        default=75,
        gt=0,
        le=3600,
        description="A kept-alive client connection without a request. Above the 60 s of common load balancers, so that "
        "they close first.",
    )
    body_read_timeout: float = Field(default=30, gt=0, le=3600, description="The longest silence within a request body.")
    write_timeout: float = Field(
        default=30, gt=0, le=3600, description="The longest time a client may take nothing of its answer."
    )
    drain_seconds: float = Field(
        default=25, ge=0, le=600, description="Time for running requests after SIGTERM: below the 30 s that Kubernetes grants."
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Ranges whose X-Forwarded-For (and PROXY header) is believed. None by default: anybody can write "
        "that field.",
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Every connection from trusted_proxies begins with a PROXY header (version 1 or 2), whose address is the "
        "client; others have none. For fronts that pass bytes on.",
    )
    tls: ListenTls = Field(default=ListenTls())


class UpstreamTls(Section):
    """How the backend's certificate is checked, and what we show it. Only with an https url."""

    ca_file: Path | None = Field(default=None, description="PEM file of the authorities to trust instead of the system's.")
    cert_file: Path | None = Field(
        default=None, description="PEM file of our client certificate, for mutual TLS. Needs key_file."
    )
    key_file: Path | None = Field(default=None, description="PEM file of the key of cert_file.")
    verify: bool = Field(
        default=True, description="Check the certificate. Off, anyone on the way reads the tokens; it warns at each start."
    )
    server_name: Annotated[str, AfterValidator(_server_name)] | None = Field(
        default=None, min_length=1, description="Name to ask for and to check, where it is not the url's host."
    )


class Upstream(Section):
    """The SCIM backend."""

    url: Annotated[str, AfterValidator(_origin)] = Field(
        description="Scheme, host and port of the backend. No path: the client's target reaches it as it is."
    )
    connect_timeout: float = Field(
        default=5, gt=0, le=60, description="TCP and TLS handshake. A backend on the same network needs milliseconds."
    )
    head_timeout: float = Field(
        default=50,
        gt=0,
        le=3600,
        description="From the request's end to the answer's fields. Below 60: Okta and Entra give up at 60 s and would "
        "not see our 504.",
    )
    body_timeout: float = Field(default=30, gt=0, le=3600, description="The longest silence within an answer's body.")
    max_connections: int = Field(
        default=100, ge=1, le=65_535, description="Connections to the backend per process: protects a small backend."
    )
    queue_limit: int = Field(
        default=1000, ge=0, le=1_000_000, description="Requests that may wait for a connection; further ones get 503 at once."
    )
    queue_timeout: float = Field(
        default=5, ge=0, le=60, description="The longest wait for a connection, then 503 with Retry-After."
    )
    idle_timeout: float = Field(
        default=4,
        ge=0,
        le=3600,
        description="An unused backend connection is closed after this. Below the 5 s of Puma and other app servers, so "
        "that we close first.",
    )
    host: Annotated[str, AfterValidator(_host)] = Field(
        default="preserve",
        description='Host field for the backend: "preserve" the client\'s, that of the "upstream" url, or a literal name.',
    )
    forwarded: bool = Field(
        default=True,
        description="Add X-Forwarded-For, -Proto and -Host. What clients not in trusted_proxies sent of these is removed.",
    )
    tls: UpstreamTls = Field(default=UpstreamTls())


class OpsTls(Section):
    """A certificate for the ops listener, and certificates by which its clients come in."""

    cert_file: Path | None = Field(default=None, description="PEM file of the certificate chain. Needs key_file.")
    key_file: Path | None = Field(default=None, description="PEM file of its key.")
    client_ca_file: Path | None = Field(
        default=None,
        description="PEM file of the authorities that sign clients' certificates. With it a client must show one in the TLS "
        "handshake, and ops.token too if that is set. Needs cert_file.",
    )
    client_names: Words = Field(
        default=(),
        description="Names of which a client's certificate must have one, to the letter: as its common name or an alternative "
        "name. Empty lets in whoever the authorities sign for.",
    )
    open_probes: bool = Field(
        default=False,
        description="Answer /livez and /readyz without a certificate, for a kubelet has none; all else stays refused.",
    )


class Ops(Section):
    """The second listener: metrics, health, and the operators' pages."""

    host: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. Anything but loopback needs token or tls.client_ca_file.",
    )
    port: Port = Field(default=9090, description="Port to listen on; 0 takes a free one.")
    token: Annotated[SecretStr, AfterValidator(_bearer)] | None = Field(
        default=None,
        min_length=16,
        description="Bearer token that every ops request must carry. At least 16 characters: 96 bits in base 64.",
    )
    token_file: Path | None = Field(default=None, description="File that holds token.")
    tls: OpsTls = Field(default=OpsTls())


class Log(Section):
    """What is written where."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Of the program's own events; exchanges are not affected."
    )
    exchanges: bool = Field(default=True, description="Write one line per request.")
    destination: str = Field(
        default="stdout",
        min_length=1,
        description='"stdout", "stderr" or the path of a file, which is opened to append and again after SIGHUP.',
    )


class Metrics(Section):
    """Bounds of what Prometheus is given."""

    tenant_label: bool = Field(default=True, description="Name tenants in labels. Off, all are `_all`.")
    tenant_label_limit: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="Tenants named in labels: the configured ones, then the first seen; the rest is `_other`. At 10,000 "
        "a scrape takes 0.3 s.",
    )


class Traces(Section):
    """Spans for OpenTelemetry (`pip install 'scim-witness[otel]'`): one for each request, and one for each of its steps."""

    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Where a collector takes OTLP by HTTP, like http://localhost:4318/v1/traces. None: no traces.",
    )
    ratio: float = Field(
        default=1,
        ge=0,
        le=1,
        description="The share of requests that is traced where the client's traceparent does not say. Making the spans of one "
        "costs more than forwarding it.",
    )
