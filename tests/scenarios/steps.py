"""Steps that many stories share: a customer at work, what the vendor writes into a row, time that goes by."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from proxy.evidence.connect import StoreOptions, connect
from tests.oauth.vendor import SWITCHED_ON, Vendor
from tests.scenarios.plays import named
from tests.scenarios.world import PATIENCE, World, until

ELSEWHERE: Final = "198.51.100.9"
"""The address of a second client."""
REFUSE_OWNER: Final = "[policy]\nrefuse_inactive_owner = true"
ROUTE: Final = "[tenant_route]\npath = '^/t/(?P<tenant>[^/]+)/scim'"
OBSERVE: Final = '[policy]\nmode = "observe"'
TWO_WEEKS: Final = 14 * 86_400
"""Seconds: the age of a customer's token unless a scenario says otherwise."""
NOW: Final = "=clock_timestamp() AT TIME ZONE 'utc'"


def ago(span: str) -> str:
    """That time before now, as a column takes it."""
    return f"{NOW} - interval '{span}'"


def ahead(span: str) -> str:
    return f"{NOW} + interval '{span}'"


async def at_work(w: World, times: int = 2, **columns: Any) -> str:
    """The proxy, and a customer whose token has served so many requests."""
    await w.build()
    token = await w.customer(**columns)
    await w.works(token, times)
    return token


async def tenants(w: World, count: int) -> list[str]:
    """The proxy, and the tokens of so many customers, each at work from an address of its own (`address_of`)."""
    await w.build()
    tokens = [await w.customer(f"tenant-{n}") for n in range(count)]
    for n, token in enumerate(tokens):
        await w.works(token, 2, address=address_of(n))
    return tokens


def address_of(tenant: int) -> str:
    return f"198.51.{tenant}.7"


async def with_oauth(w: World) -> Vendor:
    await w.build(more=SWITCHED_ON)
    return Vendor(w)


async def change(w: World, token: str, **columns: object) -> None:
    """Write into the row of a token; a text that begins with `=` is SQL."""
    for column, value in columns.items():
        if isinstance(value, str) and value.startswith("="):
            await w.db.execute(f"UPDATE oauth_access_tokens SET {column} = {value[1:]} WHERE token = $1", token)
        else:
            await w.db.execute(f"UPDATE oauth_access_tokens SET {column} = $2 WHERE token = $1", token, value)


async def sibling(w: World, token: str, **columns: object) -> str:
    """One more token of the same application and owner, made now unless told otherwise."""
    return await w.issue(*w.party(token), **({"created_at": NOW} | columns))


async def grant(w: World, application: Any, owner: Any, code: str = "g", **columns: str) -> None:
    """What an authorization leaves behind; columns are SQL."""
    names = "".join(f", {column}" for column in columns)
    values = "".join(f", {sql.removeprefix('=')}" for sql in columns.values())
    await w.db.execute(
        f"INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in{names}) "
        f"VALUES ($1, $2, $3, 600{values})",
        owner,
        application,
        code,
    )


async def restart(w: World) -> None:
    await w.stop()
    await w.start()


async def reconfigure(w: World, before: str, after: str) -> None:
    """Write the settings of a proxy that is down otherwise."""
    text = w.config.read_text()
    assert before in text
    w.config.write_text(text.replace(before, after))


async def forget(w: World) -> None:
    """The store loses all that it held."""
    store = connect(StoreOptions(url=w.store, timeout=PATIENCE))
    await store.flushall()
    await store.aclose()


async def until_served(w: World, token: str, **how: Any) -> None:
    """Send until it is served."""

    async def served_now() -> bool:
        return (await w.call(token, **how))[0] == 200

    await until(served_now)


async def until_recorded(w: World, token: str) -> str:
    """Send what a proxy lets through that only observes, until there is an incident; returns it."""
    found: list[str] = []

    async def recorded() -> bool:
        await w.call(token)
        listed = await w.command("incidents", "list")
        found[:] = [one["id"] for one in listed["incidents"]] if listed else []
        return bool(found)

    await until(recorded)
    return found[-1]


async def passed(seconds: float) -> None:
    """So much of the story's time goes by."""
    end = time.time() + seconds

    async def gone_by() -> bool:
        return time.time() > end

    await until(gone_by)


async def refused_as(w: World, *authorizations: str) -> str:
    """The cause that all of these headers are given; the first that is given another one otherwise."""
    return await each_named(w, [await w.fails(authorization=sent) for sent in authorizations])


async def each_named(w: World, incidents: Iterable[str]) -> str:
    """The cause that all of these incidents are given; the first that is given another one otherwise."""
    codes = [await named(w, incident) for incident in incidents]
    return next((code for code in codes if code != codes[0]), codes[0])
