"""`token` while the store is away: the history that an incident in the spool holds, and said that the calls are not known."""

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
