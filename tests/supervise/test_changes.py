"""Settings that change while the proxy runs: in force whole, or not at all and said why."""

from __future__ import annotations

import asyncio
import hashlib
import json
import pathlib
import re
import signal
import socket
import time

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.settings import load
from proxy.supervise import serving
from proxy.supervise.changes import Changes
from proxy.supervise.orders import Order, Orders
from proxy.wire import Program
from proxy.wire.reloads import LIVE, require_live
from proxy.wire.state import StartFault
from tests.supervise.deployment import GOOD, Deployment, until

pytestmark = pytest.mark.heavy

OPS_TOKENS = ("the-first-ops-token", "the-second-ops-token")


async def ask(url: str, token: str = "", text: bool = True) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


async def metric(deployment: Deployment, name: str, token: str = "") -> dict[str, float]:
    """Samples of a metric: what follows its name, and the value."""
    _, text = await ask(f"{deployment.ops}/metrics", token)
    lines = [line.removeprefix(f"scim_witness_{name}") for line in text.splitlines() if line.startswith(f"scim_witness_{name}")]
    return {labels: float(value) for labels, _, value in (line.rpartition(" ") for line in lines)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_bad_file_changes_nothing_and_says_why(backend, deploy, workers):
    deployment = deploy(backend, workers=workers, watch_every=0.2)
    await deployment.start()
    applied = min((await metric(deployment, "config_reload_timestamp_seconds")).values())
    assert applied <= time.time()
    deployment.write(more="[policy]\nmode = 'obsreve'\n[store]\ntimeoot = 1\n")
    refused = await deployment.event("settings_refused")
    assert "policy.mode" in refused["why"]
    assert "and 1 more" in refused["why"]
    assert (200, 401) == (
        (await ask(f"{deployment.data}/Users", GOOD))[0],
        (await ask(f"{deployment.data}/Users", "x" * 20))[0],
    )
    status, text = await ask(f"{deployment.ops}/readyz?verbose")
    part = next(part for part in json.loads(text)["parts"] if part["name"] == "settings")
    assert (200, "degraded", f"not taken: {refused['why']}") == (status, part["state"], part["detail"])
    samples = await metric(deployment, "config_reloads_total")
    assert {1.0} == {value for labels, value in samples.items() if 'result="refused"' in labels}
    deployment.write(more="[policy]\nmode = 'observe'\n")
    await deployment.event("settings_applied")
    assert 200 == (await ask(f"{deployment.data}/Users", "x" * 20))[0]
    _, text = await ask(f"{deployment.ops}/readyz?verbose")
    assert "ok" == next(part for part in json.loads(text)["parts"] if part["name"] == "settings")["state"]
    assert max((await metric(deployment, "config_reload_timestamp_seconds")).values()) > applied


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_another_backend_and_another_source_from_one_moment_on(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)

    async def two(_: web.Request) -> web.Response:
        return web.json_response({"backend": "two"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", two)
    async with TestServer(app) as server, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:

        async def kept(token: str) -> tuple[int, str]:
            async with session.get(f"{deployment.data}/Users", headers={"Authorization": f"Bearer {token}"}) as answer:
                return answer.status, await answer.text()

        await deployment.start()
        assert (200, '{"backend": "one"}') == await kept(GOOD)
        assert 401 == (await kept("a-token-of-the-other-source-0123456789"))[0]
        before = session.connector
        other = deployment.tokens.with_name("other.toml")
        other.write_text(deployment.tokens.read_text().replace(hex_of(GOOD), hex_of("a-token-of-the-other-source-0123456789")))
        deployment.tokens = other
        deployment.write(upstream=f"http://127.0.0.1:{server.port}")
        deployment.signal(signal.SIGHUP)
        await deployment.event("settings_applied")
        assert before is session.connector
        assert (200, '{"backend": "two"}') == await kept("a-token-of-the-other-source-0123456789")
        assert 401 == (await kept(GOOD))[0]


def hex_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
async def test_a_source_that_does_not_answer_is_not_taken(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)
    await deployment.start()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dsn = f"postgresql://nobody@127.0.0.1:{closed.getsockname()[1]}/none"
        text = deployment.config.read_text()
        start = text.index("[source]")
        end = text.index("[evidence]")
        deployment.config.write_text(
            f'{text[:start]}[source]\nkind = "doorkeeper_postgres"\nname = "main"\ndsn = "{dsn}"\n{text[end:]}'
        )
        deployment.signal(signal.SIGHUP)
        refused = await deployment.event("settings_refused")
    assert "source main: refused" in refused["why"]
    assert 200 == (await ask(f"{deployment.data}/Users", GOOD))[0]


@pytest.mark.slow
async def test_a_secret_in_a_file_is_read_again_when_the_file_changes(backend, deploy):
    deployment = deploy(backend, watch_every=0.1)
    secret = deployment.directory / "ops-token"
    secret.write_text(OPS_TOKENS[0])
    deployment.config.write_text(deployment.config.read_text().replace("[ops]", f'[ops]\ntoken_file = "{secret}"'))
    await deployment.start()
    assert [200, 401] == [(await ask(f"{deployment.ops}/readyz?verbose", token))[0] for token in OPS_TOKENS]
    secret.write_text(OPS_TOKENS[1])
    await deployment.event("settings_applied")
    assert [401, 200] == [(await ask(f"{deployment.ops}/readyz?verbose", token))[0] for token in OPS_TOKENS]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
async def test_the_log_is_opened_anew_after_rotation(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)
    await deployment.start()
    assert 200 == (await ask(f"{deployment.data}/before", GOOD))[0]
    await until(lambda: any(line.get("target") == "/before" for line in deployment.lines()))
    deployment.log.rename(deployment.directory / "proxy.log.1")
    deployment.signal(signal.SIGHUP)
    await deployment.event("settings_applied")
    assert 200 == (await ask(f"{deployment.data}/after", GOOD))[0]
    await until(lambda: deployment.log.exists() and b'"/after"' in deployment.log.read_bytes())
    assert b'"/after"' not in (deployment.directory / "proxy.log.1").read_bytes()


@pytest.mark.slow
async def test_a_request_under_way_ends_by_the_settings_that_it_began_with(deploy):
    gate = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first ")
        await gate.wait()
        await answer.write(b"last")
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", slow)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        deployment = deploy(f"http://127.0.0.1:{server.port}")
        await deployment.start()
        async with session.get(f"{deployment.data}/Users", headers={"Authorization": f"Bearer {GOOD}"}) as answer:
            assert b"first " == await answer.content.readexactly(6)
            deployment.write(upstream="http://127.0.0.1:1")
            deployment.signal(signal.SIGHUP)
            await deployment.event("settings_applied")
            assert 502 == (await ask(f"{deployment.data}/Users", GOOD))[0]
            gate.set()
            assert b"last" == await answer.content.read()


def settings(folder, **changes):
    file = folder / "proxy.toml"
    (folder / "t").touch()
    rest = {"upstream.url": "http://127.0.0.1:1", "source.kind": "token_file", "source.path": "t"} | changes
    return load(None, {f"SCIM_WITNESS_{k.replace('.', '__').upper()}": str(v) for k, v in rest.items() if file})


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"listen.port": 3}, "listen.port"),
        ({"listen.host": "127.0.0.2", "state_dir": "elsewhere"}, "state_dir, listen.host"),
        ({"workers": 2}, "workers"),
        ({"store.timeout": 2}, "store.timeout"),
        ({"ops.token": "x" * 20}, "ops.token (given or not)"),
        ({"listen.tls.cert_file": "c", "listen.tls.key_file": "k"}, "listen.tls (given or not)"),
        ({"ops.tls.cert_file": "c", "ops.tls.key_file": "k"}, "ops.tls.cert_file (given or not)"),
        ({"listen.proxy_protocol": "true", "listen.trusted_proxies": "::1"}, "listen.proxy_protocol"),
    ],
    ids=str,
)
def test_what_cannot_change_is_named(tmp_path, changes, named):
    with pytest.raises(StartFault, match="cannot change while the proxy runs") as fault:
        require_live(settings(tmp_path), settings(tmp_path, **changes))
    assert str(fault.value).startswith(f"{named} ")


@pytest.mark.parametrize(
    "changes",
    [
        {"policy.mode": "observe"},
        {"listen.drain_seconds": 1},
        {"upstream.url": "http://h:2"},
        {"limits.requests_per_tenant": 1},
        {},
    ],
)
def test_what_can_change_is_taken(tmp_path, changes):
    require_live(settings(tmp_path), settings(tmp_path, **changes))


@pytest.mark.parametrize("moved", [False, True])
def test_the_password_of_the_store_changes_in_its_file_only(tmp_path, moved):
    files = tmp_path / "one", tmp_path / "other"
    found = []
    for number, file in enumerate((files[0], files[moved])):
        file.write_text(f"password-{number}")
        found.append(settings(tmp_path, **{"store.url": "redis://h", "store.password_file": file}))
    if not moved:
        require_live(*found)
    else:
        with pytest.raises(StartFault, match=r"store\.password_file"):
            require_live(*found)


def test_what_can_change_are_settings(tmp_path):
    found = settings(tmp_path)
    for key in LIVE:
        value = found
        for name in key.split("."):
            assert name in value.__struct_fields__, key
            value = getattr(value, name)


def test_the_page_names_what_can_change():
    page = (pathlib.Path(__file__).parents[2] / "docs/how-to/workers-reload-upgrade.md").read_text()
    names = page.partition("by a test -->")[2].partition("What `store")[0]
    assert LIVE == set(re.findall(r"`([a-z_.]+)`", names))


def test_a_file_that_is_being_written_is_not_read(tmp_path):
    file = tmp_path / "proxy.toml"
    text = '[upstream]\nurl = "http://127.0.0.1:1"\n[source]\nkind = "token_file"\npath = "t"\n'
    file.write_text(text)
    changes = Changes(load(file, {}))
    assert [False, False] == [changes.look(), changes.look()]
    file.write_text(f"{text}#")
    first = changes.look()
    file.write_text(f"{text}##")
    assert [False, False, True, False] == [first, changes.look(), changes.look(), changes.look()]


def test_a_secret_file_is_one_of_the_files(tmp_path):
    (tmp_path / "token").write_text("x" * 20)
    file = tmp_path / "proxy.toml"
    file.write_text(
        '[upstream]\nurl = "http://127.0.0.1:1"\n[source]\nkind = "token_file"\npath = "t"\n[ops]\ntoken_file = "token"\n'
    )
    assert (file, tmp_path / "token") == load(file, {}).files


async def test_many_changes_leave_nothing_behind(backend, deploy):
    deployment = deploy(backend)
    program = Program(load(deployment.config, {}))
    await program.start()
    try:
        before = (len(asyncio.all_tasks()), len(list(pathlib.Path("/proc/self/fd").iterdir())))
        for number in range(20):
            deployment.write(more=f'[policy]\nrealm = "{number}"\n[fresh]\nactive_window = {300 + number}\n')
            await program.prepare(load(deployment.config, {}))
            await (program.commit if number % 2 else program.discard)()

        def as_before() -> bool:
            now = (len(asyncio.all_tasks()), len(list(pathlib.Path("/proc/self/fd").iterdir())))
            return now[0] <= before[0] and now[1] <= before[1] + 2  # the store's pool may have grown meanwhile

        await until(as_before)
        assert not program.present.leaving
    finally:
        await program.stop()


async def test_what_was_refused_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "RETRY_SECONDS", 0.05)
    program = Program(settings(tmp_path, watch_every=0.01))
    orders = Orders()
    watching = asyncio.create_task(serving._watch(program, Changes(program.settings), orders))
    await asyncio.sleep(0.2)
    assert not orders._waiting  # nothing changed and nothing was refused
    program.reloads.refuse("source main: refused")
    assert Order.RELOAD is await asyncio.wait_for(orders.next(), 10)
    watching.cancel()
