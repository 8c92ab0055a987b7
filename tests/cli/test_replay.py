"""`replay` beside a running proxy: the sources of now are asked, by the row and by the token itself."""

from __future__ import annotations

import concurrent.futures
import json

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from tests.end_to_end.running import get, token_file, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

TOKEN = "a-token-of-acme-that-changes-0123456789abcdef"
OTHER = "another-token-0123456789abcdefghijklmnop"


def change(proxy, text):
    path = proxy.directory / "tokens.toml"
    path.write_text(text)


async def refused(proxy, token):
    status, head, _ = await get(f"{proxy.data}/scim/v2/Users", token)
    assert 401 == status
    return head["X-Incident-Id"]


def typed(proxy, *arguments, stdin=None):
    """Run the command in a thread: it has an event loop of its own."""
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        words = ["replay", *arguments, "--config", str(proxy.config)]
        return thread.submit(CliRunner().invoke, app, words, input=stdin).result(60)


def replayed(proxy, *arguments, stdin=None):
    done = typed(proxy, *arguments, "--json", stdin=stdin)
    return done.exit_code, json.loads(done.stdout or "{}")


async def test_then_and_now_by_row_and_by_token(backend, deploy):
    proxy = deploy(backend)
    token_file(proxy.directory, {TOKEN: "acme"})
    alive = (proxy.directory / "tokens.toml").read_text()
    change(proxy, alive + "revoked_at = 2026-06-03T10:00:00Z\n")
    proxy.start()
    incident, stranger = await refused(proxy, TOKEN), await refused(proxy, OTHER)
    until(lambda: proxy.shown(stranger))

    status, found = replayed(proxy, incident)
    assert (0, "same", "revoked", []) == (status, found["outcome"], found["now"]["reason"], found["differences"])

    change(proxy, alive)
    status, found = replayed(proxy, incident)
    assert (0, "would_pass", "revoked", "active") == (status, found["outcome"], found["then"]["reason"], found["now"]["reason"])
    assert ["revoked_at"] == [difference["field"] for difference in found["differences"]]
    shown = typed(proxy, incident[:12])
    assert "would pass this proxy now" in shown.stdout
    assert TOKEN not in shown.stdout + shown.stderr

    # no row was known of the stranger's token: it takes the token itself, and of another one nothing is said
    status, found = replayed(proxy, stranger)
    assert (5, "not_judged", True) == (status, found["outcome"], "--with-token" in found["remark"])
    status, found = replayed(proxy, stranger, "--with-token", stdin=OTHER.encode())
    assert (0, "same", "unknown") == (status, found["outcome"], found["now"]["reason"])
    assert 2 == typed(proxy, stranger, "--with-token", stdin=TOKEN.encode()).exit_code
    assert 3 == typed(proxy, "01ARZ3NDEKTSV4RRFFQ69G5FAV").exit_code


async def test_a_source_that_does_not_answer_is_said_and_is_status_5(backend, deploy, own_postgres):
    # the incident is of a token file; the database that is configured afterwards is away
    proxy = deploy(backend)
    proxy.start()
    incident = await refused(proxy, OTHER)
    until(lambda: proxy.shown(incident))
    own_postgres.stop()
    changed = (
        proxy.config.read_text().split("[source]")[0]
        + f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{own_postgres.dsn()}"\n'
    )
    proxy.config.write_text(changed)
    status, found = replayed(proxy, incident, "--with-token", stdin=OTHER.encode())
    assert (5, "not_judged") == (status, found["outcome"])
    assert "does not answer now" in found["remark"]
