"""Everything that stands on the stage, started and stopped in order: PostgreSQL, the vendor, its backend, the proxy.

All of it lives in one folder and ends with it. The proxy is the wired program with a configuration file like anybody's.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from proxy.demo.backend import BASE, Backend
from proxy.demo.okta import OktaApp
from proxy.demo.postgres import Postgres
from proxy.demo.vendor import DATABASE, READER, Vendor
from proxy.settings import load
from proxy.wire import Program

CONFIG: Final = """\
# Written by `scim-witness demo`.
state_dir = {state_dir}
base_path = {base_path}

[listen]
port = 0

[upstream]
url = {upstream}

[source]
kind = "doorkeeper_postgres"
dsn = {dsn}
tenant_from = "application_name"

[source.owner]
table = "service_accounts"
active_column = "active"

[tenants.acme]
client = "okta"

[ops]
port = 0

[log]
destination = {log}
"""


class Stage(msgspec.Struct, frozen=True):
    """What the play acts with. `url` is the SCIM base URL a customer types in, `ops` that of the operators' listener;
    `living` are customers who go on sending."""

    vendor: Vendor
    backend: Backend
    session: aiohttp.ClientSession
    url: str
    ops: str
    config: pathlib.Path
    living: list[OktaApp]


@contextlib.asynccontextmanager
async def set_up() -> AsyncIterator[Stage]:
    """Start everything on free ports in a new folder, which is removed at the end. PostgresError: PostgreSQL cannot start."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(_folder())
        postgres = Postgres(folder / "postgres")
        stack.callback(postgres.stop)
        postgres.start()
        vendor = await Vendor.open(postgres.dsn(), postgres.dsn(DATABASE))
        stack.push_async_callback(vendor.close)
        backend = Backend()
        upstream = await stack.enter_async_context(_serve(backend))
        config = folder / "proxy.toml"
        config.write_text(_config(folder, upstream, postgres.dsn(DATABASE, READER)))
        program = Program(load(config, {}))
        await program.start()
        stack.push_async_callback(program.stop)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Stage(vendor, backend, session, _url(program.data_address) + BASE, _url(program.ops_address), config, [])


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    """A folder with a short name, because a unix socket's path must be short."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sw-demo-"))
    try:
        if os.geteuid() == 0:
            path.chmod(0o711)  # PostgreSQL then runs as nobody and must pass through
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def _serve(backend: Backend) -> AsyncIterator[str]:
    runner = web.AppRunner(backend.app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _config(folder: pathlib.Path, upstream: str, dsn: str) -> str:
    values = {"state_dir": folder / "state", "base_path": BASE, "upstream": upstream, "dsn": dsn, "log": folder / "proxy.log"}
    return CONFIG.format(**{name: json.dumps(str(value)) for name, value in values.items()})


def _url(address: tuple[str, int]) -> str:
    return f"http://{address[0]}:{address[1]}"
