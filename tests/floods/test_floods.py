"""A flood of guesses leaves spool, store and memory within their named bounds, and the one incident that matters whole."""

from __future__ import annotations

import hashlib
import itertools
import json
import pathlib
import time

import psutil
import pytest
import redis

from proxy.evidence.fold import FLOOD_TOKENS, OPEN_LIMIT
from proxy.evidence.history import OTHER_LIMIT
from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import get, token_file, until
from tests.floods.client import flood

REVOKED = "the-one-that-matters-0123456789abcdefghijklm"
MEMORY_BOUND = OTHER_LIMIT * 1024 + OPEN_LIMIT * 600 + 10_000 * 200 + (48 << 20)
"""Histories of unknown tokens, foldings, unknown tokens remembered, and what the allocator and the buffers keep."""
SPOOL_BOUND = 4 * (8 << 20)
"""It is emptied as fast as it fills: a few segments at most, far below spool.total_bytes."""
INCIDENT_OCTETS = 4_000
"""In the store: an incident with its notes and indexes (measured: 1.6 to 2.5 KB)."""


def guesses(count: int):
    return (b"guess-%012d-of-a-token-that-nobody-issued" % n for n in range(count))


def with_revoked(directory: pathlib.Path) -> str:
    source = token_file(directory, {GOOD: "acme"})
    path = directory / "tokens.toml"
    digest = hashlib.sha256(REVOKED.encode()).hexdigest()
    path.write_text(
        f'{path.read_text()}\n[[token]]\nname = "beta-0"\ndigest = "{digest}"\ntenant = "beta"\n'
        "created_at = 2026-05-03T10:00:00Z\nrevoked_at = 2026-06-01T00:00:00Z\n"
    )
    return source


class Watched:
    """CPU and memory of the proxy's process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def rss(self) -> int:
        return self._process.memory_info().rss


def spooled(directory: pathlib.Path) -> int:
    found = 0
    for path in (directory / "state" / "spool").rglob("*.seg"):
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue
    return found


async def bounded(deploy, backend, own_store, tmp_path, count, forwarded):
    proxy = deploy(backend, with_revoked(tmp_path), more=f'[store]\nurl = "{own_store.url}"\n')
    proxy.start()
    process, client = Watched(proxy.pid), redis.Redis.from_url(own_store.url)
    before = process.cpu()
    assert {b"200": forwarded} == await flood(proxy.data, itertools.repeat(GOOD.encode(), forwarded))
    per_forwarded = (process.cpu() - before) / forwarded
    memory, octets = process.rss(), client.info("memory")["used_memory"]
    highest = spool = 0
    statuses: dict[bytes, int] = {}
    began, before, incident = time.perf_counter(), process.cpu(), ""
    tokens = guesses(count)
    for _ in range(10):
        for status, times in (await flood(proxy.data, itertools.islice(tokens, count // 10))).items():
            statuses[status] = statuses.get(status, 0) + times
        highest, spool = max(highest, process.rss()), max(spool, spooled(proxy.directory))
        if not incident and statuses[b"401"] >= count // 2:
            incident = (await get(f"{proxy.data}/scim/v2/Users", REVOKED))[1]["X-Incident-Id"]
    seconds, per_refusal = time.perf_counter() - began, (process.cpu() - before) / count
    assert {b"401": count} == statuses
    until(lambda: (proxy.shown(incident) or {}).get("incident", {}).get("reading"))
    shown = proxy.shown(incident)
    assert ("beta", "token_revoked") == (shown["incident"]["tenant"], shown["cause"]["code"])
    assert incident in proxy.command("incidents", "list", "--tenant", "beta", "--json").stdout.decode()
    grown = client.info("memory")["used_memory"] - octets
    print(
        f"\n{count} refusals: {count / seconds:.0f}/s, {per_refusal * 1e6:.0f} us of CPU each, a forwarded request "
        f"{per_forwarded * 1e6:.0f} us; memory +{(highest - memory) >> 20} MiB, spool at most {spool >> 10} KiB, "
        f"store +{grown >> 10} KiB, {client.dbsize()} keys"
    )
    assert highest - memory < MEMORY_BOUND
    assert spool < SPOOL_BOUND
    assert grown < (FLOOD_TOKENS + OTHER_LIMIT) * INCIDENT_OCTETS
    client.close()


@pytest.mark.heavy
async def test_a_hundred_thousand_guesses(deploy, backend, own_store, tmp_path):
    await bounded(deploy, backend, own_store, tmp_path, 100_000, 2_000)


@pytest.mark.bench  # a million: minutes, on a quiet machine
@pytest.mark.timeout(900)
async def test_a_million_guesses(deploy, backend, own_store, tmp_path):
    await bounded(deploy, backend, own_store, tmp_path, 1_000_000, 2_000)


async def test_repeats_of_one_token_fold_into_one_incident(deploy, backend, own_store, tmp_path):
    proxy = deploy(backend, with_revoked(tmp_path), more=f'[store]\nurl = "{own_store.url}"')
    proxy.start()
    _, headers, _ = await get(f"{proxy.data}/scim/v2/Users", REVOKED)
    assert {b"401": 5_000} == await flood(proxy.data, itertools.repeat(REVOKED.encode(), 5_000))
    incident = headers["X-Incident-Id"]

    def repeats():
        notes = (proxy.shown(incident) or {"notes": []})["notes"]
        return next((json.loads(note["text"]) for note in notes if note["name"] == "repeats"), {"count": 0})

    until(lambda: repeats()["count"] == 5_001)
    found = repeats()
    assert found["first"] < found["last"]
    assert 10 == len(set(found["samples"]))
    listed = json.loads(proxy.command("incidents", "list", "--tenant", "beta", "--json").stdout)
    assert [incident] == [one["id"] for one in listed["incidents"]]
