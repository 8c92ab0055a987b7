"""Doctor finds what is wrong with each part and says what to do; one part's trouble does not hide another's."""

from __future__ import annotations

import socket
import ssl

import asyncpg
import pytest
from aiohttp import web

from proxy.cli import doctor_checks
from proxy.cli.doctor_checks import examine
from proxy.cli.store_findings import store_findings
from proxy.core.finding import Level
from proxy.demo.vendor import SCHEMA
from proxy.evidence.spool import Spool
from proxy.settings import load
from tests.edge.certificates import Authority

TOKEN_FILE = '[source]\nkind = "token_file"\npath = "tokens.toml"'


@pytest.fixture
def settings(tmp_path):
    def build(**changes):
        (tmp_path / "tokens.toml").touch()
        file = tmp_path / "proxy.toml"
        listen, url = changes.get("listen", 0), changes.get("url", "http://127.0.0.1:1")
        store = f'[store]\nurl = "{changes["store"]}"\n' if "store" in changes else ""
        file.write_text(
            f'state_dir = "{changes.get("state", tmp_path / "state")}"\n[listen]\nport = {listen}\n[ops]\nport = 0\n'
            f'[upstream]\nurl = "{url}"\n{changes.get("source", TOKEN_FILE)}\n{store}{changes.get("more", "")}\n'
        )
        return load(file, {})

    return build


async def findings(settings):
    return {group.part: group.findings for group in await examine(settings)}


async def test_all_is_well(settings, aiohttp_server, valkey_url):
    async def config(_request):
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/ServiceProviderConfig", config)
    server = await aiohttp_server(app)
    found = await findings(settings(url=f"http://127.0.0.1:{server.port}", store=valkey_url))
    assert [Level.OK] == list({finding.level for part, all_of in found.items() if part != "Store" for finding in all_of})
    assert found["Store"][0].what.startswith("answers in")
    assert Level.FAULT not in {finding.level for finding in found["Store"]}


async def test_nothing_is_well_and_each_part_says_so(settings, unused_tcp_port, tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        found = await findings(
            settings(
                url=f"http://127.0.0.1:{unused_tcp_port}",
                store=f"redis://127.0.0.1:{unused_tcp_port}",
                listen=port,
                state=tmp_path / "tokens.toml" / "state",
            )
        )
    for part, words in {
        "State directory": "cannot be made",
        "Listeners": "cannot be taken",
        "Backend": "cannot be reached",
        "Store": "does not answer",
    }.items():
        faults = [finding for finding in found[part] if finding.level is Level.FAULT]
        assert len(faults) == 1, part
        assert words in faults[0].what
        assert faults[0].fix


@pytest.mark.parametrize(
    "part, key, changes",
    [
        ("Listeners", "listen.tls.cert_file", {"more": '[listen.tls]\ncert_file = "none.pem"\nkey_file = "none.key"'}),
        ("Listeners", "ops.tls.cert_file", {"more": '[ops.tls]\ncert_file = "none.pem"\nkey_file = "none.key"'}),
        ("Backend", "upstream.tls.ca_file", {"url": "https://127.0.0.1:1", "more": '[upstream.tls]\nca_file = "none.pem"'}),
        ("Store", "store.ca_file", {"store": "rediss://127.0.0.1:1", "more": 'ca_file = "none.pem"'}),
    ],
)
async def test_a_certificate_file_that_is_missing_is_named_by_its_setting(settings, tmp_path, part, key, changes):
    found = await findings(settings(**changes))
    (fault,) = [finding for finding in found[part] if finding.level is Level.FAULT]
    assert f"{key} {tmp_path}/none.pem: No such file or directory" == fault.what
    assert fault.fix == "check the path and its permissions"


@pytest.mark.parametrize("expression, levels", [("active", []), ("no_such_column IS NULL", [Level.FAULT])])
async def test_sql_of_the_vendor_that_does_not_fit_is_found_by_asking(settings, database, expression, levels):
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(SCHEMA)
    finally:
        await connection.close()
    owner = f'[source.owner]\ntable = "service_accounts"\nactive_expression = "{expression}"'
    found = await findings(settings(source=f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{database}"\n{owner}'))
    faults = [finding for finding in found["Source doorkeeper"] if finding.level is Level.FAULT]
    assert levels == [fault.level for fault in faults]
    assert all("no_such_column" in fault.what and "source.owner" in fault.fix for fault in faults)


async def test_a_token_file_that_is_missing_or_broken_is_a_fault_and_hides_nothing(settings, tmp_path):
    built = settings()
    (tmp_path / "tokens.toml").write_text('[[token]]\nname = "x"\n')
    broken = (await findings(built))["Sources"]
    assert {Level.FAULT} == {finding.level for finding in broken}
    assert all(any(word in finding.what for finding in broken) for word in ("digest: is required", "created_at: must be"))
    (tmp_path / "tokens.toml").unlink()
    found = await findings(built)
    (missing,) = found["Sources"]
    assert (Level.FAULT, True, True) == (missing.level, "No such file" in missing.what, "Store" in found)


@pytest.mark.parametrize("place, levels", [("w.log", [Level.OK]), ("none/w.log", [Level.FAULT]), ("", [Level.FAULT])])
async def test_a_log_that_cannot_be_written_keeps_the_proxy_from_starting(settings, tmp_path, place, levels):
    found = (await findings(settings(more=f'[log]\ndestination = "{tmp_path / place}"')))["Configuration"]
    assert levels == [finding.level for finding in found]
    assert not (tmp_path / "w.log").exists()


@pytest.mark.parametrize("lives", [True, False])
async def test_ports_of_a_proxy_that_runs_with_a_store_of_its_own_are_no_fault(settings, tmp_path, lives):
    (tmp_path / "state").mkdir(mode=0o700)
    spool = Spool(tmp_path / "state" / "spool", 1 << 20, 1 << 24, "one")
    if not lives:
        spool.close()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        found = await findings(settings(listen=port, store="redis://127.0.0.1:1"))
    assert (Level.OK if lives else Level.FAULT) is found["Listeners"][0].level, found["Listeners"]
    if lives:
        spool.close()


@pytest.mark.parametrize("level, name", [(Level.OK, "localhost"), (Level.FAULT, "other.example")])
async def test_the_backends_certificate_is_checked_by_the_name_that_the_proxy_checks(
    settings, aiohttp_server, tmp_path, level, name
):
    async def config(_request):
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/ServiceProviderConfig", config)
    pair = Authority(tmp_path).issue("backend")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    server = await aiohttp_server(app, ssl=context)
    url = f"https://127.0.0.1:{server.port}"  # it names this address and localhost
    tls = f'[upstream.tls]\nca_file = "{tmp_path / "ca.pem"}"\nserver_name = "{name}"'
    (finding,) = (await findings(settings(url=url, more=tls)))["Backend"]
    assert level is finding.level, finding


async def test_a_file_in_place_of_the_state_folder_is_one_fault(settings, tmp_path):
    (fault,) = (await findings(settings(state=tmp_path / "tokens.toml")))["State directory"]
    assert (Level.FAULT, f"{tmp_path / 'tokens.toml'} is no folder") == (fault.level, fault.what)


async def test_a_certificate_that_has_ended_is_warned_of(settings, tmp_path):
    ended = Authority(tmp_path).issue("ended", hours=-1)
    tls = f'[listen.tls]\ncert_file = "{ended.certificate}"\nkey_file = "{ended.key}"'
    (warning,) = [f for f in (await findings(settings(more=tls)))["Listeners"] if f.level is Level.WARNING]
    assert "has expired" in warning.what


async def test_a_folder_open_to_others_is_warned_of(settings, tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    found = await findings(settings())
    assert f"chmod 700 {tmp_path / 'state'}" in [finding.fix for finding in found["State directory"]]


async def test_a_full_disk_is_warned_of(settings, tmp_path, monkeypatch):
    (tmp_path / "state").mkdir(mode=0o700)
    monkeypatch.setattr(doctor_checks, "FREE_BYTES", 1 << 80)
    found = await findings(settings())
    assert Level.WARNING in {finding.level for finding in found["State directory"]}


@pytest.mark.parametrize(
    "levels, info",
    [
        ([Level.OK, Level.OK], {"valkey_version": "9.1.2", "redis_version": "7.2.4", "aof_enabled": "1"}),
        ([Level.OK, Level.OK], {"redis_version": "6.2.0", "aof_enabled": "1"}),
        ([Level.FAULT, Level.OK], {"redis_version": "6.0.16", "aof_enabled": "1"}),
        ([Level.FAULT, Level.OK], {"aof_enabled": "1"}),
        ([Level.OK], {"redis_version": "7.0.0"}),
        ([Level.OK, Level.FAULT], {"redis_version": "7.0.0", "role": "slave"}),
        ([Level.OK, Level.OK], {"redis_version": "7.0.0", "role": "master", "connected_slaves": "2"}),
        ([Level.OK, Level.FAULT], {"redis_version": "7.0.0", "aof_enabled": "1", "aof_last_write_status": "err"}),
        ([Level.OK, Level.WARNING], {"redis_version": "7.0.0", "used_memory": "90", "maxmemory": "100"}),
        ([Level.OK, Level.OK], {"redis_version": "7.0.0", "used_memory": "50", "maxmemory": "100"}),
        ([Level.OK, Level.OK], {"redis_version": "7.0.0", "used_memory": "50", "maxmemory": "0"}),
        ([Level.OK, Level.WARNING], {"redis_version": "7.0.0", "aof_enabled": "0"}),
        (
            [Level.OK, Level.OK, Level.WARNING],
            {"redis_version": "7.0", "aof_enabled": "1", "maxmemory_policy": "allkeys-lru"},
        ),
    ],
)
def test_store_findings(levels, info):
    assert levels == [finding.level for finding in store_findings(info)]
