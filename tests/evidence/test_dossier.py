"""The dossier: nothing missing and nothing odd in the store makes it raise, and what is remembered beside tokens is bounded."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.core.diagnosis import diagnose
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.history import ClientIdentity, StateChange, TokenHistory
from proxy.core.incident import Incident, Kind, Note, new_id
from proxy.core.memory import BackendVerdicts, ClientMemory
from proxy.core.token import Unknown
from proxy.evidence.accounts import Accounts
from proxy.evidence.backends import Backends
from proxy.evidence.beside import Beside
from proxy.evidence.client import identify
from proxy.evidence.clients import Clients
from proxy.evidence.dossier import dossier
from proxy.evidence.events import death_of
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError
from tests.core.diagnosis.strategies import struct
from tests.core.diagnosis.test_properties import SCENES, shuffled
from tests.core.diagnosis.world import AT, FP, ROW, row

QUIET = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


class Shelf(EvidenceReader):
    """A reader that has what it is given; whatever else it is asked for, the store does not answer."""

    def __init__(self, notes: list[Note] | None = None, history: TokenHistory | None = None) -> None:
        super().__init__(None, None)
        self._notes, self._history = notes, history

    async def notes(self, incident_id: str) -> list[Note]:
        if self._notes is None:
            raise StoreError("unreachable", "away")
        return self._notes

    async def history(self, fingerprint: str) -> TokenHistory | None:
        return self._history


def exchange(**changes: object) -> Exchange:
    values: dict[str, object] = {
        "id": "x", "at": AT, "method": "GET", "target": "/scim/v2/Users", "operation": "Users.list", "tenant": "acme",
        "client": "192.0.2.7", "status": 200, "answered_by": AnsweredBy.BACKEND, "credential": "bearer", "fingerprint": FP,
        "user_agent": "Okta SCIM Client 1.0.0", "backend": "10.0.0.1:80",
    }  # fmt: skip
    return Exchange(**values | changes)  # type: ignore[arg-type]


def bare(at: float = AT, **changes: object) -> Exchange:
    refusal: dict[str, object] = {"credential": "missing", "fingerprint": "", "status": 401, "answered_by": AnsweredBy.PROXY}
    return exchange(at=at, tenant="_unknown", **refusal | changes)


def incident_of(said: Exchange, kind: Kind = Kind.REFUSAL) -> Incident:
    return Incident(new_id(said.at, said.tenant), said.at, kind, said.tenant, said.fingerprint, "missing_credential", said, "w")


@QUIET
@given(struct(Incident, odd=False), st.lists(struct(Note, odd=False), max_size=4), st.booleans(), st.data())
async def test_any_incident_without_a_store_has_a_dossier_and_a_cause(incident, notes, away, data):
    history = data.draw(st.none() | struct(TokenHistory, odd=False))
    found = await dossier(Shelf(None if away else notes, history), incident, ("scim",))
    assert incident == found.evidence.incident
    assert not away or any(line.startswith("notes: ") for line in found.unread)
    assert diagnose(found.evidence) == diagnose(shuffled(found.evidence, data.draw))


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"again":"late"}', '[{"address":1}]', "\x00"])
async def test_a_note_that_cannot_be_read_is_no_evidence(text):
    scene = SCENES["backend_disagrees: 401"]
    assert scene.incident is not None
    notes = [Note(scene.incident.id, name, AT, text=text) for name in ("backends+1s", "client_again", "surroundings")]
    found = await dossier(Shelf(notes), msgspec.structs.replace(scene.incident, client=ClientMemory(AT)))
    assert () == found.evidence.backend_verdicts


async def test_the_newest_copy_of_the_backends_counts_and_copies_are_not_added_up():
    scene = SCENES["backend_disagrees: 401"]
    assert scene.incident is not None

    def copy(delay: int, refused: int) -> Note:
        told = (BackendVerdicts("10.0.0.1:80", 0, refused),)
        return Note(scene.incident.id, f"backends+{delay}s", AT + delay, text=msgspec.json.encode(told).decode())

    found = await dossier(Shelf([copy(10, 3), copy(1, 2)]), scene.incident)
    assert (BackendVerdicts("10.0.0.1:80", 0, 3),) == found.evidence.backend_verdicts


async def test_without_a_later_copy_the_refusal_itself_counts():
    scene = SCENES["backend_disagrees: 401"]
    assert scene.incident is not None
    found = await dossier(Shelf([]), scene.incident)
    assert [(1, 0)] == [(v.refused, v.accepted) for v in found.evidence.backend_verdicts]


# --- what is remembered beside tokens -------------------------------------------------------------------------------


def beside(notes: list[Note], clock: float = AT) -> Beside:
    return Beside(notes.append, ValueError, (1.0, 10.0), lambda: clock)


def test_a_client_that_shows_its_credential_after_the_refusal_gets_a_note():
    notes: list[Note] = []
    mine = beside(notes)
    mine.saw(exchange(at=AT - 60))
    incident = mine.completed(incident_of(bare()))
    assert (AT - 60, AT) == (incident.client.last_with_credential, incident.client.without_since)
    mine.follow(incident)
    mine.saw(bare())
    mine.saw(exchange(at=AT + 0.1))
    assert [("client_again", AT + 0.1)] == [(note.name, msgspec.json.decode(note.text)["again"]) for note in notes]


def test_how_instances_go_on_answering_is_noted_when_due():
    notes: list[Note] = []
    mine = beside(notes, AT + 1)
    refused = exchange(status=401)
    mine.follow(incident_of(refused, Kind.BACKEND_REFUSAL))
    mine.saw(refused)
    mine.look_now()
    assert ["backends+1s"] == [note.name for note in notes]


def test_several_tenants_behind_one_client_are_not_taken_for_one():
    clients, key = Clients(), identify("Okta SCIM Client 1.0.0", "192.0.2.7")
    for tenant in ("acme", "globex"):
        clients.saw(exchange(tenant=tenant))
    assert (True, False) == (clients.before(key, "_unknown", AT).shared, clients.before(key, "acme", AT).shared)
    assert clients.before(key, "initech", AT) is None


def test_who_was_never_served_leaves_nothing():
    clients = Clients()
    for n in range(1_000):
        clients.saw(exchange(status=401, answered_by=AnsweredBy.PROXY, tenant="_unknown", client=f"10.{n % 250}.{n // 250}.1"))
    assert len(clients) == 0


def test_memory_beside_tokens_is_bounded():
    clients, backends, accounts = Clients(limit=10), Backends(limit=10), Accounts(limit=10)
    for n in range(100):
        clients.saw(exchange(client=f"10.0.{n}.1"))
        backends.saw(exchange(fingerprint=f"{n:032x}"))
        accounts.saw(exchange(method="PATCH", target=f"/scim/v2/Users/{n}"))
    assert (10, 10) == (len(clients), len(backends))
    assert (None, "99") == (accounts.last_change("1"), accounts.last_change("99").account)


def test_a_client_is_known_again_from_stored_histories():
    clients = Clients()
    clients.learn(TokenHistory(FP, "acme", last_good=AT - 5, clients=(ClientIdentity("Okta", "192.0.2.0/24", AT - 9, AT),)))
    assert clients.before(("Okta", "192.0.2.0/24"), "_unknown", AT).last_with_credential == AT - 5


def test_an_old_hour_of_a_backend_is_forgotten():
    backends = Backends()
    backends.saw(exchange(at=AT - 9_000, status=401))
    backends.saw(exchange(at=AT))
    assert [(1, 0)] == [(v.accepted, v.refused) for v in backends.of(FP, AT)]
    assert backends.of(FP, AT + 9_000) == ()


@pytest.mark.parametrize(
    "before, after, how",
    [
        (ROW, Unknown(), "deleted"),
        (ROW, row(revoked_at=AT), "revoked"),
        (row(revoked_at=AT - 1), Unknown(), None),
        (ROW, row(scopes=("other",)), None),
        (Unknown(), ROW, None),
    ],
)
def test_which_change_is_an_end(before, after, how):
    death = death_of(FP, StateChange(before, after, AT - 1, AT))
    assert how == (death.how if death else None)
