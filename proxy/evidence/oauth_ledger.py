"""The ledger of OAuth calls: per token how it was born, refreshed, refused and revoked, and which refresh token belongs to it.

`saw` is memory only. The rest happens in the background: the row of a token just issued is read (whose is it, does its
lifetime agree with the answer?), and the calls go to the store as JSON under their own time, so that a repeated delivery
changes nothing. kill -9 loses at most what came since the last flush, a second; a refusal never, for it is an incident and
lies in the spool before its answer leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from proxy.core.credential import Secret
from proxy.core.incident import Incident
from proxy.core.memory import OauthEvent
from proxy.core.token import Known, Reading
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.redis_store import Command, RedisStore, StoreError

WAITING_LIMIT: Final = 20_000
"""Calls that wait for a store that is away, about 0.5 KB each. Then the oldest go, and are counted."""
LOOKS_LIMIT: Final = 1_000
"""Tokens just issued whose row is still to be read; more are kept without it."""
LOOKS_PER_FLUSH: Final = 50
"""Rows read per second: more tokens than that are issued only by machines that ask for one per request."""
LINKS_LIMIT: Final = 100_000
"""Refresh tokens remembered with their access token: about 0.3 KB each, 30 MB; the least recently seen goes first."""
EXCHANGED_LIMIT: Final = 20_000
"""Refresh tokens and codes remembered as exchanged, about 0.2 KB each, for the store has the former within a second; and codes
remembered as issued, about 0.5 KB each: they live for minutes."""
CLIENTS_LIMIT: Final = 10_000
"""Clients remembered with their tenant, about 0.2 KB each."""
FLUSH_EVERY: Final = 1.0
"""Seconds."""
FLUSH_LIMIT: Final = 500
"""Calls written per flush: about 2,000 commands' worth of 0.5 KB."""
LEARN_LIMIT: Final = 20_000
"""Links loaded at start, the newest ones, and per look for those of other instances."""
LEARN_EVERY: Final = 2.0
"""Seconds between looks for what other instances have linked."""
PER_TOKEN: Final = 200
"""Calls kept per token: a week of hourly refreshes."""
PER_TENANT: Final = 2_000
"""Calls kept per tenant, about 1 MB at most."""
SEVERAL: Final = "*"
"""Stands for the tenant of a client that acts for several."""


T = TypeVar("T")


class Link(msgspec.Struct, frozen=True):
    """Which access token a refresh token was issued with, and whose both are; fingerprints."""

    access: str
    tenant: str = ""


class Tell(Protocol):
    """Where events for people go."""

    def __call__(self, event: str, /, **fields: object) -> object:
        """Write one."""


class OauthLedger:
    """See the module. Not for several threads. `look` reads the row of a token; it never raises for the source's trouble."""

    def __init__(
        self,
        store: RedisStore | None,
        look: Callable[[Secret], Awaitable[Reading]],
        tenant_of: Callable[[str], str],
        tell: Tell,
        keep: writes.Keep | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`tenant_of` says whose an access token is, where the history knows it."""
        self._store = store
        self._look = look
        self._tenant_of = tenant_of
        self._tell = tell
        self._keep = keep or writes.Keep()
        self._clock = clock
        self._links: OrderedDict[str, Link] = OrderedDict()
        self._clients: OrderedDict[str, str] = OrderedDict()
        self._exchanged: OrderedDict[str, float] = OrderedDict()
        self._codes: OrderedDict[str, OauthEvent] = OrderedDict()
        self._to_look: deque[tuple[OauthEvent, Secret]] = deque()
        self._waiting: deque[OauthEvent] = deque()
        self._learned_up_to: float | None = None
        self._learn_at = 0.0
        self.calls: Counter[tuple[str, str]] = Counter()
        self.findings: Counter[str] = Counter()
        self.lost = 0

    # --- the road ---------------------------------------------------------------------------------------------------

    def owner_of(self, refresh: str) -> str:
        """The access token that a refresh token was issued with, or nothing."""
        link = self._links.get(refresh)
        return link.access if link is not None else ""

    def tenant_of(self, event: OauthEvent) -> str:
        """Whose call it is: by the tokens in it, else by the client where that acts for one tenant only; or nothing."""
        link = self._links.get(event.refresh_presented)
        known = (link.tenant if link is not None else "") or next(
            (tenant for name in (event.presented, event.created) if name and (tenant := self._tenant_of(name))), ""
        )
        by_client = self._clients.get(event.client, "") if event.client else ""
        return known or ("" if by_client == SEVERAL else by_client)

    def recalled(self, event: OauthEvent) -> OauthEvent:
        """The call with what memory has of it: whose it is, and what became of the refresh token or code before."""
        issued = self._codes.get(event.code) if event.endpoint == "token" else None
        return msgspec.structs.replace(
            event,
            tenant=self.tenant_of(event),
            exchanged_at=self._exchanged.get(event.refresh_presented or event.code),
            code_issued_at=issued.at if issued is not None else None,
            redirect_differs=issued.redirect != event.redirect if issued is not None and issued.redirect else None,
        )

    def saw(self, event: OauthEvent, issued: Secret | None) -> None:
        """Take notice of a call. Memory only."""
        self.calls[(event.endpoint, event.error or f"{event.status // 100}xx")] += 1
        self._found(event, event.lint)
        if event.refresh_created and event.created:
            self._link(event.refresh_created, Link(event.created, event.tenant))
        if event.endpoint == "authorize" and event.code:
            _bounded(self._codes, event.code, event, EXCHANGED_LIMIT)
        elif (used := event.refresh_presented or event.code) and event.created:
            _bounded(self._exchanged, used, event.at, EXCHANGED_LIMIT)
        if issued is not None and len(self._to_look) < LOOKS_LIMIT:
            self._to_look.append((event, issued))
        else:
            self._put(event)

    def _found(self, event: OauthEvent, findings: Sequence[str]) -> None:
        for finding in findings:
            self.findings[finding] += 1
            self._tell(
                "oauth_lint", finding=finding, fingerprint=event.created, tenant=event.tenant, client=event.client,
                grant=event.grant_type, request=event.exchange,
            )  # fmt: skip

    def _link(self, refresh: str, link: Link) -> None:
        _bounded(self._links, refresh, link, LINKS_LIMIT)

    def _put(self, event: OauthEvent) -> None:
        if len(self._waiting) >= WAITING_LIMIT:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)

    # --- the background ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look up, learn and write every second, for ever."""
        while True:
            with contextlib.suppress(StoreError):  # the shipper reports the store; the calls wait
                await self.learn()
            with contextlib.suppress(StoreError):
                await self.flush()
            await asyncio.sleep(FLUSH_EVERY)

    async def learn(self) -> None:
        """Load the links that this and other instances have stored. StoreError."""
        now = self._clock()
        if self._store is None or now < self._learn_at:
            return
        for member in await self._news(self._store, keys.RECENT_LINKS, LEARN_LIMIT, now):
            refresh, access, tenant = ([*member.split(" ", 2), "", ""])[:3]
            if refresh not in self._links or tenant:
                self._link(refresh, Link(access, tenant))
        for member in await self._news(self._store, keys.OAUTH_CLIENTS, CLIENTS_LIMIT, now):
            client, _, tenant = member.partition("\n")
            self._acts_for(client, tenant)
        self._learned_up_to, self._learn_at = now, now + LEARN_EVERY

    async def _news(self, store: RedisStore, key: str, limit: int, now: float) -> list[str]:
        """The members of an index that came since the last look, oldest first; at the first look the newest."""
        if self._learned_up_to is None:
            return list(reversed(await queries.members(store, key, limit)))
        # clocks of instances differ, and a member is written up to some seconds after its time
        return await queries.between(store, key, self._learned_up_to - 60.0, now + 60.0, limit)

    async def flush(self) -> None:
        """Read the rows of new tokens and write what waits. StoreError: it waits on."""
        for _ in range(min(LOOKS_PER_FLUSH, len(self._to_look))):
            event, secret = self._to_look.popleft()
            self._put(await self._completed(event, secret))
        if self._store is None or not self._waiting:
            return
        taken = list(itertools.islice(self._waiting, FLUSH_LIMIT))
        linked = await self._linked(self._store, taken)
        await self._store.run(self._commands(linked))
        for event in taken:
            if self._waiting and self._waiting[0] is event:
                self._waiting.popleft()

    async def _completed(self, event: OauthEvent, secret: Secret) -> OauthEvent:
        """With what the row of the issued token says."""
        reading = await self._look(secret)
        row = reading.state
        if not isinstance(row, Known):
            return event
        disagrees = ("expires_in_disagrees",) if _disagrees(event.expires_in, row) else ()
        whole = msgspec.structs.replace(
            event, tenant=row.tenant, application=row.application_name or "", lint=(*event.lint, *disagrees)
        )
        self._found(whole, disagrees)
        if event.refresh_created:
            self._link(event.refresh_created, Link(event.created, row.tenant))
        if event.client:
            self._acts_for(event.client, row.tenant)
        return whole

    def _acts_for(self, client: str, tenant: str) -> None:
        known = self._clients.get(client, tenant)
        _bounded(self._clients, client, tenant if known == tenant else SEVERAL, CLIENTS_LIMIT)

    async def _linked(self, store: RedisStore, events: Sequence[OauthEvent]) -> list[OauthEvent]:
        """With the access token of a refresh token that another instance, or this one before its restart, has linked."""
        wanted = {e.refresh_presented for e in events if e.refresh_presented and not e.presented}
        links = {name: found for name in wanted if (found := await link_of(store, name)) is not None}
        return [self._belongs(event, links.get(event.refresh_presented)) for event in events]

    def _belongs(self, event: OauthEvent, link: Link | None) -> OauthEvent:
        if link is not None:
            event = msgspec.structs.replace(event, presented=link.access, tenant=event.tenant or link.tenant)
        return event if event.tenant else msgspec.structs.replace(event, tenant=self.tenant_of(event))

    def _commands(self, events: Sequence[OauthEvent]) -> list[Command]:
        ttl = writes.milliseconds(self._keep.token_days)
        found: dict[tuple[str, int], list[tuple[float | int, str]]] = {}
        commands: list[Command] = []
        links: list[tuple[float | int, str]] = []
        for event in events:
            member = (round(event.at * 1000), msgspec.json.encode(event).decode())
            for name in filter(None, dict.fromkeys((event.created, event.presented or event.refresh_presented))):
                found.setdefault((keys.oauth_of_token(name), PER_TOKEN), []).append(member)
            if event.tenant:
                found.setdefault((keys.oauth_of_tenant(event.tenant), PER_TENANT), []).append(member)
            if event.refresh_created and event.created:
                place = f"{event.created} {event.tenant}"
                commands.append(("SET", keys.refresh_link(event.refresh_created), place, "PX", ttl))
                links.append((member[0], f"{event.refresh_created} {place}"))
        commands += [writes.index(key, cap, ttl, members) for (key, cap), members in found.items()]
        if links:
            commands.append(writes.index(keys.RECENT_LINKS, LEARN_LIMIT, ttl, links))
        clients = [(round(e.at * 1000), f"{e.client}\n{e.tenant}") for e in events if e.created and e.client and e.tenant]
        if clients:
            commands.append(writes.index(keys.OAUTH_CLIENTS, CLIENTS_LIMIT, ttl, clients))
        return commands


def _bounded(memory: OrderedDict[str, T], key: str, value: T, limit: int) -> None:
    """Put it in as the newest; beyond the limit the oldest goes."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > limit:
        memory.popitem(last=False)


def _disagrees(said: int | None, row: Known) -> bool:
    """Whether a client is told another lifetime than the row has. A second is rounding; a row without one says nothing when
    the answer has none either."""
    if said is None or row.expires_in is None:
        return said != row.expires_in
    return abs(said - row.expires_in) > 1


# --- reading --------------------------------------------------------------------------------------------------------


async def link_of(store: RedisStore, refresh: str) -> Link | None:
    """What a refresh token was issued with. StoreError."""
    (answer,) = await store.run([("GET", keys.refresh_link(refresh))])
    if not answer:
        return None
    access, _, tenant = queries.as_text(answer).partition(" ")
    return Link(access, tenant)


async def calls_of_token(store: RedisStore, fingerprint: str) -> list[OauthEvent]:
    """The calls that bear on a token, oldest first. StoreError."""
    return _read(await queries.members(store, keys.oauth_of_token(fingerprint), PER_TOKEN))


async def calls_of_tenant(store: RedisStore, tenant: str, start: float, end: float) -> list[OauthEvent]:
    """The calls of a tenant between two instants (epoch seconds), oldest first, the newest 200 of them. StoreError."""
    (answer,) = await store.run(
        [("ZREVRANGEBYSCORE", keys.oauth_of_tenant(tenant), round(end * 1000), round(start * 1000), "LIMIT", 0, PER_TOKEN)]
    )
    return _read(queries.as_text(member) for member in answer)


def refusals(incidents: Iterable[Incident]) -> list[OauthEvent]:
    """The refused calls among incidents."""
    return [incident.oauth for incident in incidents if incident.oauth is not None]


def together(one: Iterable[OauthEvent], other: Iterable[OauthEvent]) -> list[OauthEvent]:
    """Both, oldest first. Of two accounts of one call the one that names the access token, else the second."""
    found: dict[tuple[str, float, str], OauthEvent] = {}
    for event in (*one, *other):
        key = (event.exchange, event.at, event.endpoint)
        if key not in found or event.presented or not found[key].presented:
            found[key] = event
    return sorted(found.values(), key=lambda event: (event.at, event.exchange))


def _read(members: Any) -> list[OauthEvent]:
    """What this version can read of them."""
    found = []
    for member in members:
        with contextlib.suppress(*records.UNREADABLE):
            found.append(msgspec.json.decode(member, type=OauthEvent))
    return sorted(found, key=lambda event: event.at)
