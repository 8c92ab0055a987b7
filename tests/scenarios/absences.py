"""Nothing arrives, further: who else was silent, whether we listened, what this customer's silence usually means."""

from __future__ import annotations

from proxy.evidence.heartbeat import Beat
from tests.scenarios.plays import plays
from tests.scenarios.silences import DAY, HOUR, NOW, Past, asked, every, iso
from tests.scenarios.world import ENTRA, OKTA, World

Requests = list[tuple[float, str, int]]


def _globex(gap: float = HOUR, days: float = 20) -> Requests:
    """Another customer, who never stops."""
    return every(gap, NOW - days * DAY, NOW, "globex")


async def _listened(past: Past, *spans: tuple[float, float], why: str = "") -> None:
    """Heartbeats of these times; of a listener that did not answer, where `why` says so."""
    for start, end in spans:
        for second in range(0, int(end - start), 10):
            past.heartbeat.note(Beat(start + second, ok=not why, why=why, requests=0))
    await past.heartbeat.flush()
    await past.store.close()


async def _silent(w: World, requests: Requests, start: float, end: float = NOW - 60, agent: str = OKTA) -> str:
    """What is named for that span when the proxy listened all the time since."""
    past = Past(w)
    await past.write(requests, agent)
    await past.beats(start, NOW)
    return await asked(w, start + 60, end)


async def _reported(w: World, requests: Requests) -> str:
    """What is named for a refusal that the customer reports of two hours ago, asked for with an hour around it."""
    past = Past(w)
    await past.write(requests)
    await past.beats(NOW - 6 * HOUR, NOW)
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))


# --- silent ---------------------------------------------------------------------------------------------------------


@plays("went_silent")
async def for_three_days_and_back_this_morning_asked_for_the_days_between(w: World) -> str:
    acme = [*every(2 * HOUR, NOW - 20 * DAY, NOW - 3 * DAY, "acme"), (NOW - HOUR, "acme", 200)]
    return await _silent(w, [*acme, *_globex()], NOW - 3 * DAY, NOW - 6 * HOUR)


@plays("undetermined", "went_silent")
async def for_three_days_and_back_this_morning_asked_up_to_now(w: World) -> str:
    back = [(NOW - 2 * HOUR, "acme", 200), (NOW - HOUR, "acme", 200)]
    acme = [*every(2 * HOUR, NOW - 20 * DAY, NOW - 3 * DAY, "acme"), *back]
    return await _silent(w, [*acme, *_globex()], NOW - 3 * DAY)


@plays("went_silent")
async def after_a_403(w: World) -> str:
    acme = [*every(HOUR, NOW - 20 * DAY, NOW - 3 * DAY, "acme"), (NOW - 3 * DAY, "acme", 403)]
    return await _silent(w, [*acme, *_globex()], NOW - 3 * DAY)


@plays("undetermined", "went_silent")
async def entra_for_twenty_hours_after_a_401(w: World) -> str:
    acme = [*every(40 * 60, NOW - 20 * DAY, NOW - 20 * HOUR, "acme"), (NOW - 20 * HOUR, "acme", 401)]
    return await _silent(w, [*acme, *_globex()], NOW - 20 * HOUR, agent=ENTRA)


@plays("undetermined")
async def with_everybody_else(w: World) -> str:
    acme = every(2 * HOUR, NOW - 20 * DAY, NOW - 2 * DAY, "acme")
    globex = every(HOUR, NOW - 20 * DAY, NOW - 2 * DAY, "globex")
    return await _silent(w, [*acme, *globex], NOW - 2 * DAY)


@plays("undetermined")
async def a_customer_that_was_never_seen(w: World) -> str:
    return await _silent(w, _globex(), NOW - 2 * DAY)


@plays("undetermined")
async def a_customer_that_comes_once_in_four_weeks(w: World) -> str:
    return await _silent(w, [*every(28 * DAY, NOW - 85 * DAY, NOW, "acme"), *_globex()], NOW - 3 * DAY)


@plays("undetermined")
async def over_a_weekend_on_which_it_never_comes(w: World) -> str:
    worked = [day for day in range(28, 2, -1) if day % 7 not in (1, 2)]
    acme = [one for day in worked for one in every(HOUR, NOW - day * DAY, NOW - day * DAY + 9 * HOUR, "acme")]
    return await _silent(w, [*acme, *_globex(days=30)], NOW - 2.5 * DAY)


@plays("undetermined")
async def after_the_one_import_of_an_afternoon(w: World) -> str:
    acme = every(10, NOW - 3 * DAY, NOW - 3 * DAY + 3_000, "acme")
    return await _silent(w, [*acme, *_globex()], NOW - 2.9 * DAY)


@plays("undetermined")
async def after_two_imports_a_week_apart(w: World) -> str:
    imports = [every(10, NOW - days * DAY, NOW - days * DAY + 3_000, "acme") for days in (17, 10)]
    return await _silent(w, [*imports[0], *imports[1], *_globex()], NOW - 4 * DAY)


@plays("undetermined")
async def while_our_own_question_to_the_listener_failed(w: World) -> str:
    past = Past(w)
    await past.write([*every(2 * HOUR, NOW - 20 * DAY, NOW - 2 * DAY, "acme"), *_globex()])
    await _listened(past, (NOW - 2 * DAY, NOW), why="refused")
    return await asked(w, NOW - 2 * DAY + HOUR, NOW - 60)


# --- reported -------------------------------------------------------------------------------------------------------


@plays("went_silent", "never_arrived")
async def a_failure_in_the_middle_of_five_silent_days(w: World) -> str:
    past = Past(w)
    await past.write([*every(2 * HOUR, NOW - 20 * DAY, NOW - 5 * DAY, "acme"), *_globex()])
    await past.beats(NOW - 5 * DAY, NOW)
    return await asked(w, NOW - 5 * DAY + HOUR, NOW - 60, "--reported", iso(NOW - 2 * DAY))


@plays("never_arrived")
async def between_two_requests_that_came_as_usual(w: World) -> str:
    acme = every(4 * HOUR, NOW - 10 * DAY, NOW, "acme")
    last = max(at for at, _, _ in acme)
    past = Past(w)
    await past.write([*acme, *_globex(300, 1)])
    await past.beats(NOW - DAY, NOW)
    return await asked(w, last - 3.5 * HOUR, last - 0.5 * HOUR, "--reported", iso(last - 2 * HOUR))


@plays("undetermined")
async def when_nobody_elses_came_either(w: World) -> str:
    acme = every(2 * HOUR, NOW - 20 * DAY, NOW - 5 * HOUR, "acme")
    return await _reported(w, [*acme, *every(HOUR, NOW - 20 * DAY, NOW - 5 * HOUR, "globex")])


@plays("undetermined")
async def when_a_request_of_it_was_served(w: World) -> str:
    return await _reported(w, [(NOW - 2 * HOUR, "acme", 200), *_globex(300, 0.25)])


@plays("undetermined")
async def when_a_request_of_it_was_refused(w: World) -> str:
    return await _reported(w, [(NOW - 2 * HOUR, "acme", 401), *_globex(300, 0.25)])


@plays("undetermined")
async def by_a_clock_that_is_an_hour_off(w: World) -> str:
    return await _reported(w, [(NOW - 2 * HOUR - 59 * 60, "acme", 401), *_globex(300, 0.25)])


@plays("undetermined")
async def of_a_minute_in_which_we_were_started_anew(w: World) -> str:
    past = Past(w)
    await past.write(_globex(300, 4 / 24))
    await _listened(past, (NOW - 4 * HOUR, NOW - 2 * HOUR - 600), (NOW - 2 * HOUR + 600, NOW))
    return await asked(w, NOW - 3 * HOUR, NOW - HOUR, "--reported", iso(NOW - 2 * HOUR))
