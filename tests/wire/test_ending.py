"""A program ends in order, whatever its store's client meets meanwhile: what was not brought there waits in the spool."""

from __future__ import annotations

import json
import pathlib

import aiohttp
import pytest

from proxy.evidence.redis_store import RedisStore
from proxy.settings import load
from proxy.wire import Program


@pytest.fixture
def config(tmp_path: pathlib.Path, valkey_url: str) -> pathlib.Path:
    tokens, file = tmp_path / "tokens.json", tmp_path / "settings.toml"
    tokens.write_text("{}")
    tokens.chmod(0o600)
    file.write_text(
        f'state_dir = "{tmp_path / "state"}"\n[listen]\nport = 0\n[upstream]\nurl = "http://127.0.0.1:1"\n[ops]\nport = 0\n'
        f'[log]\ndestination = "{tmp_path / "log"}"\n[store]\nurl = "{valkey_url}"\n'
        f'[source]\nkind = "token_file"\npath = "{tokens}"\n'
    )
    return file


@pytest.mark.parametrize("broken", ["run", "close"])
async def test_a_program_ends_although_its_stores_client_is_broken(config: pathlib.Path, tmp_path, monkeypatch, broken: str):
    program = Program(load(config, {}))
    await program.start()
    monkeypatch.setattr("proxy.wire.program.FLUSH_SECONDS", 0.3)
    host, port = program.data_address

    close = RedisStore.close

    async def breaks(store: RedisStore, *_: object, **__: object) -> None:
        if broken == "close":
            await close(store)
        raise KeyError("a slot that nobody serves")

    monkeypatch.setattr(RedisStore, broken, breaks)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{host}:{port}/Users", headers={"Authorization": "Bearer x"}) as answer,
    ):
        assert answer.status == 401
    await program.stop()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    failed = [line for line in lines if line["event"] == "failed"]
    assert {"KeyError"} == {line["error"] for line in failed}
    assert {"run": "flush", "close": "store"}[broken] in {line["part"] for line in failed}
    assert "stopped" == lines[-1]["event"]
    assert (broken == "run") is any(line["event"] == "spool_not_empty" for line in lines)
