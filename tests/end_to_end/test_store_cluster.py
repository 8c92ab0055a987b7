"""The wired program, its commands and its pages on a Redis Cluster of three nodes, a node's death included."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
import redis

from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import Proxy, get, until
from tests.servers import fleets

pytestmark = [pytest.mark.redis_server, pytest.mark.slow]


@pytest.fixture(scope="module")
def cluster() -> Iterator[fleets.Cluster]:
    with fleets.cluster() as ready:
        yield ready


@pytest.fixture
def proxy(deploy, backend, cluster) -> Proxy:
    deployed: Proxy = deploy(backend, more=f'[store]\nurl = "{cluster.url}"')
    deployed.start()
    return deployed


async def refused(proxy: Proxy, count: int, name: str) -> list[str]:
    found = []
    for number in range(count):
        status, headers, _ = await get(f"{proxy.data}/scim/v2/Users", f"{name}-{number}")
        assert status == 401
        found.append(headers["X-Incident-Id"])
    return found


def listed(proxy: Proxy) -> set[str]:
    done = proxy.command("incidents", "list", "--limit", "500", "--json")
    return {one["id"] for one in json.loads(done.stdout)["incidents"]} if done.returncode == 0 else set()


async def test_every_command_and_every_page_works_on_a_cluster(proxy, cluster, tmp_path):
    assert (await get(f"{proxy.data}/scim/v2/Users", GOOD))[0] == 200
    ids = await refused(proxy, 10, "unknown")
    until(lambda: set(ids) <= listed(proxy))
    shown = proxy.shown(ids[0])
    assert shown is not None
    tenant = shown["incident"]["tenant"]
    fingerprint = proxy.command("fingerprint", stdin=GOOD.encode()).stdout.decode().strip()
    until(lambda: proxy.command("token", fingerprint).returncode == 0)
    until(lambda: proxy.command("last-seen").returncode == 0)
    for command in (
        ("incidents", "list"),
        ("incidents", "list", "--token", fingerprint),
        ("incidents", "list", "--tenant", tenant),
        ("incidents", "stats"),
        ("incidents", "verify"),
        ("incidents", "export", ids[1], "-o", str(tmp_path / "one.html")),
        ("explain", ids[2]),
        ("token", fingerprint),
        ("tenants",),
        ("last-seen",),
        ("absence", "--tenant", "acme", "--from", "1h"),
        ("store", "ping"),
        ("store", "migrate"),
        ("doctor",),
    ):
        done = await asyncio.to_thread(proxy.command, *command)
        assert done.returncode == 0, (command, done)
    for page in ("/", "/incidents", f"/incidents/{ids[3]}", f"/tokens/{fingerprint}", "/tenants/acme", f"/i/{ids[3]}"):
        status, _, body = await get(f"{proxy.ops}{page}")
        assert status == 200, (page, body)
    done = proxy.command("store", "purge", "--older-than", "0s", "--yes")
    assert done.returncode == 0, done
    assert not set(ids) & listed(proxy)


async def test_a_dead_node_costs_no_incident_and_no_request(proxy, cluster):
    before = await refused(proxy, 10, "before")
    until(lambda: set(before) <= listed(proxy))
    cluster.nodes[1].kill()
    during = await refused(proxy, 10, "during")
    status, _, body = await get(f"{proxy.ops}/readyz?verbose")
    assert status == 200, body
    assert (await get(f"{proxy.data}/scim/v2/Users", GOOD))[0] == 200
    cluster.nodes[1].start()
    after = await refused(proxy, 10, "after")
    until(lambda: {*before, *during, *after} <= listed(proxy), 40)
    assert proxy.stop() == 0
    done = proxy.command("incidents", "verify")
    assert done.returncode == 0, done


def stored(node: fleets.Node, password: str) -> set[str]:
    """Every incident in the store's streams."""
    client = redis.Redis(port=node.port, username="witness", password=password)
    with contextlib.closing(client):
        streams = [key for key in client.scan_iter("sw:*:inc") if client.type(key) == b"stream"]
        return {fields[b"i"].decode() for key in streams for _, fields in cast("list[Any]", client.xrange(key))}


async def eventually_ready_says(proxy: Proxy, *, behind: bool) -> None:
    async with asyncio.timeout(60):
        while (b"replicas" in (await get(f"{proxy.ops}/readyz?verbose"))[2]) is not behind:
            await asyncio.sleep(0.05)


async def test_the_settings_of_the_store_reach_its_client(deploy, backend, tmp_path):
    """An ACL user, a password in a file that changes under way, and a replica that must have everything."""
    with contextlib.ExitStack() as stack:
        node = fleets.data(stack)
        assert "+OK" in node.ask("ACL SETUSER witness on >first ~* &* +@all")
        assert "+OK" in node.ask("ACL SETUSER default off")
        file = tmp_path / "password"
        file.write_text("first\n")
        more = f'[store]\nurl = "redis://127.0.0.1:{node.port}"\nusername = "witness"\npassword_file = "{file}"\ncopies = 1'
        proxy = deploy(backend, more=more)
        proxy.start()
        (one,) = await refused(proxy, 1, "one")
        await eventually_ready_says(proxy, behind=True)
        assert one in stored(node, "first")
        assert "+OK" in node.ask("ACL SETUSER witness resetpass >second", "AUTH witness first")
        file.write_text("second\n")
        login = ("--masteruser", "witness", "--masterauth", "second")
        fleets.data(stack, "--replicaof", "127.0.0.1", str(node.port), *login)
        assert ":" in node.ask("CLIENT KILL TYPE normal SKIPME yes", "AUTH witness second")
        await eventually_ready_says(proxy, behind=False)
        (two,) = await refused(proxy, 1, "two")
        until(lambda: two in stored(node, "second"))
        assert proxy.stop() == 0
