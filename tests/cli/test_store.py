"""`store ping|migrate|purge` on a real store: what they say, what they do, and how they end."""

from __future__ import annotations

import concurrent.futures
import json
import time

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from proxy.evidence import keys, layout
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.redis_store import RedisStore
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.witness import Witness
from tests.evidence.conftest import make_incident
from tests.servers.process import free_port


class Deployment:
    """A configuration whose store is elsewhere, and the commands on it."""

    def __init__(self, directory, url):
        self.config = directory / "proxy.toml"
        (directory / "tokens.toml").write_text("")
        self.config.write_text(
            f'state_dir = "{directory / "state"}"\n[upstream]\nurl = "http://127.0.0.1:9"\n'
            f'[source]\nkind = "token_file"\npath = "{directory / "tokens.toml"}"\n[store]\nurl = "{url}"\n'
        )

    def run(self, *arguments):
        """Run a command, in a thread: it has an event loop of its own."""
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(CliRunner().invoke, app, [*arguments, "--config", str(self.config)]).result(60)

    def json(self, *arguments):
        done = self.run(*arguments, "--json")
        return done.exit_code, json.loads(done.stdout)


@pytest.fixture
def deployed(tmp_path, valkey_url):
    return Deployment(tmp_path, valkey_url)


@pytest.fixture
async def opened(valkey_url):
    store = RedisStore(connect(StoreOptions(valkey_url)))
    yield store
    await store.close()


@pytest.fixture
async def filled(opened, tmp_path):
    spool = Spool(tmp_path / "spool", 1 << 20, 1 << 24, "one")
    for n in range(30):
        Witness(spool).record(make_incident(time.time() - 86_400 * (30 - n), f"t{n % 3}", f"{n % 3:032x}"))
    assert await Shipper(spool, opened).flush(20)
    yield
    spool.close()


def test_ping_tells_role_persistence_and_layout(deployed):
    status, found = deployed.json("store", "ping")
    told = [finding["what"] for finding in found["findings"]]
    assert (0, None, layout.VERSION) == (status, found["layout"], found["layout_of_program"])
    assert 0 < found["median_ms"] <= found["slowest_ms"]
    for word in ("primary", "append-only", "empty"):
        assert [what for what in told if word in what], told
    assert "Round trip" in deployed.run("store", "ping").stdout


async def test_ping_warns_of_what_loses_evidence(tmp_path, store_engine):
    with store_engine.server(tcp=True, arguments=("--appendonly", "no", "--maxmemory-policy", "allkeys-lru")) as server:
        status, found = Deployment(tmp_path, server.url).json("store", "ping")
    told = " ".join(finding["what"] for finding in found["findings"])
    assert (0, True, True) == (status, "snapshots at most" in told, "evicts evidence" in told)


async def test_a_replica_is_a_fault(tmp_path, own_store, store_engine):
    with store_engine.server(tcp=True, arguments=("--replicaof", f"127.0.0.1 {own_store.port}")) as replica:
        done = Deployment(tmp_path, replica.url).run("store", "ping")
    assert (1, True) == (done.exit_code, "point store.url at the primary" in done.stdout)


@pytest.mark.parametrize("command", [("ping",), ("migrate",), ("purge", "--tenant", "t1")], ids=lambda words: words[0])
def test_a_store_that_is_away_is_status_4(tmp_path, command):
    done = Deployment(tmp_path, f"redis://127.0.0.1:{free_port()}").run("store", *command)
    assert (4, True) == (done.exit_code, "scim-witness: the store cannot be reached" in done.stderr)
    assert "Traceback" not in done.stderr


async def test_an_older_store_is_told_and_migrated_once(deployed, opened, filled):
    await opened.run([("DEL", keys.LAYOUT), ("DEL", keys.by_tenant("t1"))])
    assert (1, True) == ((done := deployed.run("store", "ping")).exit_code, "scim-witness store migrate" in done.stdout)
    assert [] == json.loads(deployed.run("incidents", "list", "--tenant", "t1", "--json").stdout)["incidents"]
    assert (0, {"layout_before": 0, "layout": 1, "records": 30, "unreadable": 0}) == deployed.json("store", "migrate")
    assert 10 == len(json.loads(deployed.run("incidents", "list", "--tenant", "t1", "--json").stdout)["incidents"])
    status, found = deployed.json("store", "migrate")
    assert (0, 1, 0) == (status, found["layout_before"], found["records"])
    await opened.run([("SET", keys.LAYOUT, 99)])
    done = deployed.run("store", "migrate")
    assert (1, True) == (done.exit_code, "upgrade" in done.stderr)


async def test_purge_counts_first_and_removes_what_it_counted(deployed, opened, filled):
    done = deployed.run("store", "purge", "--tenant", "t1")
    assert (2, True) == (done.exit_code, "10 incidents" in done.stdout)
    assert "store purge --tenant t1 --yes" in done.stderr
    status, found = deployed.json("store", "purge", "--tenant", "t1", "--older-than", "15d")
    assert (2, False, 5) == (status, found["removed"], found["incidents"])
    status, found = deployed.json("store", "purge", "--tenant", "t1", "--yes")
    assert (0, True, 10) == (status, found["removed"], found["incidents"])
    assert [] == json.loads(deployed.run("incidents", "list", "--tenant", "t1", "--json").stdout)["incidents"]
    assert 20 == len(json.loads(deployed.run("incidents", "list", "--json").stdout)["incidents"])
    verified = deployed.run("incidents", "verify")
    assert (0, True) == (verified.exit_code, "were purged" in verified.stderr)


def test_purge_wants_to_know_what(deployed):
    done = deployed.run("store", "purge", "--yes")
    assert (2, True) == (done.exit_code, "--older-than" in done.stderr)
    assert 2 == deployed.run("store", "purge", "--older-than", "yesterday").exit_code
