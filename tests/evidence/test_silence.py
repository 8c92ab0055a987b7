"""Silence over a real store: told once, only for time in which we listened, and over when a request comes."""

from __future__ import annotations

import pytest

from proxy.core.absence import Renamed, Traffic
from proxy.core.exchange import AnsweredBy
from proxy.core.silence import Silence
from proxy.evidence.activity import Activity
from proxy.evidence.heartbeat import Beat, Heartbeat
from proxy.evidence.history import History
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.silence import Expected, Watch
from tests.evidence.conftest import START, make_exchange

HOUR, DAY = 3600.0, 86_400.0


class Past:
    """Traffic and heartbeats at times that a test chooses."""

    def __init__(self, store):
        self.store, self.now = store, START
        self.activity = Activity(store, "p", "i", clock=lambda: self.now)
        self.history = History(store, "i", clock=lambda: self.now)

    async def requests(self, *times, **more):
        for at in times:
            self.now = at
            good = {"status": 200, "answered_by": AnsweredBy.BACKEND, "verdict": "allow", "reason": "active"}
            said = make_exchange(at, **{**good, **more})
            self.activity.saw(said)
            self.history.saw(said)
        await self.activity.flush()
        await self.history.flush()

    async def listened(self, start, end):
        async def nothing():
            return None

        heartbeat = Heartbeat(self.store, "p", nothing, lambda: 0, nothing, clock=lambda: end)
        at = start
        while at <= end:
            heartbeat.note(Beat(at, True, "", 0))
            at += 15.0
        await heartbeat.flush()

    def watch(self, at, told, **expected):
        return Watch(
            self.store, lambda silence, share: told.append((silence, share)), {"acme": Expected(**expected)}, clock=lambda: at
        )


@pytest.fixture
def past(store):
    return Past(store)


def every(seconds, until):
    return [START + n * seconds for n in range(int(until // seconds) + 1)]


async def test_a_tenant_that_stopped_is_told_once_by_all_processes(past, store):
    await past.requests(*every(HOUR, DAY), user_agent="Okta SCIM Client 1.0.0")
    await past.listened(START + DAY - 60, START + 2 * DAY + 2 * HOUR)
    told: list[tuple[Silence, float]] = []
    watch = past.watch(START + 2 * DAY - 60, told)
    assert [] == await watch.look(), "a quiet day is no silence"
    later = START + 2 * DAY + HOUR
    watches = [past.watch(later, told), past.watch(later + 60, told)]  # two processes, or one that started again
    for one in (*watches, *watches):
        await one.look()
    ((silence, share),) = told
    assert ("acme", 200, "okta", HOUR, START + DAY) == (
        silence.tenant,
        silence.last.status,
        silence.client,
        silence.usual,
        silence.last.at,
    )
    assert share > 0.99
    assert [{"acme": START + DAY}] * 2 == [watch.since() for watch in watches]
    reader = EvidenceReader(store, None)
    assert {"acme"} == set(await reader.silences(await reader.tenants()))
    await past.requests(later + 120)
    for one in watches:
        one._clock = lambda: later + 180
        await one.look()
    assert [{}, {}] == [watch.since() for watch in watches]
    assert {} == await reader.silences(await reader.tenants())
    assert 1 == len(told)


@pytest.mark.parametrize(
    "fingerprint, told_of",
    [("ab" * 16, []), ("cd" * 16, ["acme"])],
    ids=["its own token goes on", "another customer's token was first used"],
)
async def test_a_customer_that_was_renamed_is_not_silent(past, store, fingerprint, told_of):
    await past.requests(*every(HOUR, DAY))
    await past.requests(START + DAY + HOUR, START + 4 * DAY, tenant="acme-inc", fingerprint=fingerprint)
    await past.listened(START + DAY, START + 4 * DAY)
    told: list[tuple[Silence, float]] = []
    watch = past.watch(START + 4 * DAY, told)
    for _ in range(2):
        await watch.look()
    assert told_of == [silence.tenant for silence, _ in told]
    assert told_of == list(watch.since())
    found = await EvidenceReader(store, None).absence("acme", START + 2 * DAY, START + 5 * DAY)
    assert (None if told_of else Renamed("acme-inc", Traffic(1, 1, 0))) == found.renamed
    before = await EvidenceReader(store, None).absence("acme-inc", START + 5 * DAY, START + 6 * DAY)
    assert before.renamed is None


async def test_a_history_that_is_not_written_yet_tells_no_new_name(past, store):
    await past.requests(START, tenant="before")
    past.now = START + 60
    good = {"status": 200, "answered_by": AnsweredBy.BACKEND, "verdict": "allow", "reason": "active"}
    past.activity.saw(make_exchange(START + 60, **good))
    await past.activity.flush()
    reader = EvidenceReader(store, None)
    assert (await reader.absence("acme", START + DAY, START + 2 * DAY)).renamed is None
    past.history.saw(make_exchange(START + 60, **good))
    await past.history.flush()
    found = await reader.absence("before", START + 60, START + DAY)
    assert Renamed("acme", Traffic(1, 1, 0)) == found.renamed


async def test_no_alarm_for_the_normal_quiet_day_of_entra(past):
    await past.requests(*every(2400, 10 * DAY), user_agent="Microsoft Azure AD")
    await past.listened(START + 10 * DAY - 60, START + 11 * DAY + 6 * HOUR)
    told: list[tuple[Silence, float]] = []
    await past.watch(START + 11 * DAY + 6 * HOUR, told).look()
    assert [] == told
    await past.watch(START + 11 * DAY + 6 * HOUR, told, client="okta").look()
    assert 1 == len(told), "the same pause of another client"


async def test_silence_after_a_refusal_is_told_soon(past):
    await past.requests(*every(HOUR, DAY))
    await past.requests(START + DAY + 60, status=401, incident="I", user_agent="Okta SCIM Client 1.0.0")
    await past.listened(START + DAY, START + DAY + 3 * HOUR)
    told: list[tuple[Silence, float]] = []
    await past.watch(START + DAY + 3 * HOUR, told).look()
    assert [("I", 401)] == [(silence.last.incident, silence.last.status) for silence, _ in told]


async def test_time_in_which_we_did_not_listen_is_no_silence(past):
    await past.requests(*every(60, HOUR))
    await past.listened(START + HOUR, START + HOUR + 60)
    told: list[tuple[Silence, float]] = []
    await past.watch(START + 5 * DAY, told, every=HOUR).look()
    assert [] == told
    await past.listened(START + 5 * DAY, START + 5 * DAY + 2.2 * HOUR)
    await past.watch(START + 5 * DAY + 2.2 * HOUR, told, every=HOUR).look()
    assert 1 == len(told)


async def test_a_clock_that_was_ahead_keeps_no_silence_from_being_told(past, store):
    await past.requests(*every(HOUR, DAY), user_agent="Okta SCIM Client 1.0.0")
    await past.requests(START + 400 * DAY, user_agent="Okta SCIM Client 1.0.0")
    await past.listened(START + DAY, START + 4 * DAY)
    told: list[tuple[Silence, float]] = []
    await past.watch(START + DAY + 60, told).look()
    assert [] == told
    for _ in range(2):
        await past.watch(START + 4 * DAY, told).look()
    assert [("acme", START + DAY + 60)] == [(silence.tenant, silence.last.at) for silence, _ in told]
    assert {"acme"} == set(await EvidenceReader(store, None).silences(await EvidenceReader(store, None).tenants()))


async def test_too_short_a_past_says_nothing(past):
    await past.requests(START, START + DAY)
    await past.listened(START + DAY, START + 3 * DAY)
    told: list[tuple[Silence, float]] = []
    await past.watch(START + 20 * DAY, told).look()
    assert [] == told
