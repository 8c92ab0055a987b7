"""scim2-server as an application for gunicorn: without a length, so that it answers chunked, or gzipped (SQUEEZE=1)."""

from __future__ import annotations

import gzip
import os

from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.service import ScimService
from scim2_server.testserver.application import BearerTokenApplication
from scim2_server.utils import load_default_resource_types, load_default_schemas, load_default_service_provider_config

from tests.edge.world import GOOD

_provider = ScimProvider.from_discovery(
    load_default_schemas().values(), load_default_resource_types().values(), config=load_default_service_provider_config()
)
_scim = BearerTokenApplication(
    InMemoryStorage(), _provider, ScimService(_provider, secret="s" * 32), bearer_tokens=[GOOD.decode()]
)


def application(environ, start_response):
    """The WSGI application."""
    said: list = []

    def start(status, headers, exc_info=None):
        said[:] = [status, [(name, value) for name, value in headers if name.lower() != "content-length"], exc_info]
        return lambda _: None

    body = b"".join(_scim(environ, start))
    status, headers, exc_info = said
    if body and os.environ.get("SQUEEZE"):
        body = gzip.compress(body, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    start_response(status, headers, exc_info)
    return [body[:10], body[10:]] if body else []
