"""A store behind TLS and an ACL user: who gets in, what that user may do, and a password that changes under way."""

from __future__ import annotations

import contextlib

import pytest

from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.redis_store import RedisStore, StoreError
from tests.edge.certificates import Authority
from tests.evidence.test_connect import whole_road
from tests.servers import fleets
from tests.servers.process import free_port

pytestmark = pytest.mark.redis_server

RULES = "resetchannels -@all +@read +@write +@scripting +@connection -@dangerous ~sw:*"
"""What docs/evidence.md says a user of the store needs."""

RULES_IN_A_CLUSTER = f"{RULES} +info +cluster|slots +cluster|nodes"


@pytest.fixture
def guarded():
    """A server on which only the user `witness` may do anything, with the password `first`."""
    with contextlib.ExitStack() as stack:
        node = fleets.data(stack)
        assert "+OK" in node.ask(f"ACL SETUSER witness on >first {RULES}")
        assert "+OK" in node.ask("ACL SETUSER admin on >admin +@all ~* &*")
        assert "+OK" in node.ask("ACL SETUSER default off")
        yield node


def opened(**options) -> RedisStore:
    return RedisStore(connect(StoreOptions(**options)))


async def test_an_acl_user_with_few_rights_is_enough_for_everything(guarded, spool_root):
    store = opened(url=f"redis://witness:first@127.0.0.1:{guarded.port}")
    await whole_road(store, spool_root)
    await store.close()


async def test_in_a_cluster_three_rights_more_are_enough(spool_root):
    with fleets.cluster(replicas=1) as fleet:
        for node in fleet.nodes:
            assert "+OK" in node.ask(f"ACL SETUSER witness on >first {RULES_IN_A_CLUSTER}")
        store = opened(url=fleet.url, username="witness", password="first")
        await whole_road(store, spool_root)
        await store.close()


@pytest.mark.parametrize("login", ["", "witness:wrong@", "nobody:first@"])
async def test_without_the_right_password_it_is_refused_and_the_password_is_not_told(guarded, login):
    store = opened(url=f"redis://{login}127.0.0.1:{guarded.port}")
    with pytest.raises(StoreError) as failed:
        await store.ping()
    assert "wrong" not in str(failed.value).lower().replace("wrongpass", "")
    await store.close()


async def test_a_password_that_changes_in_its_file_is_used_for_the_next_connection(guarded, tmp_path):
    file = tmp_path / "password"
    file.write_text("first\n")
    store = opened(url=f"redis://127.0.0.1:{guarded.port}", username="witness", password="first", password_file=str(file))
    await store.ping()
    assert "+OK" in guarded.ask("ACL SETUSER witness resetpass >second", "AUTH admin admin")
    assert ":1" in guarded.ask("CLIENT KILL USER witness", "AUTH admin admin")
    with pytest.raises(StoreError):
        await store.ping()
    file.write_text("second\n")
    await store.ping()
    file.unlink()
    assert ":1" in guarded.ask("CLIENT KILL USER witness", "AUTH admin admin")
    await store.ping()
    await store.close()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_the_password_file_reaches_every_kind_of_client(tmp_path, scheme):
    file = tmp_path / "password"
    file.write_text("from-file\n")
    url = f"{scheme}://inurl:inurl@h:1" + ("/master" if scheme.endswith("sentinel") else "")
    client = connect(StoreOptions(url=url, password_file=str(file)))
    keywords = getattr(client, "connection_kwargs", None) or client.connection_pool.connection_kwargs
    assert keywords["credential_provider"].get_credentials() == ("inurl", "from-file")
    assert not keywords.get("password")


async def test_tls_is_checked_with_the_given_authority_and_nothing_else_will_do(tmp_path, spool_root):
    authority = Authority(tmp_path)
    server = authority.issue("server")
    port = free_port()
    more = (
        *("--port", "0", "--tls-port", str(port), "--tls-cert-file", str(server.certificate), "--tls-auth-clients", "no"),
        *("--tls-key-file", str(server.key), "--tls-ca-cert-file", str(authority.pair.certificate)),
    )
    with contextlib.ExitStack() as stack:
        node = fleets.data(stack, *more, port=port, tls=True)
        assert node.running()
        trusting = opened(url=f"rediss://127.0.0.1:{port}", ca_file=str(authority.pair.certificate))
        await whole_road(trusting, spool_root)
        await trusting.close()
        for store in (opened(url=f"rediss://127.0.0.1:{port}"), opened(url=f"redis://127.0.0.1:{port}")):
            with pytest.raises(StoreError):
                await store.ping()
            await store.close()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
async def test_a_store_that_is_not_there_is_unreachable_whatever_its_kind(scheme):
    """A Cluster of which no node answers is no RedisError to redis-py."""
    store = opened(url=f"{scheme}://127.0.0.1:1" + ("/master" if scheme.endswith("sentinel") else ""))
    with pytest.raises(StoreError) as failed:
        await store.ping()
    assert "unreachable" == failed.value.why
    with pytest.raises(StoreError):
        _ = [name async for name in store.scan("sw:*")]
    with pytest.raises(StoreError):
        await store.infos()
    await store.close()
