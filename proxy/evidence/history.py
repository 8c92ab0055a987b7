"""The memory of tokens: first seen, last good, what was answered how often, by whom it was used, how its state changed.

`saw` is on the way of every request and only changes counters of one object. Everything else happens in the background: what
is stored of a token is loaded after it was first seen, and what changed is written in batches. Each instance writes its own
part of a token's history, as absolute values, so that nothing is counted twice; readers merge the parts.

A token that merely goes on working is written when it has been waiting for CALM_SECONDS; whatever else changes goes with the
next flush, a second later at most. So kill -9 loses at most that much of a count and of `last_good`, and nothing of a refusal,
a change of state or a first use (unless more than 500 tokens change so per second). Incidents carry the history as it was, and
are not touched by this.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from proxy.core.exchange import GRANTED, AnsweredBy, Exchange
from proxy.core.history import StateChange, TokenHistory
from proxy.core.memory import FirstUse
from proxy.core.token import Known, Reading, Unknown
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.merge import CHANGES_KEPT, merge
from proxy.evidence.redis_store import Command, RedisStore, StoreError
from proxy.evidence.token_memory import NEVER, Token

_BACKEND: Final = AnsweredBy.BACKEND
GOOD_LIMIT: Final = 200_000
"""Tokens in memory that were good at some time: about 1 KB each; the least recently used goes first and is stored."""
OTHER_LIMIT: Final = 20_000
"""Tokens in memory that never were: a flood of guesses turns over in here and never reaches the good ones."""
LOAD_LIMIT: Final = 10_000
"""Tokens that wait for their stored history; more wait until they are seen again."""
FLUSH_EVERY: Final = 1.0
"""Seconds."""
FLUSH_LIMIT: Final = 500
"""Histories written and loaded per flush: about 50 ms of a core."""
TURN: Final = 25
"""Histories encoded before requests have their turn: about a millisecond."""
CALM_SECONDS: Final = 15.0
"""How long the good uses of a token wait to be written: each write costs about as much as a request."""
CALM_LIMIT: Final = 100
"""Tokens with nothing but good uses written per flush: about 1 % of a core. 10,000 busy tokens are written each 100 s."""
WARM_LIMIT: Final = 20_000
"""Histories loaded at start, those last seen first: the tokens in use are known again before most of them come back."""
PARTS_LIMIT: Final = 16
"""Parts (instances) of one history before those of instances long gone are folded into one."""
GONE_SECONDS: Final = 7 * 86_400.0
"""A part that was not written for so long belongs to an instance that is gone."""
PAST: Final = "_past"

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(TokenHistory).decode


class History:
    """Remembers tokens. Not for several threads."""

    def __init__(
        self,
        store: RedisStore | None,
        instance: str,
        keep: writes.Keep | None = None,
        *,
        good_limit: int = GOOD_LIMIT,
        other_limit: int = OTHER_LIMIT,
        clock: Callable[[], float] = time.time,
        learned: Callable[[TokenHistory], None] | None = None,
        former: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        """`instance` names the process across restarts; no two living ones may share it. `learned` is told of every stored
        history that was loaded. `former` gives a token's names under keys from before, whose histories are its own."""
        self._store = store
        self._instance = instance
        self._keep = keep or writes.Keep()
        self._good_limit = good_limit
        self._other_limit = other_limit
        self._clock = clock
        self._good: OrderedDict[str, Token] = OrderedDict()
        self._other: OrderedDict[str, Token] = OrderedDict()
        self._dirty: dict[str, Token] = {}  # the longest waiting first
        self._urgent: dict[str, Token] = {}
        self._to_load: deque[Token] = deque()
        self._learned = learned
        self._former = former
        self._began = clock()
        self._new_good: deque[tuple[Token, float]] = deque(maxlen=LOAD_LIMIT)

    def __len__(self) -> int:
        return len(self._good) + len(self._other)

    def saw(self, exchange: Exchange) -> None:
        """Remember one exchange. On the way of every request: no I/O, about a microsecond."""
        fingerprint = exchange.fingerprint
        if not fingerprint:
            return
        token = self._good.get(fingerprint)
        if token is None:
            token = self._other.get(fingerprint) or self._admit(fingerprint)
        at = exchange.at
        token.last_seen = at
        if token.first_seen is None:
            token.first_seen = at
        status = exchange.status
        key: Any = status
        if status in (401, 403):
            key = self._bad(token, exchange)
            self._urgent[fingerprint] = token
        elif status < 500 and (exchange.answered_by is _BACKEND or status == GRANTED):
            token.last_good = at
            token.last_good_operation = exchange.operation
            token.last_good_address = exchange.addressed
            token.failing_since = None
            if token.first_good is None:
                token.first_good = at
                self._urgent[fingerprint] = token
                if not token.good:
                    self._promote(token)
                    asked = exchange.backend_seconds
                    self._new_good.append((token, asked and exchange.lookup_seconds + asked))
        token.count(key)
        if not exchange.tenant.startswith("_"):
            token.tenant = exchange.tenant
        token.used_by(exchange.user_agent, exchange.client, at)
        if not token.dirty:
            self._touch(token)

    def changed(self, fingerprint: str, change: StateChange) -> None:
        """Remember an observed change of state."""
        token = self._token(fingerprint)
        token.changes.append(change)
        del token.changes[:-CHANGES_KEPT]
        self._touch(token)
        self._urgent[fingerprint] = token

    def noted(self, fingerprint: str, reading: Reading) -> None:
        """Remember the latest reading of a token's state."""
        token = self._token(fingerprint)
        token.last_reading = reading
        self._touch(token)
        self._urgent[fingerprint] = token

    def ended(self, fingerprint: str, reading: Reading) -> StateChange | None:
        """The end of a token that nobody re-read meanwhile: its row was alive when last read, and by this reading it is not."""
        token = self._good.get(fingerprint) or self._other.get(fingerprint)
        if token is None or (token.changes and token.changes[-1].after == reading.state):
            return None
        looks = [h.last_reading for h in (token, token.base, token.others) if h is not None and h.last_reading is not None]
        last = max(looks, key=lambda look: look.read_at, default=None)
        if last is None or not isinstance(last.state, Known) or last.state.revoked_at is not None:
            return None
        state = reading.state
        gone = isinstance(state, Unknown) or (isinstance(state, Known) and state.revoked_at is not None)
        return StateChange(last.state, state, last.read_at, reading.read_at) if gone else None

    def of(self, fingerprint: str) -> TokenHistory | None:
        """What is remembered of a token, None when nothing is."""
        token = self._good.get(fingerprint) or self._other.get(fingerprint)
        return None if token is None or token.blank else token.whole()

    def tenant_of(self, fingerprint: str) -> str | None:
        """The tenant a token belonged to when it was known, None when it never was."""
        token = self._good.get(fingerprint) or self._other.get(fingerprint)
        if token is None:
            return None
        return (
            token.tenant or (token.base.tenant if token.base else "") or (token.others.tenant if token.others else "") or None
        )

    def was_good(self, fingerprint: str) -> bool:
        """Whether the token was ever served, here or at another instance."""
        return fingerprint in self._good

    def take_first_uses(self) -> list[FirstUse]:
        """Tokens that were good for the first time on record since this was last asked. One whose stored history is not
        loaded yet waits."""
        found = []
        for _ in range(len(self._new_good)):
            token, seconds = self._new_good.popleft()
            if not token.loaded:
                self._new_good.append((token, seconds))
            elif all(part is None or part.last_good is None for part in (token.base, token.others)):
                found.append(self._first_use(token, seconds or None))
        return found

    def _first_use(self, token: Token, seconds: float | None) -> FirstUse:
        row = token.last_reading.state if token.last_reading is not None else None
        use = FirstUse(token.fingerprint, token.tenant, token.first_good or 0.0, seconds=seconds)
        if not isinstance(row, Known):
            return use
        looks = (row, *(change.before for change in token.changes))
        renewed = any(isinstance(look, Known) and look.unused_successor for look in looks)
        return msgspec.structs.replace(use, new=row.created_at >= self._began, row=row.row, renewed=renewed)

    async def run(self) -> None:
        """Load and write what is due every second, for ever. A store that is away is tried again; nothing is lost but time."""
        warm = False
        while True:
            with contextlib.suppress(StoreError):  # the shipper reports the store; what is dirty stays dirty
                if not warm:
                    await self.warm()
                    warm = True
                await self.write_due()
            await asyncio.sleep(FLUSH_EVERY)

    async def warm(self) -> int:
        """Load the histories of the tokens seen last, by any instance; returns how many. StoreError."""
        if self._store is None:
            return 0
        names = list(await queries.members(self._store, keys.RECENT_TOKENS, WARM_LIMIT))
        missing = [name for name in reversed(names) if name not in self._good and name not in self._other]
        for start in range(0, len(missing), FLUSH_LIMIT):
            for name in missing[start : start + FLUSH_LIMIT]:
                self._token(name)
            await self._load(self._store)
        return len(missing)

    async def write_due(self) -> int:
        """Load what waits to be loaded, write what is urgent and what has waited long enough, one batch of each; returns how
        many were written. StoreError."""
        if self._store is None:
            return 0
        await self._load(self._store)
        due = [*self._first(self._urgent), *self._calm()]
        for start in range(0, len(due), TURN):
            _ = await self._write(self._store, [token for token in due[start : start + TURN] if token.dirty])
        return len(due)

    async def flush(self) -> int:
        """The same for one batch of everything that changed, due or not. StoreError."""
        if self._store is None:
            return 0
        await self._load(self._store)
        return await self._write(self._store, self._first(self._dirty))

    async def flush_all(self) -> None:
        """Write everything that changed. StoreError."""
        while await self.flush() or self._to_load:
            pass

    def _first(self, waiting: dict[str, Token]) -> list[Token]:
        found = list(itertools.islice(waiting.values(), 4 * FLUSH_LIMIT))
        return [token for token in found if self._ready(token)][:FLUSH_LIMIT]

    def _calm(self) -> list[Token]:
        """Those that have had nothing but good uses for CALM_SECONDS."""
        before = self._clock() - CALM_SECONDS
        due = itertools.takewhile(lambda token: token.dirty_since <= before, self._dirty.values())
        found = list(itertools.islice((token for token in due if token.fingerprint not in self._urgent), CALM_LIMIT))
        return [token for token in found if self._ready(token)]

    async def _write(self, store: RedisStore, batch: list[Token]) -> int:
        if not batch:
            return 0
        urgent = [self._urgent.pop(token.fingerprint, None) for token in batch]
        for token in batch:  # what changes while the write is under way makes it dirty again
            token.dirty = False
            self._dirty.pop(token.fingerprint, None)
        try:
            await store.run(self._written(batch))
        except BaseException:
            for token in batch:
                self._touch(token)
            self._urgent.update((token.fingerprint, token) for token in urgent if token is not None)
            raise
        return len(batch)

    def _ready(self, token: Token) -> bool:
        """Whether it may be written. Its stored part must have been loaded, else the write would undo it. Tokens that were
        never good and belong to nobody are kept in memory only: guesses must not fill the store."""
        if not token.loaded:
            self._queue(token)
            return False
        if token.good or token.tenant:
            return True
        self._forget(token)
        return False

    def _forget(self, token: Token) -> None:
        token.dirty = False
        self._dirty.pop(token.fingerprint, None)
        self._urgent.pop(token.fingerprint, None)

    def _written(self, batch: Iterable[Token]) -> list[Command]:
        ttl = writes.milliseconds(self._keep.token_days)
        commands: list[Command] = []
        recent: list[tuple[float | int, str]] = []
        for token in batch:
            part = _encode(token.own())
            commands.append(writes.fields(keys.history(token.fingerprint), ttl, [(self._instance, part)]))
            seen: list[tuple[float | int, str]] = [
                (int(self._clock() if token.last_seen == NEVER else token.last_seen), token.fingerprint)
            ]
            commands.append(writes.index(keys.known_tokens(token.fingerprint), self._keep.tokens_per_prefix, ttl, seen))
            recent += seen
        commands.append(writes.index(keys.RECENT_TOKENS, WARM_LIMIT, ttl, recent))
        return commands

    async def _load(self, store: RedisStore) -> None:
        batch = [self._to_load.popleft() for _ in range(min(FLUSH_LIMIT, len(self._to_load)))]
        if not batch:
            return
        try:
            answers = await store.run([("HGETALL", keys.history(token.fingerprint)) for token in batch])
        except BaseException:
            for token in batch:
                token.loading = False
                self._queue(token)
            raise
        for token, answer in zip(batch, answers, strict=True):
            self._loaded(token, queries.as_map(answer))
        folds = [fold for t, a in zip(batch, answers, strict=True) for fold in self._fold(t.fingerprint, queries.as_map(a))]
        if folds:
            await store.run(folds)
        if self._former is not None:
            await self._load_former(store, [(token, name) for token in batch for name in self._former(token.fingerprint)])

    async def _load_former(self, store: RedisStore, pairs: list[tuple[Token, str]]) -> None:
        """Load what is stored under names from before. It stays stored there, so it counts as others' here."""
        if not pairs:
            return
        answers = await store.run([("HGETALL", keys.history(name)) for _, name in pairs])
        for (token, _), answer in zip(pairs, answers, strict=True):
            for value in queries.as_map(answer).values():
                if (part := read_part(value)) is not None:
                    self._take(token, msgspec.structs.replace(part, fingerprint=token.fingerprint))
            self._promote_good(token)

    def _loaded(self, token: Token, fields: dict[Any, Any]) -> None:
        for name, value in fields.items():
            part = read_part(value)
            if part is not None and queries.as_text(name) == self._instance:
                token.base = part
                self._tell(part)
            elif part is not None:
                self._take(token, part)
        token.loaded, token.loading = True, False
        self._promote_good(token)

    def _take(self, token: Token, part: TokenHistory) -> None:
        token.others = part if token.others is None else merge(token.others, part)
        self._tell(part)

    def _tell(self, part: TokenHistory) -> None:
        if self._learned is not None:
            self._learned(part)

    def _promote_good(self, token: Token) -> None:
        if not token.good and any(p is not None and p.last_good is not None for p in (token.base, token.others)):
            self._promote(token)

    def _fold(self, fingerprint: str, fields: dict[Any, Any]) -> list[Command]:
        """Fold the parts of instances long gone into one, unless somebody changes them meanwhile."""
        if len(fields) <= PARTS_LIMIT:
            return []
        old: list[tuple[str, bytes]] = []
        past: TokenHistory | None = None
        for name, value in fields.items():
            part = read_part(value)
            gone = part is not None and (part.last_seen or 0.0) < self._clock() - GONE_SECONDS
            if part is None or not (gone or queries.as_text(name) == PAST) or queries.as_text(name) == self._instance:
                continue
            old.append((queries.as_text(name), value))
            past = part if past is None else merge(past, part)
        if past is None or len(old) < 2:
            return []
        ttl = writes.milliseconds(self._keep.token_days)
        return [writes.merge(keys.history(fingerprint), ttl, PAST, _encode(past), old)]

    def _token(self, fingerprint: str) -> Token:
        return self._good.get(fingerprint) or self._other.get(fingerprint) or self._admit(fingerprint)

    def _admit(self, fingerprint: str) -> Token:
        """A token that is not in memory: it is new, or was put out and is still to be written."""
        token = self._dirty.get(fingerprint) or Token(fingerprint)
        if token.good:
            self._good[fingerprint] = token
            return token
        if len(self._other) >= self._other_limit:
            _, put_out = self._other.popitem(last=False)
            self._forget(put_out)
        self._other[fingerprint] = token
        if self._store is None:
            token.loaded = True
        self._queue(token)
        return token

    def _promote(self, token: Token) -> None:
        token.good = True
        self._other.pop(token.fingerprint, None)
        if len(self._good) >= self._good_limit:
            self._good.popitem(last=False)  # stays in _dirty until it is written
        self._good[token.fingerprint] = token

    def _queue(self, token: Token) -> None:
        if not (token.loaded or token.loading) and len(self._to_load) < LOAD_LIMIT:
            token.loading = True
            self._to_load.append(token)

    def _touch(self, token: Token) -> None:
        if not token.dirty:
            token.dirty = True
            token.dirty_since = self._clock()
        self._dirty[token.fingerprint] = token
        if token.good:
            # once per flush is often enough to tell what was used least recently
            if token.fingerprint in self._good:
                self._good.move_to_end(token.fingerprint)
        elif token.fingerprint in self._other:
            self._other.move_to_end(token.fingerprint)

    def _bad(self, token: Token, exchange: Exchange) -> tuple[int, str]:
        reason = exchange.reason if exchange.answered_by is AnsweredBy.PROXY else "backend"
        token.last_bad = exchange.at
        token.last_bad_reason = reason
        if token.first_bad is None:
            token.first_bad = exchange.at
        if token.failing_since is None:
            token.failing_since = exchange.at
        return exchange.status, reason


def read_part(value: bytes) -> TokenHistory | None:
    """One stored part; None when this version cannot read it."""
    try:
        return _decode(value)
    except records.UNREADABLE:
        return None
