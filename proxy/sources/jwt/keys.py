"""The issuer's public keys (RFC 7517): fetched, kept, rotated, and used on for a grace while the issuer is away.

A key id that is not among them is asked for once, at a bounded rate: after a rotation the first token shows it, and guesses
cannot make us a flood at the issuer. What could not be looked up for that reason is no refusal: Trouble("overload").
"""

from __future__ import annotations

import asyncio
import collections
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from proxy.sources.bucket import Bucket
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.endpoint import Endpoint, EndpointOptions
from proxy.sources.jwt.verify import Key
from proxy.tasks import Tasks

KEYS_LIMIT: Final = 100
"""Keys of one set that are taken: real ones have up to a dozen."""

RSA_BITS: Final = 2_048
"""RSA keys below are not taken (RFC 7518 section 3.3)."""

ABSENT_LIMIT: Final = 1_000
"""Key ids remembered as absent from the set that was fetched after they came up."""

SURPRISES: Final = 5.0
"""Fetches outside the rhythm that may come at once; then one every `surprise_every` seconds."""

RETRY: Final = 5.0
"""Seconds after a fetch that failed until the next."""

_KINDS: Final[dict[str, type[RSAKey | ECKey | OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}


class KeysOptions(msgspec.Struct, frozen=True):
    """Durations in seconds. `grace`: how long keys serve after the last fetch that went well. A key that the issuer withdrew is
    gone after `refresh_every` at the latest."""

    endpoint: EndpointOptions
    refresh_every: float = 300.0
    grace: float = 86_400.0
    surprise_every: float = 10.0


class KeySet:
    """The keys as last fetched. `find` and `again` raise Trouble while nothing can be said."""

    def __init__(
        self,
        options: KeysOptions,
        tasks: Tasks,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options = options
        self._tasks = tasks
        self._monotonic = monotonic
        self._sleep = sleep
        self._endpoint = Endpoint(options.endpoint, monotonic)
        self.breaker = self._endpoint.breaker
        self._surprises = Bucket(1 / options.surprise_every, SURPRISES, monotonic)
        self._keys: tuple[Key, ...] = ()
        self._thumbprints: frozenset[str] = frozenset()
        self._absent: collections.OrderedDict[str, float] = collections.OrderedDict()
        self._fetched: float | None = None
        self._clock: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._trouble = Trouble("starting", "the key set was not fetched yet")

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that serve now. Trouble when there are none, or none younger than the grace."""
        if self._fetched is None or self._monotonic() - self._fetched > self._options.grace:
            raise Trouble(self._trouble.why or "error", self._trouble.detail or "the key set is older than its grace")
        return self._keys

    async def ready(self) -> tuple[Key, ...]:
        """Return the keys that serve now, fetched if they never were. Trouble as for `keys`."""
        if self._fetched is None:
            await self.fetch()
        return self.keys

    async def find(self, kid: str | None) -> tuple[Key, ...]:
        """Return the keys of an id, or all when a token names none. Empty when the issuer has no such key."""
        _ = await self.ready()
        found = self._of(kid)
        if found or (kid is not None and self._is_absent(kid)):
            return found
        if not self._surprises.take():
            raise Trouble("overload", "an unknown key id, and the key set was asked for too often just now")
        await self.fetch()
        found = self._of(kid)
        if not found and kid is not None:
            self._remember_absent(kid)
        return found

    async def again(self) -> bool:
        """Fetch the set once more because a signature does not fit; whether it has changed. Trouble when that cannot be now and
        the set is older than `surprise_every`: a key may have taken another's place since."""
        before = self._thumbprints
        trouble = Trouble("overload", "a signature that does not fit, and the key set was asked for too often just now")
        if self._surprises.take():
            try:
                await self.fetch()
            except Trouble as met:
                trouble = met
            else:
                return self._thumbprints != before
        if self._fetched is None or self._monotonic() - self._fetched > self._options.surprise_every:
            raise trouble
        return False

    def time(self) -> float | None:
        """The issuer's clock now (epoch seconds), as the last answer of its key set's place told it; None if it did not."""
        return None if self._clock is None else self._clock + self._monotonic()

    def has(self, thumbprint: str) -> bool:
        """Whether a key is still in the set. Trouble as for `keys`."""
        return bool(self.keys) and thumbprint in self._thumbprints

    async def fetch(self) -> None:
        """Fetch the set now, once for all who wait. Trouble when that fails; the keys at hand stay."""
        if self._fetching is None or self._fetching.done():
            self._fetching = self._tasks.start(self._fetch(), "key set")
        fetching = self._fetching
        await asyncio.shield(fetching)
        if self._trouble.why:
            raise Trouble(self._trouble.why, self._trouble.detail)

    async def run(self) -> None:
        """Fetch the set in its rhythm, for ever: for Tasks.keep."""
        try:
            while True:
                try:
                    await self.fetch()
                    pause = self._options.refresh_every
                except Trouble:
                    pause = min(RETRY, self._options.refresh_every)
                await self._sleep(pause)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self._endpoint.close()

    async def _fetch(self) -> None:
        try:
            answer = await self._endpoint.call({})
            if answer.status != 200:
                raise Trouble("error", f"the key set's place answered {answer.status}")  # noqa: TRY301 - one way out
            keys = keys_of(answer.body)
        except Trouble as trouble:
            self._trouble = trouble
            return
        self._keys, self._fetched, self._trouble = keys, self._monotonic(), Trouble("")
        self._clock = None if answer.date is None else answer.date - self._monotonic()
        self._thumbprints = frozenset(key.thumbprint() for key in keys)

    def _of(self, kid: str | None) -> tuple[Key, ...]:
        keys = self.keys
        return keys if kid is None else tuple(key for key in keys if key.kid == kid)

    def _is_absent(self, kid: str) -> bool:
        """Whether it was looked for within `surprise_every`."""
        looked = self._absent.get(kid)
        return looked is not None and self._monotonic() - looked <= self._options.surprise_every

    def _remember_absent(self, kid: str) -> None:
        self._absent[kid] = self._monotonic()
        self._absent.move_to_end(kid)
        while len(self._absent) > ABSENT_LIMIT:
            self._absent.popitem(last=False)


def keys_of(body: bytes) -> tuple[Key, ...]:
    """Read a key set; keys that are not for signatures, not public or not strong enough are passed by. Trouble when there is
    none at all left: an empty set would refuse everybody."""
    try:
        found = json.loads(body)
        entries = found["keys"][:KEYS_LIMIT]
        keys = [key for entry in entries if (key := _key(entry)) is not None]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Trouble("error", "the key set is no JSON object with a list `keys` (RFC 7517 section 5)") from None
    if not keys:
        raise Trouble("error", "the key set holds no key for signatures that could be used")
    return tuple(keys)


def _key(entry: Any) -> Key | None:
    if not isinstance(entry, dict):
        return None
    kind = _KINDS.get(str(entry.get("kty")))
    if kind is None or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    if kind is RSAKey and _bits(str(entry.get("n", ""))) < RSA_BITS:
        return None
    members = {name: value for name, value in entry.items() if name in ("kty", "kid", "alg", "n", "e", "crv", "x", "y")}
    try:
        return kind.import_key(members)
    except (JoseError, ValueError, TypeError):
        return None


def _bits(modulus: str) -> int:
    return len(modulus.rstrip("=")) * 6
