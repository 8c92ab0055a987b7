"""The memory of tokens: right, bounded, cheap, shared between instances and restarts."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.exchange import GRANTED, AnsweredBy
from proxy.core.history import ClientIdentity, StateChange, TokenHistory
from proxy.core.memory import FirstUse
from proxy.core.token import Known, Reading, Unknown
from proxy.evidence.client import family_of, identify, prefix_of
from proxy.evidence.history import CALM_SECONDS, PARTS_LIMIT, History
from proxy.evidence.merge import merge
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError
from tests.evidence.conftest import START, make_exchange

FP = "ab" * 16


def served(at=START, **changes):
    return make_exchange(
        at, **({"status": 200, "answered_by": AnsweredBy.BACKEND, "verdict": "allow", "reason": "active"} | changes)
    )


def refused(at=START, **changes):
    return make_exchange(at, **changes)


def test_first_seen_last_good_first_bad_and_counts():
    history = History(None, "one")
    for exchange in (served(1.0), served(2.0, status=404), refused(3.0), refused(4.0), served(5.0, status=503)):
        history.saw(exchange)
    history.saw(served(6.0, status=401))
    found = history.of(FP)
    assert found is not None
    assert (found.first_seen, found.last_seen, found.last_good, found.last_good_operation) == (1.0, 6.0, 2.0, "Users.list")
    assert (found.first_bad, found.last_bad, found.last_bad_reason, found.tenant) == (3.0, 6.0, "backend", "acme")
    assert found.counts == {"200": 1, "404": 1, "401:revoked": 2, "503": 1, "401:backend": 1}
    assert found.clients == (ClientIdentity("Okta SCIM Client 1.0.0", "192.0.2.0/24", 1.0, 6.0, 6),)


def test_what_a_front_was_told_may_pass_is_good_and_other_answers_of_ours_are_not():
    history = History(None, "one")
    for at, status in ((1.0, 204), (2.0, GRANTED), (3.0, 429), (4.0, 503), (5.0, 400)):
        history.saw(served(at, status=status, answered_by=AnsweredBy.PROXY))
    found = history.of(FP)
    assert found is not None
    assert (2.0, None) == (found.last_good, found.first_bad)


def test_nothing_is_remembered_without_a_token():
    history = History(None, "one")
    history.saw(refused(fingerprint=""))
    assert len(history) == 0
    assert history.of(FP) is None


def test_the_tenant_outlives_the_row():
    history = History(None, "one")
    history.saw(served())
    history.saw(refused(START + 1, tenant="_unknown", reason="unknown"))
    assert history.tenant_of(FP) == "acme"
    assert history.was_good(FP)
    assert history.tenant_of("no") is None


def test_kinds_of_answers_clients_and_changes_are_bounded():
    history = History(None, "one")
    for n in range(200):
        history.saw(served(n, status=200 + n % 100, client=f"198.51.{n}.1", user_agent=f"agent{n}/1"))
        state = Known(row=n, tenant="acme", created_at=0.0)
        history.changed(FP, StateChange(Unknown(), state, n, n + 1))
    found = history.of(FP)
    assert found is not None
    assert len(found.counts) <= 33
    assert sum(found.counts.values()) == 200
    assert [c.agent for c in found.clients] == [f"agent{n}" for n in range(199, 191, -1)]
    assert [c.seen_after for c in found.changes] == list(range(169, 201))


def test_a_flood_of_unknown_tokens_does_not_evict_one_that_was_good():
    history = History(None, "one", other_limit=100)
    history.saw(served())
    for n in range(5000):
        history.saw(refused(fingerprint=f"{n:032x}", tenant="_unknown", reason="unknown"))
    assert len(history) == 101
    assert history.of(FP) is not None


def test_good_ones_are_evicted_by_disuse():
    history = History(None, "one", good_limit=3)
    for n in range(4):
        history.saw(served(n, fingerprint=f"{n:032x}"))
    assert not history.was_good(f"{0:032x}")
    assert history.was_good(f"{1:032x}")


async def test_it_is_stored_and_read_back_and_goes_on_after_a_restart(store):
    first = History(store, "one")
    first.saw(served(1.0))
    first.noted(FP, Reading(Unknown(), "doorkeeper", "primary", 2.0))
    assert await first.flush() == 1
    assert await first.flush() == 0
    reader = EvidenceReader(store, None)
    assert await reader.history(FP) == first.of(FP)
    again = History(store, "one")
    again.saw(refused(9.0, tenant="_unknown", reason="unknown"))
    assert again.tenant_of(FP) is None  # not loaded yet: a request never waits for it
    await again.flush()
    assert again.tenant_of(FP) == "acme"
    assert again.was_good(FP)
    found = await reader.history(FP)
    assert found is not None
    assert (found.first_seen, found.last_good, found.last_bad) == (1.0, 1.0, 9.0)
    assert found.counts == {"200": 1, "401:unknown": 1}
    assert await reader.find_tokens(FP[:8]) == [FP]


ROW_4 = Known(row=4, tenant="acme", created_at=START - 5)
RENEWED = msgspec.structs.replace(ROW_4, unused_successor=True)
TIMED = {"lookup_seconds": 0.25, "backend_seconds": 0.5}
BY_A_FRONT = {"status": GRANTED, "answered_by": AnsweredBy.PROXY, "lookup_seconds": 0.25}


@pytest.mark.parametrize(
    "looks,answer,use",
    [
        ((), TIMED, FirstUse(FP, "acme", START, seconds=0.75)),
        ((ROW_4,), TIMED, FirstUse(FP, "acme", START, True, 4, 0.75, renewed=False)),
        ((RENEWED,), TIMED, FirstUse(FP, "acme", START, True, 4, 0.75, renewed=True)),
        ((RENEWED, ROW_4), TIMED, FirstUse(FP, "acme", START, True, 4, 0.75, renewed=True)),
        ((ROW_4,), BY_A_FRONT, FirstUse(FP, "acme", START, True, 4, renewed=False)),
    ],
    ids=["no row", "a row", "from a refresh", "from a refresh, and read again since", "who answered it is not known"],
)
async def test_a_first_use_tells_how_long_the_backend_had_it_and_whether_a_refresh_gave_the_token(store, looks, answer, use):
    history = History(store, "one", clock=lambda: START - 60)
    history.saw(served(**answer))
    for before, after in itertools.pairwise(looks):
        history.changed(FP, StateChange(before, after, START, START + 0.5))
    if looks:
        history.noted(FP, Reading(looks[-1], "doorkeeper", "primary", START + 0.5))
    await history.flush()
    assert history.take_first_uses() == [use]
    assert history.take_first_uses() == []


async def test_good_uses_wait_to_be_written_and_what_is_news_does_not(store):
    now = [1_000.0]
    history = History(store, "one", clock=lambda: now[0])
    reader = EvidenceReader(store, None)
    history.saw(served(1.0))
    assert await history.write_due() == 1  # the first use
    history.saw(served(2.0))
    now[0] += CALM_SECONDS - 1
    assert await history.write_due() == 0
    history.saw(served(3.0))
    now[0] += 1
    assert await history.write_due() == 1
    assert (await reader.history(FP)).counts == {"200": 3}
    history.saw(served(4.0))
    history.saw(refused(5.0))
    assert await history.write_due() == 1  # a refusal takes along what waited
    assert (await reader.history(FP)).counts == {"200": 4, "401:revoked": 1}
    history.changed(FP, StateChange(Unknown(), Unknown(), 5.0, 6.0))
    assert await history.write_due() == 1
    assert await history.write_due() == 0


async def test_the_end_writes_all_that_waits(store):
    history = History(store, "one")
    for n in range(1_200):
        history.saw(served(float(n), fingerprint=f"{n:032x}"))
        history.saw(served(float(n) + 1, fingerprint=f"{n:032x}"))
    await history.flush_all()
    assert [2] * 1_200 == [(await EvidenceReader(store, None).history(f"{n:032x}")).counts["200"] for n in range(1_200)]


async def test_two_instances_add_up_and_repeated_writes_count_once(store):
    one, two = History(store, "one"), History(store, "two")
    for history, count in ((one, 3), (two, 4)):
        for n in range(count):
            history.saw(served(float(n)))
            await history.flush()
    found = await EvidenceReader(store, None).history(FP)
    assert found is not None
    assert found.counts == {"200": 7}
    late = History(store, "three")
    late.saw(served(50.0))
    await late.flush()
    whole = late.of(FP)
    assert whole is not None
    assert whole.counts == {"200": 8}


async def test_after_a_start_the_tokens_last_seen_are_known_before_they_come_back(store):
    before = History(store, "one")
    for n in range(700):
        before.saw(served(float(n), fingerprint=f"{n:032x}"))
    while await before.flush() or len(before._dirty):
        pass
    after = History(store, "two")
    assert await after.warm() == 700
    assert len(after) == 700
    assert after.tenant_of(f"{699:032x}") == "acme"
    assert after.was_good(f"{0:032x}")


async def test_guesses_are_not_stored_but_revoked_tokens_of_a_tenant_are(store):
    history = History(store, "one")
    history.saw(refused(fingerprint="1" * 32, tenant="_unknown", reason="unknown"))
    history.saw(refused(fingerprint="2" * 32))
    assert await history.flush() == 1
    reader = EvidenceReader(store, None)
    assert await reader.history("1" * 32) is None
    assert await reader.history("2" * 32) is not None


async def test_a_store_that_is_away_costs_nothing_but_time(store, server):
    history = History(store, "one")
    history.saw(served(1.0))
    server.kill()
    with pytest.raises(StoreError):
        await history.flush()
    history.saw(served(2.0))
    server.start()
    assert await history.flush() == 1
    found = await EvidenceReader(store, None).history(FP)
    assert found is not None
    assert found.counts == {"200": 2}


async def test_parts_of_instances_long_gone_are_folded(store):
    for n in range(20):
        history = History(store, f"pod-{n}")
        history.saw(served(float(n)))
        await history.flush()
    last = History(store, "new")
    last.saw(served(START))
    await last.flush()
    (fields,) = await store.run([("HKEYS", f"sw:{{{FP[:4]}}}:h:{FP}")])
    assert {b"_past", b"new"} <= set(fields)
    assert len(fields) <= PARTS_LIMIT + 1
    found = await EvidenceReader(store, None).history(FP)
    assert found is not None
    assert found.counts == {"200": 21}
    assert found.first_seen == 0.0


times = st.none() | st.integers(0, 1000).map(float)
histories = st.builds(
    TokenHistory,
    fingerprint=st.just(FP),
    tenant=st.sampled_from(["", "acme", "beta"]),
    first_seen=times,
    last_seen=times,
    last_good=times,
    last_good_operation=st.sampled_from(["", "Users.list"]),
    first_bad=times,
    last_bad=times,
    last_bad_reason=st.sampled_from(["", "revoked"]),
    counts=st.dictionaries(st.sampled_from(["200", "401:revoked"]), st.integers(0, 9)),
    clients=st.lists(
        st.builds(ClientIdentity, st.sampled_from("ab"), st.sampled_from("cd"), st.just(1.0), st.integers(1, 9).map(float)),
        max_size=3,
        unique_by=lambda c: (c.agent, c.prefix),
    ).map(tuple),
)


@given(histories, histories)
def test_merging_does_not_depend_on_the_order(a, b):
    ab, ba = merge(a, b), merge(b, a)
    assert ab == ba
    seen = [t for t in (a.first_seen, b.first_seen) if t is not None]
    assert ab.first_seen == min(seen, default=None)
    assert sum(ab.counts.values()) == sum(a.counts.values()) + sum(b.counts.values())


@pytest.mark.parametrize(
    "address, prefix",
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_network_of_an_address(address, prefix):
    assert prefix_of(address) == prefix


def test_family_of_a_user_agent():
    assert family_of("Okta SCIM Client/1.0.0 (x)") == "Okta SCIM Client"
    assert identify("a/1", "192.0.2.1") == ("a", "192.0.2.0/24")
