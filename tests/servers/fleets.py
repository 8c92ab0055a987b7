"""Redis with a replica under three Sentinels, and Redis Clusters, from Debian's redis-server."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tests.servers.process import ServerProcess, accepts, free_port, missing, room

FLEET_SECONDS: Final = 60.0
"""For Sentinels or nodes to find one another on a busy machine."""


def program(name: str) -> str:
    """The path of one of Debian's programs, or a skip (in CI a failure)."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin:/usr/sbin")
    if found is None:
        missing(f"Debian's {name} is not installed")
    return found


class Node(ServerProcess):
    """One redis-server that keeps its data when it is killed."""

    def __init__(self, directory: pathlib.Path, port: int, arguments: Sequence[str], *, tls: bool = False) -> None:
        self.port = port
        self._tls = tls
        super().__init__([program("redis-server"), *arguments], directory=directory, ready=self._is_ready)

    def _is_ready(self) -> bool:
        if self._tls:
            return accepts(socket.AF_INET, ("127.0.0.1", self.port))
        return self.ask("PING").startswith("+PONG")

    def ask(self, command: str, *more: str) -> str:
        """The beginning of the answer to a command, empty when there is none."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.settimeout(5)
            connection.sendall("".join(f"{one}\r\n" for one in (*more, command)).encode())
            answer = b""
            while answer.count(b"\r\n") <= len(more):
                answer += connection.recv(65_536)
            return answer.decode(errors="replace").split("\r\n", len(more))[-1]
        return ""


def data(stack: contextlib.ExitStack, *more: str, port: int | None = None, tls: bool = False) -> Node:
    """A running data node; with `tls` the options in `more` make its port one for TLS."""
    directory = stack.enter_context(room())
    port = port or free_port()
    plain = ("--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always", "--save", "")
    node = Node(directory, port, (*plain, "--repl-diskless-sync-delay", "0", *more), tls=tls)
    stack.callback(node.kill)
    node.start()
    return node


class Watched:
    """A master, its replica, and three Sentinels that make the replica master within seconds."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.nodes = [data(stack)]
        self.nodes.append(data(stack, "--replicaof", "127.0.0.1", str(self.nodes[0].port)))
        self.sentinels = [self._sentinel(stack) for _ in range(3)]
        until(lambda: "state=online" in self.nodes[0].ask("INFO replication"))
        until(lambda: all("slaves=1,sentinels=3" in one.ask("INFO sentinel") for one in self.sentinels))

    @property
    def url(self) -> str:
        """For the store."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/evidence"

    def _sentinel(self, stack: contextlib.ExitStack) -> Node:
        directory, port = stack.enter_context(room()), free_port()
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\nsentinel monitor evidence 127.0.0.1 {self.nodes[0].port} 2\n"
            "sentinel down-after-milliseconds evidence 1000\nsentinel failover-timeout evidence 3000\n"
        )
        node = Node(directory, port, (str(config), "--sentinel"))
        stack.callback(node.kill)
        node.start()
        return node


_IN_CLUSTER: Final = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1500")


class Cluster:
    """A Cluster as `redis-cli --cluster create` makes it: three masters, each with `replicas`."""

    def __init__(self, stack: contextlib.ExitStack, replicas: int = 0) -> None:
        self.nodes = [data(stack, *_IN_CLUSTER, port=_port_with_bus()) for _ in range(3 * (1 + replicas))]
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        create = [program("redis-cli"), "--cluster", "create", *addresses, "--cluster-replicas", str(replicas), "--cluster-yes"]
        done = subprocess.run(create, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        until(self.well)
        if replicas:
            until(lambda: all("state=online" in node.ask("INFO replication") for node in self.masters()))

    @property
    def url(self) -> str:
        """For the store."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{node.port}' for node in self.nodes[:3])}"

    def well(self) -> bool:
        """Whether every running node says that all slots are served."""
        return all("cluster_state:ok" in node.ask("CLUSTER INFO") for node in self.nodes if node.running())

    def masters(self) -> list[Node]:
        """The running nodes that take writes."""
        return [node for node in self.nodes if node.running() and "role:master" in node.ask("INFO replication")]

    def replicas(self) -> list[Node]:
        """The running nodes that copy others."""
        return [node for node in self.nodes if node.running() and "role:slave" in node.ask("INFO replication")]

    def joined(self, stack: contextlib.ExitStack) -> Node:
        """One more node, of which the first knows, without slots."""
        node = data(stack, *_IN_CLUSTER, port=_port_with_bus())
        assert "+OK" in node.ask(f"CLUSTER MEET 127.0.0.1 {self.nodes[0].port}")
        until(lambda: "cluster_state:ok" in node.ask("CLUSTER INFO"))
        return node

    def call_nobody_dead(self) -> None:
        """From now on a node that does not answer keeps its place."""
        for node in self.nodes:
            assert "+OK" in node.ask("CONFIG SET cluster-node-timeout 600000")


def until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + FLEET_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"not within {FLEET_SECONDS:g} s"
        time.sleep(0.05)


def _port_with_bus() -> int:
    """A free port whose bus port, 10,000 above, is free too."""
    while True:
        port = free_port()
        if port < 55_000:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port + 10_000))
                return port


@contextlib.contextmanager
def watched() -> Iterator[Watched]:
    """Master, replica and Sentinels, running."""
    with contextlib.ExitStack() as stack:
        yield Watched(stack)


@contextlib.contextmanager
def cluster(replicas: int = 0) -> Iterator[Cluster]:
    """A running Cluster."""
    with contextlib.ExitStack() as stack:
        yield Cluster(stack, replicas)
