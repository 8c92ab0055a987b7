"""Dockerfile, compose and systemd unit, each by its checker; and what compose starts, started here without containers."""

from __future__ import annotations

import asyncio
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import asyncpg
import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import RedisError

from proxy.demo.backend import Backend
from proxy.demo.vendor import SCHEMA
from proxy.settings import load
from tests.deploy.running import COMMAND, DEPLOY, ROOT, program, run
from tests.end_to_end.running import Proxy, get
from tests.servers.valkey import engine

COMPOSE = DEPLOY / "compose.yaml"


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


@pytest.mark.deploy
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = run(program("hadolint"), DEPLOY / "Dockerfile")
    assert (0, "") == (done.returncode, done.stdout)


def test_the_image_installs_the_versions_that_were_tested() -> None:
    def pins(path: pathlib.Path) -> set[str]:
        return set(re.findall(r"^[\w.\-\[\]]+==[\w.]+", path.read_text(), re.MULTILINE))

    image = pins(DEPLOY / "requirements.lock")
    assert {"aiohttp", "asyncpg", "redis"} <= {pin.partition("==")[0].partition("[")[0] for pin in image}
    assert set() == image - pins(ROOT / "requirements.lock")


def test_the_build_context_is_what_the_dockerfile_copies() -> None:
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()
    }
    allowed = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert set(allowed) == copied
    assert all((ROOT / path).exists() for path in copied)


@pytest.fixture
def secrets(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of deploy/compose with the secrets that its script makes."""
    folder = tmp_path / "compose"
    shutil.copytree(DEPLOY / "compose", folder, ignore=shutil.ignore_patterns("secrets"))
    assert 0 == run(folder / "make-secrets").returncode
    return folder / "secrets"


@pytest.mark.deploy
@pytest.mark.parametrize("profile", ["", "monitoring"])
def test_compose_takes_the_file(profile: str) -> None:
    done = run(program("docker-compose"), "-f", COMPOSE, *(("--profile", profile) if profile else ()), "config", "--quiet")
    assert (0, "") == (done.returncode, done.stdout)


def test_every_file_that_compose_mounts_exists(secrets: pathlib.Path) -> None:
    content = yaml.safe_load(COMPOSE.read_text())
    assert [] == [entry["file"] for entry in content["configs"].values() if not (DEPLOY / entry["file"]).is_file()]
    assert {path.name for path in secrets.iterdir()} == set(content["secrets"])
    assert all(entry["file"] == f"./compose/secrets/{name}" for name, entry in content["secrets"].items())


def test_secrets_are_made_once_and_are_yours_alone(secrets: pathlib.Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert 0 == run(secrets.parent / "make-secrets").returncode
    assert before == {path.name: path.read_text() for path in secrets.iterdir()}
    assert 0o700 == secrets.stat().st_mode & 0o777
    assert all(len(secret) >= 48 for secret in before.values())


def test_services_of_ours_have_nothing_that_they_do_not_need() -> None:
    for name in ("proxy", "backend", "valkey", "prometheus", "grafana"):
        service = services()[name]
        assert service["read_only"], name
        assert ["ALL"] == service["cap_drop"], name
    published = [port for service in services().values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert {"backend", "valkey", "postgres"} == {name for name, s in services().items() if s.get("networks") == ["back"]}


async def test_the_store_of_compose_asks_for_its_password_and_hears_sigterm(
    secrets: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(engine("bundled").binary)
    place = tmp_path / "s"
    text = services()["valkey"]["command"][0].replace("$$", "$").replace("/run/secrets/", f"{secrets}/")
    text = text.replace("valkey-server -", f"valkey-server - --port 0 --unixsocket {place} --dir {tmp_path}")
    shell = subprocess.Popen(["sh", "-c", text], env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}, stdout=subprocess.DEVNULL)
    try:
        password = (secrets / "store_password").read_text()
        async with asyncio.timeout(30):
            while not place.is_socket():
                assert shell.poll() is None
                await asyncio.sleep(0.01)
        async with Redis(unix_socket_path=str(place), password=password) as client:
            assert {"appendonly": "yes"} == await client.config_get("appendonly")
        async with Redis(unix_socket_path=str(place), password="a guess") as stranger:
            with pytest.raises(RedisError, match="invalid username-password"):
                await stranger.ping()
        shell.terminate()
        assert 0 == shell.wait(30)
    finally:
        shell.kill()
        _ = shell.wait()


def test_the_tables_are_doorkeepers() -> None:
    assert SCHEMA.strip() in (DEPLOY / "compose" / "doorkeeper.sql").read_text()


def test_the_proxys_settings_are_good(secrets: pathlib.Path, tmp_path: pathlib.Path) -> None:
    text = (DEPLOY / "compose" / "proxy.toml").read_text().replace("/run/secrets/", f"{secrets}/")
    (tmp_path / "proxy.toml").write_text(text)
    settings = load(tmp_path / "proxy.toml", {})
    assert "0.0.0.0" == settings.ops.host
    assert settings.ops.token is not None


async def test_the_tokens_of_compose_work_as_its_head_says(
    database: str, aiohttp_server: Any, tmp_path: pathlib.Path, request: pytest.FixtureRequest
) -> None:
    connection = await asyncpg.connect(database)
    try:
        role = f"witness_{database.rpartition('/')[2].partition('?')[0]}"[:60]
        # roles belong to the whole server of the tests, so this one gets a name of its own
        sql = (DEPLOY / "compose" / "doorkeeper.sql").read_text()
        await connection.execute(sql.replace("ROLE scim_witness", f'ROLE "{role}"').replace("TO scim_witness", f'TO "{role}"'))
    finally:
        await connection.close()
    backend = await aiohttp_server(Backend().app())
    source = f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{database}"'
    proxy = Proxy(tmp_path, str(backend.make_url("")).rstrip("/"), source)
    proxy.start()
    try:
        users = f"{proxy.data}/scim/v2/Users"
        assert 200 == (await get(users, "demo-token-of-acme-not-a-secret"))[0]
        status, _, body = await get(users, "demo-token-of-globex-not-a-secret")
        assert 401 == status
        assert b"revoked" in body
    finally:
        proxy.stop()
        connection = await asyncpg.connect(database)
        await connection.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')
        await connection.close()
    said = re.search(r'Bearer ([\w-]+)"', COMPOSE.read_text())
    assert said is not None
    assert "demo-token-of-acme-not-a-secret" == said[1]


def test_the_backend_of_compose_starts() -> None:
    code = services()["backend"]["command"][0].replace("port=3000", "port=0")
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code.replace("0.0.0.0", "127.0.0.1")], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        assert "Running on" in process.stdout.readline()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.mark.deploy
def test_the_shell_scripts_parse() -> None:
    for script in (DEPLOY / "compose" / "make-secrets", DEPLOY / "compose" / "reader.sh"):
        assert (0, "") == ((done := run("sh", "-n", script)).returncode, done.stdout)


@pytest.mark.deploy
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: pathlib.Path) -> None:
    analyze = program("systemd-analyze")
    unit, sock = tmp_path / "scim-witness.service", tmp_path / "scim-witness.socket"
    text = (DEPLOY / "systemd" / "scim-witness.service").read_text()
    unit.write_text(text.replace("/opt/scim-witness/bin/scim-witness", str(COMMAND)))
    shutil.copy(DEPLOY / "systemd" / "scim-witness.socket", sock)
    done = run(analyze, "verify", "--man=no", unit, sock)
    assert (0, "") == (done.returncode, done.stdout)
    done = run(analyze, "security", "--offline=true", "--threshold=20", unit)
    assert 0 == done.returncode, done.stdout  # an exposure of 2.0 of 10 at most
