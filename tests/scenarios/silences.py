"""Nothing arrives. Weeks of past are written by the real counters under a clock that is turned, and asked for by
`scim-witness absence`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.evidence.activity import Activity
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.heartbeat import Beat, Heartbeat
from proxy.evidence.history import History
from proxy.evidence.redis_store import RedisStore
from tests.scenarios.plays import nearly, plays
from tests.scenarios.world import ENTRA, OKTA, PATIENCE, World, until

HOUR, DAY = 3_600.0, 86_400.0
NOW = time.time()


class Past:
    """Writes what the proxy would have written at other times."""

    def __init__(self, w: World) -> None:
        self.now = NOW
        self.store = RedisStore(connect(StoreOptions(url=w.store, timeout=PATIENCE)))
        self.activity = Activity(self.store, "past.1", "past", clock=lambda: self.now)
        self.history = History(self.store, "past", clock=lambda: self.now)
        self.heartbeat = Heartbeat(self.store, "past.1", _up, lambda: 0, self.activity.flush, clock=lambda: self.now)

    def sent(self, tenant: str, at: float, status: int = 200, agent: str = OKTA) -> None:
        self.now = at
        by = AnsweredBy.BACKEND if status < 400 else AnsweredBy.PROXY
        reason = "active" if status < 400 else "revoked"
        said = Exchange("x", at, "GET", "/scim/v2/Users", "Users.list", tenant, "192.0.2.7", status, by, "bearer",
                        _token_of(tenant), reason=reason, user_agent=agent)  # fmt: skip
        self.activity.saw(said)
        self.history.saw(said)

    async def write(self, requests: Iterable[tuple[float, str, int]], agent: str = OKTA) -> None:
        """Requests as (time, tenant, status), in the order of time."""
        for at, tenant, status in sorted(requests):
            self.sent(tenant, at, status, agent)
        await self.activity.flush()
        await self.history.flush()

    async def beats(self, start: float, end: float, every: float = 10.0) -> None:
        at = start
        while at <= end:
            self.heartbeat.note(Beat(at, ok=True, why="", requests=0))
            at += every
            if int(at) % 7200 < every:
                await self.heartbeat.flush()
        await self.heartbeat.flush()
        await self.store.close()


async def _up() -> tuple[bool, str]:
    return True, ""


def _token_of(tenant: str) -> str:
    """The fingerprint of a customer's one token, whatever the customer is called: `acme` was renamed `acme-inc`."""
    return hashlib.sha256(tenant.partition("-")[0].encode()).hexdigest()[:32]


def every(gap: float, start: float, end: float, tenant: str, status: int = 200) -> list[tuple[float, str, int]]:
    return [(start + n * gap, tenant, status) for n in range(int((end - start) // gap))]


async def asked(w: World, start: float, end: float, *more: str, tenant: str = "acme") -> str:
    w.config.write_text(f'state_dir = "{w.directory}/state"\n[store]\nurl = "{w.store}"\n[upstream]\nurl = "http://127.0.0.1:9"\n'
                        f'[source]\nkind = "token_file"\npath = "{w.directory}/none.toml"\n')  # fmt: skip
    shown: Any = None

    async def answered() -> bool:
        nonlocal shown
        shown = await w.command("absence", "--tenant", tenant, "--from", iso(start), "--to", iso(end), *more)
        return shown is not None

    await until(answered)
    return str(shown["cause"]["code"])


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


# --- went_silent ----------------------------------------------------------------------------------------------------


@plays("went_silent")
async def three_days_after_a_401(w: World) -> str:
    past = Past(w)
    acme = every(2 * HOUR, NOW - 20 * DAY, NOW - 3 * DAY, "acme")
    await past.write([*acme, (NOW - 3 * DAY, "acme", 401), *every(HOUR, NOW - 20 * DAY, NOW, "globex")])
    await past.beats(NOW - 3 * DAY, NOW)
    return await asked(w, NOW - 3 * DAY + 60, NOW - 60)


@plays("went_silent")
async def two_days_after_a_good_answer(w: World) -> str:
    past = Past(w)
    await past.write([*every(HOUR, NOW - 12 * DAY, NOW - 2 * DAY, "acme"), *every(HOUR, NOW - 12 * DAY, NOW, "globex")])
    await past.beats(NOW - 2 * DAY, NOW)
    return await asked(w, NOW - 2 * DAY + HOUR, NOW - 60)


@nearly("went_silent")
async def entras_quiet_day(w: World) -> str:
    past = Past(w)
    acme = [(NOW - 30 * HOUR - n * 20 * HOUR, "acme", 200) for n in range(22)]
    await past.write([*acme, *every(HOUR, NOW - 20 * DAY, NOW, "globex")])
    await past.beats(NOW - 30 * HOUR, NOW)
    return await asked(w, NOW - 29 * HOUR, NOW - 60)


@nearly("went_silent")
async def entras_quiet_weekend_after_days_of_work_every_40_minutes(w: World) -> str:
    past = Past(w)
    acme = every(40 * 60, NOW - 20 * DAY, NOW - 2.5 * DAY, "acme")
    await past.write([*acme, *every(HOUR, NOW - 20 * DAY, NOW, "globex")], ENTRA)
    await past.beats(NOW - 2.5 * DAY, NOW)
    return await asked(w, NOW - 2.5 * DAY + HOUR, NOW - 60)


@nearly("went_silent")
async def a_weekend_of_a_customer_that_is_known_for_two_days(w: World) -> str:
    past = Past(w)
    acme = every(0.5 * HOUR, NOW - 3 * DAY, NOW - DAY, "acme")
    await past.write([*acme, *every(HOUR, NOW - 20 * DAY, NOW, "globex")])
    await past.beats(NOW - DAY, NOW)
    return await asked(w, NOW - DAY + HOUR, NOW - 60)


@nearly("went_silent")
async def we_did_not_listen(w: World) -> str:
    past = Past(w)
    acme = every(HOUR, NOW - 12 * DAY, NOW - 2 * DAY, "acme")
    await past.write([*acme, *every(HOUR, NOW - 12 * DAY, NOW, "globex")])
    await past.beats(NOW - 2 * DAY, NOW - DAY)
    return await asked(w, NOW - 2 * DAY + HOUR, NOW - 60)


@nearly("went_silent")
async def it_was_renamed_and_goes_on(w: World) -> str:
    past = Past(w)
    acme = every(HOUR, NOW - 20 * DAY, NOW - 3 * DAY, "acme")
    renamed = every(HOUR, NOW - 3 * DAY, NOW, "acme-inc")
    await past.write([*acme, *renamed, *every(HOUR, NOW - 20 * DAY, NOW, "globex")])
    await past.beats(NOW - 3 * DAY, NOW)
    return await asked(w, NOW - 3 * DAY + HOUR, NOW - 60)


@plays("went_silent")
async def it_was_renamed_long_ago_and_is_asked_for_by_its_name(w: World) -> str:
    past = Past(w)
    acme = every(HOUR, NOW - 40 * DAY, NOW - 30 * DAY, "acme")
    renamed = every(HOUR, NOW - 30 * DAY, NOW - 3 * DAY, "acme-inc")
    await past.write([*acme, *renamed, *every(HOUR, NOW - 20 * DAY, NOW, "globex")])
    await past.beats(NOW - 3 * DAY, NOW)
    return await asked(w, NOW - 3 * DAY + HOUR, NOW - 60, tenant="acme-inc")


@nearly("went_silent")
async def it_comes_with_a_token_that_nobody_knows(w: World) -> str:
    past = Past(w)
    acme = every(HOUR, NOW - 12 * DAY, NOW - 2 * DAY, "acme")
    strangers = every(HOUR, NOW - 2 * DAY, NOW, "_unknown", 401)
    await past.write([*acme, *strangers, *every(HOUR, NOW - 12 * DAY, NOW, "globex")])
    await past.beats(NOW - 2 * DAY, NOW)
    return await asked(w, NOW - 2 * DAY + HOUR, NOW - 60)


# --- never_arrived --------------------------------------------------------------------------------------------------


@plays("never_arrived")
async def reported_at_noon_and_nothing_came(w: World) -> str:
    past = Past(w)
    await past.write(every(300, NOW - 4 * HOUR, NOW, "globex"))
    await past.beats(NOW - 4 * HOUR, NOW)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))


@plays("never_arrived")
async def a_customer_that_came_every_hour_until_its_firewall_changed(w: World) -> str:
    past = Past(w)
    acme = every(HOUR, NOW - 9 * DAY, NOW - 5 * HOUR, "acme")
    await past.write([*acme, *every(600, NOW - 9 * DAY, NOW, "globex")])
    await past.beats(NOW - 4 * HOUR, NOW)
    return await asked(w, NOW - 90 * 60, NOW - 30 * 60, "--reported", iso(NOW - HOUR))


@nearly("never_arrived")
async def nobody_reported_anything(w: World) -> str:
    past = Past(w)
    await past.write(every(300, NOW - 4 * HOUR, NOW, "globex"))
    await past.beats(NOW - 4 * HOUR, NOW)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR)


@nearly("never_arrived")
async def we_were_down_at_that_time(w: World) -> str:
    past = Past(w)
    await past.write(every(300, NOW - 4 * HOUR, NOW, "globex"))
    await past.beats(NOW - 4 * HOUR, NOW - 2.2 * HOUR)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))


@nearly("never_arrived")
async def it_was_renamed_and_arrived(w: World) -> str:
    past = Past(w)
    acme = every(HOUR, NOW - 9 * DAY, NOW - DAY, "acme")
    renamed = every(0.5 * HOUR, NOW - DAY, NOW, "acme-inc")
    await past.write([*acme, *renamed, *every(300, NOW - 4 * HOUR, NOW, "globex")])
    await past.beats(NOW - 4 * HOUR, NOW)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))


@nearly("never_arrived")
async def it_arrived_with_a_token_that_nobody_knows(w: World) -> str:
    past = Past(w)
    strangers = [(NOW - 2 * HOUR + n, "_unknown", 401) for n in range(3)]
    await past.write([*every(300, NOW - 4 * HOUR, NOW, "globex"), *strangers])
    await past.beats(NOW - 4 * HOUR, NOW)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))


@nearly("never_arrived")
async def reported_in_another_time_zone(w: World) -> str:
    past = Past(w)
    refusal = (NOW - 4 * HOUR, "acme", 401)
    await past.write([*every(HOUR, NOW - 9 * DAY, NOW - 4 * HOUR, "acme"), refusal, *every(300, NOW - 9 * HOUR, NOW, "globex")])
    await past.beats(NOW - 9 * HOUR, NOW)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))
