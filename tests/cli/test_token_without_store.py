"""`token` where there is no history: while the store is away, and of a token that no source has known."""

from __future__ import annotations

import json

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Kind, new_id
from proxy.evidence.spool import Spool
from proxy.evidence.witness import Witness
from tests.cli.test_store import Deployment
from tests.servers.process import free_port

NAME = "f" * 32
AT = 1_800_000_000.0


def test_its_calls_are_said_to_be_unknown(tmp_path):
    said = Exchange("x", AT, "GET", "/Users", "Users.list", "acme", "192.0.2.1", 401, AnsweredBy.PROXY, "bearer", NAME)
    history = TokenHistory(NAME, "acme", first_seen=AT - 60)
    incident = Incident(new_id(AT, "acme"), AT, Kind.REFUSAL, "acme", NAME, "revoked", said, "i1", history=history)
    spool = Spool(tmp_path / "state" / "spool", 1 << 20, 1 << 24, "one")
    Witness(spool).record(incident)
    spool.close()
    away = Deployment(tmp_path, f"redis://127.0.0.1:{free_port()}")
    done = away.run("token", NAME)
    assert (0, True) == (done.exit_code, "Not known: the store cannot be reached." in done.stdout)
    assert "Which OAuth calls bear on the token is not known" in " ".join(done.stderr.split())
    found = json.loads(away.run("token", NAME, "--json").stdout)
    assert (None, [incident.id]) == (found["oauth"], found["incidents"])


def test_of_a_token_that_no_source_has_known_its_refusals_are_told_and_not_that_it_never_came(tmp_path, valkey_url):
    said = Exchange("x", AT, "GET", "/Users", "Users.list", "_unknown", "192.0.2.1", 401, AnsweredBy.PROXY, "bearer", NAME)
    incident = Incident(new_id(AT, "_unknown"), AT, Kind.REFUSAL, "_unknown", NAME, "unknown", said, "i1")
    spool = Spool(tmp_path / "state" / "spool", 1 << 20, 1 << 24, "one")
    Witness(spool).record(incident)
    spool.close()
    deployed = Deployment(tmp_path, valkey_url)
    done = deployed.run("token", NAME)
    assert (0, True, True) == (done.exit_code, incident.id in done.stdout, "No source has known it here" in done.stderr)
    assert "never" not in done.output
    assert [incident.id] == deployed.json("token", NAME)[1]["incidents"]
    stranger = deployed.run("token", "0" * 32)
    assert (3, True) == (stranger.exit_code, "It was never presented here" in stranger.stderr)
    assert "never presented" not in deployed.run("token", NAME[:8]).stderr
