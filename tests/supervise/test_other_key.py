"""Another fingerprint key while it runs: tokens get other names, and what was remembered is found under either."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import aiohttp
import pytest

from proxy.core.credential import Fingerprinter, Secret
from proxy.evidence.aliases import WAITING_LIMIT, Aliases, names_of
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.redis_store import RedisStore
from proxy.evidence.writes import Keep
from tests.end_to_end.running import COMMAND
from tests.supervise.deployment import GOOD, REVOKED, Deployment, Load, token_list, until
from tests.supervise.test_changes import ask

pytestmark = pytest.mark.heavy

OLD, NEW = "the-first-key-0123456789", "the-second-key-0123456789"
IDLE = "an-idle-token-that-came-before-0123456789ab"


def name(key: str, token: str) -> str:
    return Fingerprinter(key.encode()).of(token.encode())


def remembered(deployment: Deployment, *arguments: str, stdin: str = "") -> dict[str, Any]:
    done = subprocess.run(
        [COMMAND, "token", *arguments, "--json", "--config", str(deployment.config)],
        capture_output=True,
        input=stdin.encode(),
        timeout=60,
        check=False,
    )
    if done.returncode == 3:  # nothing yet: names are written once a second
        return {}
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [2])
async def test_histories_and_incidents_are_found_under_either_name(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)
    deployment.tokens.write_text(token_list(GOOD, REVOKED, IDLE))
    deployment.write(top=f'fingerprint_key = "{OLD}"')
    await deployment.start()
    assert [200, 200, 401] == [(await ask(f"{deployment.data}/Users", token))[0] for token in (GOOD, IDLE, REVOKED)]
    async with aiohttp.ClientSession() as session, Load(deployment.data) as load:

        async def kept() -> int:
            async with session.get(f"{deployment.data}/Users", headers={"Authorization": f"Bearer {GOOD}"}) as answer:
                return answer.status

        assert 200 == await kept()
        deployment.write(top=f'fingerprint_key = "{NEW}"')
        deployment.signal(signal.SIGHUP)
        refused = await deployment.event("settings_refused")
        assert "fingerprint_previous" in refused["why"]
        deployment.write(top=f'fingerprint_key = "{NEW}"\nfingerprint_previous = "{OLD}"')
        deployment.signal(signal.SIGHUP)
        await deployment.event("settings_applied")
        assert 200 == await kept()
        await load.more()
    assert ({}, []) == (load.wrong(), load.broken)
    assert 401 == (await ask(f"{deployment.data}/Users", REVOKED))[0]
    used = {line["fingerprint"] for line in deployment.lines() if line["event"] == "exchange" and line["status"] == 200}
    assert {name(OLD, GOOD), name(NEW, GOOD), name(OLD, IDLE)} == used

    def both() -> bool:
        old, new = (remembered(deployment, name(key, REVOKED)) for key in (OLD, NEW))
        incidents = set(new.get("incidents", ()))
        return len(incidents) > 2 and set(old.get("incidents", ())) == incidents

    await until(both)
    first = {line["at"] for line in deployment.lines() if line.get("fingerprint") == name(OLD, GOOD)}

    def whole() -> bool:
        found = remembered(deployment, name(NEW, GOOD))
        return bool(found and found["history"]["first_seen"] == min(first))

    await until(whole)
    assert name(OLD, IDLE) == remembered(deployment, "-", stdin=IDLE)["history"]["fingerprint"]
    assert 0 == await deployment.stop()


@pytest.fixture
async def client(valkey_url):
    store = RedisStore(connect(StoreOptions(valkey_url)))
    yield store
    await store.close()


async def test_a_token_has_all_its_names(client):
    names = Fingerprinter(b"c" * 16, [b"b" * 16, b"a" * 16])
    aliases = Aliases(client, lambda secret: names.former(secret.reveal()), Keep())
    secret = Secret(b"token", names.of(b"token"))
    aliases.meet(secret)
    await aliases.flush()
    every = {Fingerprinter(letter * 16).of(b"token") for letter in (b"a", b"b", b"c")}
    for one in every:
        found = await names_of(client, one)
        assert (one, every) == (found[0], set(found))
    assert every - {secret.fingerprint} == set(aliases.of(secret.fingerprint))


async def test_without_keys_from_before_nothing_is_kept(client):
    names = Fingerprinter(b"a" * 16)
    aliases = Aliases(client, lambda secret: names.former(secret.reveal()), Keep())
    aliases.meet(Secret(b"token", names.of(b"token")))
    await aliases.flush()
    assert [] == (await client.run([("KEYS", "*")]))[0]
    assert ["x" * 32] == await names_of(client, "x" * 32)


async def test_what_waits_for_the_store_is_bounded(client):
    aliases = Aliases(client, lambda secret: (f"{secret.fingerprint}-before",), Keep())
    for number in range(WAITING_LIMIT + 10):
        aliases.meet(Secret(b"x", str(number)))
    assert WAITING_LIMIT == len(aliases._waiting)
    assert () == aliases.of(str(WAITING_LIMIT + 1))


def test_names_under_keys():
    a, b = Fingerprinter(b"a" * 16), Fingerprinter(b"b" * 16, [b"a" * 16, b"b" * 16])
    assert (a.of(b"t"),) == b.former(b"t")
    assert a.lasting(b"t") == b.lasting(b"t") == a.of(b"t") != b.of(b"t")
    assert (True, False) == (b.succeeds(a), a.succeeds(b))
    assert [True, False] == [b.same_key(Fingerprinter(b"b" * 16, [b"a" * 16])), b.same_key(Fingerprinter(b"b" * 16))]
    with pytest.raises(ValueError, match="16 bytes"):
        Fingerprinter(b"a" * 16, [b"short"])
