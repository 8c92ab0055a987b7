"""Folds repeats into the incident that they repeat, so that a flood cannot drown evidence. Pure but for its own memory.

The first refusal of a token for a reason is an incident in full. Its repeats within a window are counted, and the client is
given the id of the incident that they repeat. Unknown tokens beyond a rate from one network fold into one incident for that
network. Tokens that a source or the history knows never fold with others: a customer's incident in a flood is whole.

Counts are written as the note `repeats` (the latest replaces the one before). kill -9 loses at most the counts since the last
flush, never an incident.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

import msgspec

from proxy.core.incident import Admission, Note, new_id

WINDOW: Final = 300.0
"""Seconds from the first refusal in which repeats fold: after it the state is put on record anew."""
OPEN_LIMIT: Final = 50_000
"""Foldings open at once, about 600 bytes each; beyond it the oldest is closed, and its next repeat is an incident again."""
FLOOD_TOKENS: Final = 2_000
FLOOD_SECONDS: Final = 60.0
"""So many different unknown tokens of one network (/24 or /48) in so many seconds are told apart: far more than a customer
mistypes, far less than a guesser tries."""
FLOOD_TOKENS_ALL: Final = 20_000
"""The same for all networks together: guesses from many networks fold into one incident for all."""
FLOOD_CALM: Final = 600.0
"""Seconds without exceeding the rate after which a flood is over: one that comes in waves is one flood."""
FLOOD_TOKENS_DAY: Final = 50_000
"""Unknown tokens told apart in a day, whatever their rate: 100 MB in the store, so that a patient guesser is bounded too."""
NETWORKS_LIMIT: Final = 10_000
"""Networks whose rate is watched; the least recently seen goes first."""
SAMPLES: Final = 5
"""Request ids kept of a folding: the first ones, and as many of the latest."""
FLUSH_EVERY: Final = 5.0
FLUSH_LIMIT: Final = 1_000
"""Counts are written every 5 seconds, at most 1,000 at a time (about 0.4 MB), those first that wait the longest."""
EVERYWHERE: Final = "*"
"""Stands for all networks together."""

REPEATS: Final = "repeats"
"""Name of the note that counts."""


class Repeats(msgspec.Struct, frozen=True):
    """The text of a `repeats` note (JSON). Times in epoch seconds; `count` includes the first."""

    count: int
    first: float
    last: float
    samples: tuple[str, ...]
    group: str = ""


class _Folding:
    __slots__ = ("changed", "count", "first", "first_ids", "group", "incident_id", "last", "last_ids")

    def __init__(self, incident_id: str, at: float, request_id: str, group: str) -> None:
        self.incident_id = incident_id
        self.first = self.last = at
        self.count = 1
        self.first_ids = [request_id]
        self.last_ids: deque[str] = deque(maxlen=SAMPLES)
        self.group = group
        self.changed = False

    def repeat(self, at: float, request_id: str) -> None:
        self.count += 1
        self.last = at
        if len(self.first_ids) < SAMPLES:
            self.first_ids.append(request_id)
        else:
            self.last_ids.append(request_id)

    def note(self, now: float) -> Note:
        samples = (*self.first_ids, *self.last_ids)
        text = msgspec.json.encode(Repeats(self.count, self.first, self.last, samples, self.group)).decode()
        return Note(self.incident_id, REPEATS, now, text=text)


class _Rate:
    """Counts distinct unknown tokens in periods of `seconds`. Over the limit it stays over until it was calm for a while."""

    __slots__ = ("_began", "_calm", "_limit", "_over_until", "_seconds", "_tokens")

    def __init__(self, limit: int, seconds: float = FLOOD_SECONDS, calm: float = FLOOD_CALM) -> None:
        self._limit = limit
        self._seconds = seconds
        self._calm = calm
        self._began = -seconds
        self._tokens = 0
        self._over_until = float("-inf")

    def exceeded(self, now: float) -> bool:
        """Count one more and tell whether it is too many."""
        if not 0 <= now - self._began < self._seconds:
            self._began, self._tokens = now, 0
        self._tokens += 1
        if self._tokens > self._limit:
            self._over_until = now + self._calm
            return True
        return now < self._over_until


class Folder:
    """Decides whether a refusal is an incident of its own."""

    def __init__(
        self,
        window: float = WINDOW,
        open_limit: int = OPEN_LIMIT,
        flood_tokens: int = FLOOD_TOKENS,
        flood_tokens_all: int = FLOOD_TOKENS_ALL,
        flood_tokens_day: int = FLOOD_TOKENS_DAY,
    ) -> None:
        self._window = window
        self._open_limit = open_limit
        self._flood_tokens = flood_tokens
        self._open: OrderedDict[tuple[str, ...], _Folding] = OrderedDict()
        self._changed: OrderedDict[str, _Folding] = OrderedDict()
        self._rates: OrderedDict[str, _Rate] = OrderedDict()
        self._rate_all = _Rate(flood_tokens_all)
        self._rate_day = _Rate(flood_tokens_day, seconds=86_400.0, calm=0.0)
        self.folded = 0
        self.counts_lost = 0

    def __len__(self) -> int:
        return len(self._open)

    def admit(
        self,
        *,
        fingerprint: str,
        reason: str,
        answered_by: str,
        network: str,
        tenant: str,
        known: bool,
        request_id: str,
        now: float,
    ) -> Admission:
        """Say under which incident this refusal goes. When `fresh`, the caller records it under that id, or withdraws it.

        `known`: a source has the token, or the history has seen it good. `network` is the client's /24 or /48. Without a
        fingerprint (nothing usable was presented) the network stands for it.
        """
        key = (fingerprint or network, reason, answered_by, tenant)
        folding = self._current(key, now)
        if folding is not None:
            return self._repeat(folding, now, request_id)
        group = "" if known else self._flood(network, now)
        if group:
            key = (group, "", "", "")
            folding = self._current(key, now)
            if folding is not None:
                return self._repeat(folding, now, request_id)
        return self._begin(key, now, tenant, request_id, group)

    def withdraw(self, admission: Admission) -> None:
        """The incident could not be recorded: forget it, so that nothing folds into it."""
        for key, folding in reversed(self._open.items()):
            if folding.incident_id == admission.incident_id:
                del self._open[key]
                self._changed.pop(admission.incident_id, None)
                return

    def notes(self, now: float, limit: int = FLUSH_LIMIT) -> list[Note]:
        """The counts to be written now, and no longer waiting."""
        found: list[Note] = []
        while self._changed and len(found) < limit:
            _, folding = self._changed.popitem(last=False)
            folding.changed = False
            found.append(folding.note(now))
        return found

    def put_back(self, notes: list[Note]) -> None:
        """These could not be written: they wait again, unless their folding is closed."""
        wanted = {note.incident for note in notes}
        for folding in self._open.values():
            if folding.incident_id in wanted:
                self._mark(folding)

    def _current(self, key: tuple[str, ...], now: float) -> _Folding | None:
        folding = self._open.get(key)
        if folding is not None and not -self._window <= now - folding.first < self._window:
            del self._open[key]
            return None
        return folding

    def _repeat(self, folding: _Folding, now: float, request_id: str) -> Admission:
        folding.repeat(now, request_id)
        self.folded += 1
        self._mark(folding)
        return Admission(folding.incident_id, fresh=False, group=folding.group)

    def _begin(self, key: tuple[str, ...], now: float, tenant: str, request_id: str, group: str) -> Admission:
        folding = _Folding(new_id(now, tenant), now, request_id, group)
        if len(self._open) >= self._open_limit:
            self._open.popitem(last=False)  # what was counted of it waits in _changed
        self._open[key] = folding
        return Admission(folding.incident_id, fresh=True, group=group)

    def _mark(self, folding: _Folding) -> None:
        if not folding.changed:
            folding.changed = True
            self._changed[folding.incident_id] = folding
            if len(self._changed) > self._open_limit:
                self._changed.popitem(last=False)[1].changed = False
                self.counts_lost += 1

    def _flood(self, network: str, now: float) -> str:
        """The group that an unknown token belongs to, empty while there is no flood."""
        rate = self._rates.get(network)
        if rate is None:
            if len(self._rates) >= NETWORKS_LIMIT:
                self._rates.popitem(last=False)
            rate = self._rates[network] = _Rate(self._flood_tokens)
        self._rates.move_to_end(network)
        if rate.exceeded(now):
            return network or EVERYWHERE
        if self._rate_all.exceeded(now):
            return EVERYWHERE
        return (network or EVERYWHERE) if self._rate_day.exceeded(now) else ""
