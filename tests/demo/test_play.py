"""The demo as a person starts it: as a process of its own, piped, whole, and gone without a trace afterwards."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import asyncpg
import pytest

from proxy.settings import load

COMMAND = [sys.executable, "-m", "proxy.cli"]
ENVIRON = {
    name: value for name, value in os.environ.items() if name == "SCIM_WITNESS_PURE" or not name.startswith("SCIM_WITNESS_")
}
ENVIRON["PYTHONPATH"] = os.pathsep.join(sys.path)
DEADLINE = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def run(*arguments, stdin="", **environ):
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**ENVIRON, **environ},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.fixture
def folder(tmp_path_factory):
    """Where the demo makes its folder: a short path, so that a unix socket fits; passable for PostgreSQL's own user."""
    import shutil
    import tempfile

    path = pathlib.Path(tempfile.mkdtemp(prefix="sw-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_oneshot_explains_and_leaves_nothing_behind(folder):
    done = run("demo", DEMO_ONESHOT="1", TMPDIR=str(folder))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    out = done.stdout
    incident = re.search(r"\$ \S*scim-witness explain (\w{26}) --config \S+/proxy\.toml\n", out)
    assert incident is not None
    assert f"Incident {incident[1]}, tenant acme\n" in out
    for told in (
        "Refused by this proxy",
        "Revoked at",
        "(regenerated)",
        "A newer token of the same application and owner since",
        "Last good answer:",
        "token_superseded (certain",
        "For the customer (ready to paste)",
        "The backend saw nothing",
    ):
        assert told in out
    assert "Traceback" not in out
    assert "\x1b" not in out
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_time_ends_it_in_order(folder, number):
    with subprocess.Popen(
        [*COMMAND, "demo"], env={**ENVIRON, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("One incident")  # PostgreSQL is not even started
        demo.send_signal(number)
        out, _ = demo.communicate(timeout=DEADLINE)
    assert demo.returncode == 130
    assert "Traceback" not in out
    assert list(folder.iterdir()) == []


@pytest.fixture
def living(folder):
    """The demo that runs on: its process and its configuration."""
    log = folder / "out.txt"
    with (
        log.open("w") as out,
        subprocess.Popen(
            [*COMMAND, "demo"], env={**ENVIRON, "TMPDIR": str(folder)}, stdout=out, stderr=subprocess.STDOUT
        ) as demo,
    ):
        deadline = time.monotonic() + DEADLINE
        while "incidents list" not in log.read_text():
            assert demo.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield demo, next(folder.glob("*/proxy.toml")), log
        demo.kill()


async def tokens_of(config):
    """Every token that the vendor ever gave out here."""
    (source,) = load(config, {}).source
    connection = await asyncpg.connect(source.dsn.get_secret_value())
    try:
        return [row["token"] for row in await connection.fetch("SELECT token FROM oauth_access_tokens")]
    finally:
        await connection.close()


async def test_every_command_on_the_living_demo_and_no_token_anywhere(living, folder):
    demo, config, log = living
    tokens = await tokens_of(config)
    assert len(tokens) >= 6
    chosen = ("--config", str(config))
    listed = json.loads(run("incidents", "list", "--json", *chosen).stdout)["incidents"]
    causes: dict[str, set[str]] = {}
    said = []
    for incident in listed:
        shown = run("incidents", "show", incident["id"], "--json", *chosen)
        said.append(shown.stdout)
        found = json.loads(shown.stdout)
        assert incident["id"] == found["incident"]["id"]
        causes.setdefault(incident["tenant"], set()).add(found["cause"]["code"])
    assert {"token_superseded"} == causes["acme"]
    assert {"token_expired"} == causes["globex"]
    assert {"token_deleted"} == causes["hooli"]
    assert "token_mangled" in causes["_unknown"]

    (globex,) = [incident for incident in listed if incident["tenant"] == "globex"]
    row, before = globex["reading"]["state"], globex["history"]
    assert before["last_good"] < row["created_at"] + row["expires_in"] < globex["at"]  # it worked until it expired
    told = {one["tenant"]: one["last"] for one in json.loads(run("tenants", "--json", *chosen).stdout)}
    seen = {one["tenant"]: one["last"]["at"] for one in json.loads(run("last-seen", "--json", *chosen).stdout)}
    assert [told[name] for name in ("initech", "umbrella")] == [seen[name] for name in ("initech", "umbrella")]

    for status, *words in [(0, "absence", "--from", "1h", "--tenant"), (0, "incidents", "list", "--tenant"), (3, "last-seen")]:
        misspelt, right = run(*words, "Acme", *chosen), run(*words, "acme", *chosen)
        assert (status, 0) == (misspelt.returncode, right.returncode), words
        assert "No tenant named Acme was ever seen here. Did you mean acme? scim-witness tenants" in misspelt.stderr
        assert "ever seen" not in right.stderr

    (acme,) = [incident for incident in listed if incident["tenant"] == "acme"]
    bundle = folder / "bundle.html"
    for status, arguments in [
        (0, ("explain", acme["id"])),
        (0, ("explain", acme["id"][:20], "--json")),
        (0, ("incidents", "list", "--tenant", "acme", "--since", "1h")),
        (0, ("incidents", "list", "--limit", "1")),
        (0, ("incidents", "list", "--token", acme["fingerprint"])),
        (0, ("incidents", "show", acme["id"])),
        (0, ("incidents", "stats")),
        (0, ("incidents", "export", acme["id"], "-o", str(bundle))),
        (2, ("incidents", "export", acme["id"], "-o", str(bundle))),
        (0, ("incidents", "verify")),
        (0, ("token", acme["fingerprint"])),
        (0, ("token", acme["fingerprint"], "--at", "now", "--json")),
        (0, ("tenants",)),
        (0, ("last-seen", "acme")),
        (3, ("last-seen", "nobody")),
        (0, ("absence", "--tenant", "acme", "--from", "5m")),
        (0, ("doctor",)),
        (0, ("check-config",)),
        (3, ("explain", "01ARZ3NDEKTSV4RRFFQ69G5FAV")),
    ]:
        done = run(*arguments, *chosen)
        assert status == done.returncode, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        said += [done.stdout, done.stderr]
    named = run("token", "-", *chosen, stdin=tokens[0] + "\n")
    assert named.returncode == 0
    assert acme["fingerprint"] in named.stdout

    demo.send_signal(signal.SIGINT)
    assert demo.wait(DEADLINE) == 0
    written = [*said, named.stdout, log.read_text(), bundle.read_text()]
    for token in tokens:
        assert not [text for text in written if token in text]
    assert {log, bundle} == set(folder.iterdir())
