"""From the embedded store to a server of one's own, while the proxy serves: nothing is lost, and the same is shown."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import Proxy, get, until
from tests.servers.process import free_port
from tests.servers.valkey import StoreServer, engine

pytestmark = [pytest.mark.slow, pytest.mark.heavy]


@pytest.fixture
def other() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as server:
        yield server


def told(proxy: Proxy, *arguments: str) -> tuple[int, Any]:
    done = proxy.command("store", "migrate", *arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def listed(proxy: Proxy) -> set[str]:
    done = proxy.command("incidents", "list", "--limit", "500", "--json")
    return {one["id"] for one in json.loads(done.stdout)["incidents"]} if done.returncode == 0 else set()


async def refused(proxy: Proxy, count: int, name: str) -> list[str]:
    found = []
    for number in range(count):
        status, headers, _ = await get(f"{proxy.data}/scim/v2/Users", f"{name}-{number}")
        assert status == 401
        found.append(headers["X-Incident-Id"])
    return found


def point(proxy: Proxy, url: str) -> None:
    """Set store.url."""
    text = proxy.config.read_text()
    proxy.config.write_text(f'{text}\n[store]\nurl = "{url}"\n')


@pytest.mark.timeout(240)
async def test_the_embedded_store_moves_out_under_traffic(deploy, backend, other):
    proxy: Proxy = deploy(backend, more="[evidence]\nreread_after = [0.1]")
    proxy.start()
    assert (await get(f"{proxy.data}/scim/v2/Users", GOOD))[0] == 200
    before = await refused(proxy, 20, "before")
    until(lambda: set(before) <= listed(proxy))
    until(lambda: all((shown := proxy.shown(one)) is not None and shown["notes"] for one in before[:2]))
    stop = asyncio.Event()
    meanwhile: list[str] = []

    async def traffic() -> None:
        while not stop.is_set() and len(meanwhile) < 300:  # `listed` lists 500
            await asyncio.sleep(0.02)
            meanwhile.extend(await refused(proxy, 1, f"meanwhile-{len(meanwhile)}"))

    task = asyncio.create_task(traffic())
    status, found = await asyncio.to_thread(told, proxy, "--to", other.url)
    stop.set()
    await task
    assert (0, True, 0, []) == (status, found["complete"], found["missing"], found["chains"]["faults"])
    assert ("the embedded store", other.url) == (found["from"], found["to"])
    assert 20 <= found["incidents"] <= 20 + len(meanwhile)
    done = proxy.command("store", "migrate", "--to", other.url)
    assert (0, True) == (done.returncode, b"store migrate --from embedded" in done.stderr), done
    assert b"\r" not in done.stdout + done.stderr, "no bar in a pipe"
    here = [proxy.shown(one) for one in before[:2]]
    last = await refused(proxy, 3, "last")
    point(proxy, other.url)
    assert 0 == proxy.stop()
    proxy.start()
    until(lambda: set(before) <= listed(proxy))
    new = await refused(proxy, 3, "new")
    status, found = await asyncio.to_thread(told, proxy, "--from", "embedded")
    assert (0, True, 0) == (status, found["complete"], found["since"]), found
    assert 3 <= found["incidents"] <= 3 + len(meanwhile)
    assert 1 == found["chains"]["whole"]
    until(lambda: {*before, *meanwhile, *last, *new} <= listed(proxy))
    assert here == [proxy.shown(one) for one in before[:2]]
    assert 0 == proxy.stop()
    done = proxy.command("incidents", "verify")
    assert (0, True) == (done.returncode, b"in 2 chains checked, 0 faults" in done.stdout), done
    status, found = told(proxy, "--from", "embedded")
    assert (0, 0, 0) == (status, found["incidents"], found["keys"])


@pytest.mark.timeout(240)
async def test_a_successor_takes_the_new_store_without_a_lost_connection(deploy, backend, other):
    proxy: Proxy = deploy(backend)
    proxy.start()
    before = await refused(proxy, 5, "before")
    until(lambda: set(before) <= listed(proxy))
    assert 0 == told(proxy, "--to", other.url)[0]
    port = proxy.data
    point(proxy, other.url)
    predecessor = next(line for line in proxy.lines() if line["event"] == "started")
    assert proxy._process is not None
    proxy._process.send_signal(signal.SIGUSR2)
    try:
        until(lambda: len([line for line in proxy.lines() if line["event"] == "started"]) == 2, 40)
        until(lambda: proxy._process is not None and proxy._process.poll() is not None, 40)
        assert predecessor["listen"] in port
        new = await refused(proxy, 2, "new")
        status, found = await asyncio.to_thread(told, proxy, "--from", "embedded")
        assert (0, True) == (status, found["complete"]), found
        until(lambda: {*before, *new} <= listed(proxy))
    finally:
        # the predecessor names its successor last of all
        pid = next((line["pid"] for line in reversed(proxy.lines()) if "pid" in line), None)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize(
    "status, words, arguments",
    [
        (2, "One of the two", ("--to", "redis://a", "--from", "redis://b")),
        (2, "store URL must begin with", ("--to", "http://127.0.0.1")),
        (2, "--password-file: No such file", ("--to", "redis://127.0.0.1", "--password-file", "/nowhere")),
        (4, "it goes on", ("--to", "NOBODY")),
        (4, "there is no embedded store", ("--from", "embedded")),
        (1, "both are the same store", ("--to", "OWN")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_it_cannot_do(deploy, backend, other, status, words, arguments):
    proxy: Proxy = deploy(backend)
    point(proxy, other.url)
    said = {"OWN": other.url, "NOBODY": f"redis://127.0.0.1:{free_port()}"}
    done = proxy.command("store", "migrate", *(said.get(word, word) for word in arguments))
    assert (status, True) == (done.returncode, words in done.stderr.decode()), done
    assert b"Traceback" not in done.stderr


def test_a_password_is_read_from_a_file_and_never_shown(deploy, backend, other, tmp_path):
    secret = "a-password-of-the-test"
    (tmp_path / "secret").write_text(f"{secret}\n")
    with engine("bundled").server(tcp=True) as closed, redis.Redis.from_url(closed.url) as client:
        client.config_set("requirepass", secret)
        proxy: Proxy = deploy(backend)
        point(proxy, other.url)
        done = proxy.command("store", "migrate", "--to", closed.url)
        assert 4 == done.returncode
        done = proxy.command("store", "migrate", "--to", closed.url, "--password-file", str(tmp_path / "secret"))
        assert 0 == done.returncode, done
        done = proxy.command("store", "migrate", "--to", closed.url.replace("//", f"//:{secret}@"))
        assert 0 == done.returncode, done
        assert secret.encode() not in done.stdout + done.stderr
