"""Every kind of source in a world of its own, for the suites that all of them pass."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from proxy.sources.cross_check import CrossCheck
from proxy.sources.doorkeeper.options import Hashing
from proxy.sources.first_match import FirstMatch
from proxy.sources.token_file import TokenFile
from proxy.tasks import Tasks
from tests.servers.relay import Relay
from tests.sources.conftest import FINGERPRINTER
from tests.sources.issuer import Issuer
from tests.sources.real_doorkeeper import endpoint_world, table_world
from tests.sources.worlds import (
    FileWorld,
    Wire,
    World,
    doorkeeper_world,
    introspection_world,
    jwt_world,
    mariadb_tables,
    postgres_tables,
)

SHORT: Final = 0.3
"""Seconds a source waits for a server on a broken wire; a server that is well answers in milliseconds."""

OVER_A_WIRE: Final = (
    "postgres_plain",
    pytest.param("mariadb_plain", marks=pytest.mark.mariadb),
    "introspection",
    "jwt",
    pytest.param("real_doorkeeper_plain", marks=pytest.mark.doorkeeper),
    pytest.param("real_doorkeeper_introspection", marks=pytest.mark.doorkeeper),
)
KINDS: Final = (
    "token_file",
    *OVER_A_WIRE,
    "postgres_sha256",
    pytest.param("mariadb_sha256", marks=pytest.mark.mariadb),
    pytest.param("real_doorkeeper_hashed", marks=pytest.mark.doorkeeper),
    "first_match",
    "cross_check",
)


async def straight(url: str) -> str:
    """No relay: the server itself."""
    return url


class Kinds:
    """Builds worlds and takes them down with `stack`."""

    def __init__(
        self, request: pytest.FixtureRequest, stack: contextlib.AsyncExitStack, opened: Callable[..., Any], tasks: Tasks
    ) -> None:
        self._request = request
        self._stack = stack
        self._opened = opened
        self._tasks = tasks

    async def build(self, kind: str, directory: Path) -> World:
        """A world of any kind."""
        if kind == "token_file":
            file = FileWorld(directory / "tokens.json")
            return World(file.source, file.delete, file.revoke, file.replace)
        if kind == "first_match":
            return await self._first_match(directory)
        if kind == "cross_check":
            return await self._cross_check()
        return await self._over(kind, straight)

    async def relayed(self, kind: str) -> tuple[World, Relay]:
        """A world whose source reaches its server by a relay, with short deadlines."""
        relays: list[Relay] = []

        async def wire(url: str) -> str:
            parts = urllib.parse.urlsplit(url)
            assert parts.hostname is not None
            assert parts.port is not None
            relay = await Relay(parts.hostname, parts.port).start()
            self._stack.push_async_callback(relay.close)
            relays.append(relay)
            return parts._replace(netloc=parts.netloc.rpartition(":")[0] + f":{relay.port}").geturl()

        return await self._over(kind, wire, short=True), relays[0]

    async def _over(self, kind: str, wire: Wire, *, short: bool = False) -> World:
        deadline = {"timeout": SHORT} if short else {}
        deadlines = {"query_timeout": SHORT, "connect_timeout": SHORT, "surroundings_timeout": SHORT} if short else {}
        if kind in ("introspection", "jwt"):
            issuer = await self._issuer()
            world = await (
                introspection_world(issuer, wire, **deadline)
                if kind == "introspection"
                else jwt_world(issuer, self._tasks, wire, **deadline)
            )
        elif kind.startswith("real_doorkeeper"):
            vendors = self._request.getfixturevalue("vendors")
            if kind.endswith("introspection"):
                world = await endpoint_world(vendors(TOKEN_SECRETS="plain"), wire, **deadline)
            else:
                mode = kind.rpartition("_")[2]
                world = await table_world(vendors(TOKEN_SECRETS=mode), self._opened, wire, **deadlines)
        else:
            world = await self._tables(kind, wire, deadlines)
        self._stack.push_async_callback(world.source.close)  # type: ignore[attr-defined]
        return world

    async def _tables(self, kind: str, wire: Wire, deadlines: dict[str, float]) -> World:
        on_mariadb = kind.startswith("mariadb")
        server = self._request.getfixturevalue("mariadb" if on_mariadb else "postgres")
        tables = await self._stack.enter_async_context(mariadb_tables(server) if on_mariadb else postgres_tables(server))
        hashing = Hashing.SHA256 if kind.endswith("sha256") else Hashing.PLAIN
        return await doorkeeper_world(tables, self._opened, hashing, wire, **deadlines)

    async def _issuer(self) -> Issuer:
        issuer = await Issuer().start()
        self._stack.push_async_callback(issuer.close)
        return issuer

    async def _first_match(self, directory: Path) -> World:
        world = await self._over("postgres_plain", straight)
        empty = directory / "empty.toml"
        empty.write_text("")
        nothing = TokenFile(empty, fingerprinter=FINGERPRINTER, report=lambda faults: pytest.fail(str(faults)))
        world.source = FirstMatch([nothing, world.source])
        return world

    async def _cross_check(self) -> World:
        world = await self._over("postgres_plain", straight)
        issuer = await self._issuer()
        blind = (await introspection_world(issuer, straight)).source
        issuer.tokens.clear()
        self._stack.push_async_callback(blind.close)  # type: ignore[attr-defined]
        self._stack.push_async_callback(self._tasks.close)  # comparisons go on behind the answers
        world.source = CrossCheck(world.source, blind, self._tasks, lambda *_: None)
        return world
