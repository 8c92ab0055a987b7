"""`scim-witness health`: for a container's health check, which has neither curl nor shell."""

from __future__ import annotations

import http.client
import ssl
from typing import Final

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, settings_from
from proxy.settings import Settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)

TIMEOUT: Final = 3.0
"""Seconds for an answer: below the usual time-out of a container's health check."""
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}  # noqa: S104 - nothing is bound here
BODY_LIMIT: Final = 65_536
"""Bytes of the answer that are read."""


@app.command()
def health(config: ConfigOption = None) -> None:
    """Ask the ops listener of the running proxy for /readyz. Exit status 0 when it is ready, 1 when not or not there."""
    settings = settings_from(config)
    if settings.ops.port == 0:
        screen.stop("ops.port is 0, so its real port is known to the running proxy only", "Give ops.port a number")
    try:
        status, body = _ask(settings)
    except (OSError, http.client.HTTPException) as error:
        fix = "Is the proxy running? ops.host and ops.port must be the same as its own"
        if _shows_certificate(settings) and not isinstance(error, ConnectionRefusedError | TimeoutError):
            fix = (
                "This check shows ops.tls.cert_file: have client_ca_file sign that for clients too, or set ops.tls.open_probes"
            )
        screen.stop(f"no answer from {settings.ops.host}:{settings.ops.port} ({error})", fix)
    screen.line(body.strip() or ("ready" if status == 200 else "not ready"))
    if status != 200:
        raise typer.Exit(int(screen.Status.FAILED))


def _shows_certificate(settings: Settings) -> bool:
    """Whether the listener wants one; we have none but its own."""
    return settings.ops.tls.client_ca_file is not None and not settings.ops.tls.open_probes


def _ask(settings: Settings) -> tuple[int, str]:
    host = _ANY.get(settings.ops.host, settings.ops.host).strip("[]")
    if settings.ops.tls.cert_file is not None:
        trust = ssl.create_default_context(cafile=settings.ops.tls.cert_file)
        trust.check_hostname = False  # we call it by address; its own certificate is what we trust, whoever signed that
        trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if _shows_certificate(settings):
            trust.load_cert_chain(settings.ops.tls.cert_file, settings.ops.tls.key_file)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, settings.ops.port, timeout=TIMEOUT, context=trust
        )
    else:
        connection = http.client.HTTPConnection(host, settings.ops.port, timeout=TIMEOUT)
    headers = {}
    if settings.ops.token is not None:
        headers["Authorization"] = f"Bearer {settings.ops.token.get_secret_value()}"
    try:
        connection.request("GET", "/readyz", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(BODY_LIMIT).decode("utf-8", "replace")
    finally:
        connection.close()
