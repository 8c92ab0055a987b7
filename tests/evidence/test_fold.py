"""A flood cannot drown evidence, and no first refusal is swallowed."""

from __future__ import annotations

import errno

import msgspec
import pytest

from proxy.evidence.clerk import Clerk
from proxy.evidence.fold import EVERYWHERE, Folder, Repeats
from proxy.evidence.history import History
from proxy.evidence.reread import Rereader
from proxy.evidence.spool import Spool, SpoolError, SpoolFull
from proxy.evidence.surveyor import Surveyor
from proxy.evidence.witness import Witness

NET = "192.0.2.0/24"


def admit(folder, token, now=0.0, *, reason="unknown", network=NET, tenant="_unknown", known=False, by="proxy", request="r"):
    return folder.admit(
        fingerprint=token,
        reason=reason,
        answered_by=by,
        network=network,
        tenant=tenant,
        known=known,
        request_id=request,
        now=now,
    )


def test_a_thousand_tokens_refused_once_are_a_thousand_incidents():
    folder = Folder()
    assert len({admit(folder, f"t{n}", n / 1000).incident_id for n in range(1000)}) == 1000


def test_repeats_fold_into_the_first_and_are_counted():
    folder = Folder()
    first = admit(folder, "t", 10.0, request="r0")
    again = [admit(folder, "t", 11.0 + n, request=f"r{n + 1}") for n in range(20)]
    assert first.fresh
    assert {(a.incident_id, a.fresh) for a in again} == {(first.incident_id, False)}
    (note,) = folder.notes(40.0)
    assert (note.incident, note.name) == (first.incident_id, "repeats")
    expected = Repeats(21, 10.0, 30.0, ("r0", "r1", "r2", "r3", "r4", "r16", "r17", "r18", "r19", "r20"))
    assert msgspec.json.decode(note.text, type=Repeats) == expected
    assert folder.notes(41.0) == []


@pytest.mark.parametrize(
    "other", [{"token": "u"}, {"reason": "revoked"}, {"by": "backend"}, {"tenant": "acme"}, {"now": 300.0}, {"now": -301.0}]
)
def test_another_token_reason_answerer_tenant_or_time_is_another_incident(other):
    folder = Folder()
    first = admit(folder, "t")
    second = admit(folder, **({"token": "t"} | other))
    assert second.fresh
    assert second.incident_id != first.incident_id


def test_without_a_fingerprint_the_network_stands_for_it():
    folder = Folder()
    assert admit(folder, "", reason="missing_credential").fresh
    assert not admit(folder, "", reason="missing_credential").fresh
    assert admit(folder, "", reason="missing_credential", network="198.51.100.0/24").fresh


def test_a_million_bad_tokens_fold_and_the_tenant_in_the_middle_is_whole():
    folder = Folder()
    fresh = groups = 0
    for n in range(1_000_000):
        if n == 500_000:
            assert admit(folder, "acme's", n / 5000, reason="revoked", tenant="acme", known=True).fresh
        admission = admit(folder, f"{n:032x}", n / 5000)
        fresh += admission.fresh
        groups += admission.fresh and bool(admission.group)
    assert 2000 + groups == fresh
    assert groups == 1  # 200 seconds: one window
    assert len(folder) < 3000


def test_a_flood_in_waves_is_one_flood_and_a_calm_ends_it():
    folder = Folder(flood_tokens=10)
    for n in range(11):
        admit(folder, f"a{n}", 0.0)
    assert admit(folder, "b", 599.0).group == NET
    assert admit(folder, "c", 700.0).group == ""
    assert admit(folder, "d", 700.0, network="198.51.100.0/24").group == ""


def test_guesses_from_many_networks_fold_together():
    folder = Folder(flood_tokens_all=100)
    last = [admit(folder, f"t{n}", 1.0, network=f"net{n}") for n in range(150)]
    assert sum(a.fresh for a in last) == 101
    assert last[-1].group == EVERYWHERE


def test_patient_guesses_are_bounded_by_the_day():
    folder = Folder(flood_tokens_day=50)
    admissions = [admit(folder, f"t{n}", n * 100.0, network="n") for n in range(200)]
    assert sum(a.fresh and not a.group for a in admissions) == 50
    assert admit(folder, "tomorrow", 86_500.0 + 100, network="n").group == ""


def test_memory_is_bounded_and_a_closed_one_begins_anew():
    folder = Folder(open_limit=100)
    for n in range(1000):
        admit(folder, f"t{n}", known=True)
        admit(folder, f"t{n}", known=True)
    assert len(folder) == 100
    assert len(folder.notes(0.0, 10_000)) == 100
    assert admit(folder, "t0", known=True).fresh


def test_what_could_not_be_recorded_is_forgotten():
    folder = Folder()
    first = admit(folder, "t")
    folder.withdraw(first)
    assert admit(folder, "t").fresh


async def no_look(*_):
    raise AssertionError("nothing is to be looked at")


def test_counts_that_cannot_be_written_wait(spool_root, monkeypatch):
    folder, spool = Folder(), Spool(spool_root, 1 << 20, 1 << 24, "one")
    witness = Witness(spool)
    rereader = Rereader(no_look, no_look, witness.note, SpoolError)
    clerk = Clerk(witness, folder, History(None, "one"), rereader, Surveyor(no_look, witness.note, SpoolError), ())
    for token in "aabbcc":
        admit(folder, token)

    def full(_):
        raise SpoolFull(errno.ENOSPC)

    with monkeypatch.context() as patch:
        patch.setattr(witness, "note", full)
        clerk.write_repeats(1.0)
    assert spool.appended == 0
    clerk.write_repeats(2.0)
    clerk.write_repeats(3.0)
    assert spool.appended == 3
