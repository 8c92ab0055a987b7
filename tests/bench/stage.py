"""Everything that stands while the rounds go on: PostgreSQL, Redis, the backend, and the list of contenders."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from tests.bench import backend, machine, mix
from tests.bench.contender import Contender, direct
from tests.bench.peers import Peers
from tests.bench.validator import key
from tests.bench.witness import Witness
from tests.servers import postgres, valkey

DIRECT = "the backend directly"


class Stage(NamedTuple):
    """What the rounds are played on. `backend` is the port of the SCIM backend."""

    folder: pathlib.Path
    cores: machine.Cores
    backend: int
    witness: Witness
    contenders: list[Contender]


@contextlib.contextmanager
def set_up(cores: machine.Cores, customers: int, tenants: int) -> Iterator[Stage]:
    """Start what all share, in a folder of its own that is removed at the end."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sw-bench-", dir="/tmp")))
        redis = stack.enter_context(_engine().server(tcp=True, arguments=("--appendonly", "no", "--io-threads", "1")))
        _fill(redis, customers)
        machine.pin([redis.pid], cores.proxy)
        server = stack.enter_context(stack.enter_context(postgres.installation()).server())
        witness = Witness(server, customers, tenants)
        witness.prepare(cores)
        port = stack.enter_context(backend.scim(folder / "backend", cores.load))
        peers = Peers(customers, redis.url, redis.pid).all()
        yield Stage(folder, cores, port, witness, [*witness.contenders(), *peers, Contender(DIRECT, direct, checked=False)])


def _engine() -> valkey.Engine:
    """Debian's Redis where it is installed, else the bundled Valkey."""
    found = pathlib.Path("/usr/bin/redis-server")
    return valkey.Engine("debian", found) if found.is_file() else valkey.engine("bundled")


def _fill(redis: valkey.StoreServer, customers: int) -> None:
    """The validator's tokens: the good ones alone."""
    commands = b"".join(b"SET %b customer-%d\r\n" % (key(mix.good_token(n)).encode(), n) for n in range(customers))
    with socket.create_connection(("127.0.0.1", redis.port)) as connection:
        connection.sendall(commands)
        answered = b""
        while answered.count(b"+OK\r\n") < customers:
            answered += connection.recv(65_536)
