"""What can be said about requests that did not arrive. Pure.

Nothing is claimed that is not proven: between two good heartbeats that lie close together we listened; everywhere else we may
or may not have. Times in epoch seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """Equal heartbeats of one process, none further from the next than its writer allowed. `ok`: the listener was up and a
    request through the real socket was answered; else `why` says what was wrong. `requests` arrived since the span before."""

    instance: str
    start: float
    end: float
    beats: int
    requests: int
    ok: bool
    why: str = ""


class Gap(msgspec.Struct, frozen=True):
    """A stretch of time for which nothing is proven, and why. `instance` is empty when it holds for all."""

    start: float
    end: float
    why: str
    instance: str = ""


class Coverage(msgspec.Struct, frozen=True):
    """`share` (0 to 1) of the time was at least one process proven to listen; `gaps` is the rest of it. `partial`: one process
    was not proven while another was, so a balancer in front may have chosen the wrong one."""

    share: float
    gaps: tuple[Gap, ...]
    partial: tuple[Gap, ...] = ()


Interval = tuple[float, float]

NO_BEAT = "no heartbeat"
UNCOUNTED = "what one process counted last is not on record"
PURGED = "purged"

ENDED = "ended in order"
"""Why the last span of a process is not good: it ended, and what it counted was on record before."""
SET_BACK = "the clock was set back"
"""Why a span is not good that was written by a clock that was ahead: it tells nothing of its time."""


def coverage(spans: Iterable[Span], start: float, end: float, max_gap: float) -> Coverage:
    """Which share of the time from `start` to `end` is proven, and where the gaps are.

    Two good beats of one process at most `max_gap` seconds apart prove the time between them. A single beat proves no
    stretch of time at all. After the last beat of a process that did not end in order nobody proves anything for `max_gap`
    seconds: what that one served then is counted nowhere. ValueError when `end` is not after `start`.
    """
    if end <= start:
        raise ValueError("the end must come after the start")
    by_instance: dict[str, list[Span]] = {}
    for span in spans:
        if span.end + max_gap >= start and span.start - max_gap <= end:
            by_instance.setdefault(span.instance, []).append(span)
    lost = _union((last, last + max_gap) for last in _broken_off(by_instance.values()))
    by_instance = {instance: [span for span in own if not _is_end(span)] for instance, own in by_instance.items()}
    proven = {
        instance: _proven(sorted(own, key=lambda s: (s.start, not s.ok, s.end)), max_gap)
        for instance, own in by_instance.items()
    }
    listened = _clip(_union(interval for intervals in proven.values() for interval in intervals), start, end)
    union = [part for a, b in listened for part in _holes(_clip(lost, a, b), a, b)]
    gaps = tuple(
        Gap(a, b, _why(a, b, by_instance.values(), UNCOUNTED if _clip(listened, a, b) else NO_BEAT))
        for a, b in _holes(union, start, end)
    )
    covered = sum(b - a for a, b in union)
    return Coverage(covered / (end - start), gaps, _partial(by_instance, proven, gaps, start, end))


def forgotten(cover: Coverage, start: float, end: float, until: float) -> Coverage:
    """The same time, of which the part up to `until` proves nothing, because what was counted in it was purged."""
    left = (Gap(max(gap.start, until), gap.end, gap.why) for gap in cover.gaps if gap.end > until)
    gaps = (Gap(start, until, PURGED), *left)
    return Coverage(max(0.0, 1 - sum(gap.end - gap.start for gap in gaps) / (end - start)), gaps, cover.partial)


def _is_end(span: Span) -> bool:
    return not span.ok and span.why == ENDED


def _broken_off(everyone: Iterable[Sequence[Span]]) -> Iterable[float]:
    """The last sign of each process that did not end in order."""
    for own in everyone:
        last = max((span for span in own if span.why != SET_BACK), key=lambda s: (s.end, _is_end(s)), default=None)
        if last is not None and not _is_end(last):
            yield last.end


def _proven(spans: Sequence[Span], max_gap: float) -> list[Interval]:
    """The proven stretches of one process. A bad beat between two good ones parts them."""
    found: list[Interval] = []
    joins = False
    for span in spans:
        if not span.ok:
            joins = False
        elif joins and span.start - found[-1][1] <= max_gap:
            found[-1] = (found[-1][0], max(found[-1][1], span.end))
        else:
            found.append((span.start, span.end))
            joins = True
    return found


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    found: list[Interval] = []
    for a, b in sorted(intervals):
        if found and a <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], b))
        else:
            found.append((a, b))
    return found


def _clip(intervals: Iterable[Interval], start: float, end: float) -> list[Interval]:
    return [(max(a, start), min(b, end)) for a, b in intervals if b > start and a < end and b > a]


def _holes(intervals: Iterable[Interval], start: float, end: float) -> list[Interval]:
    found, place = [], start
    for a, b in intervals:
        if a > place:
            found.append((place, a))
        place = b
    return [*found, (place, end)] if place < end else found


def _why(start: float, end: float, everyone: Iterable[Sequence[Span]], otherwise: str = NO_BEAT) -> str:
    words = {span.why or "self-probe failed" for own in everyone for span in own if not span.ok and _meet(span, start, end)}
    return ", ".join(sorted(words)) or otherwise


def _meet(span: Span, start: float, end: float) -> bool:
    return span.start <= end and span.end >= start


def _partial(
    by_instance: dict[str, list[Span]], proven: dict[str, list[Interval]], whole: Sequence[Gap], start: float, end: float
) -> tuple[Gap, ...]:
    """Gaps of one process between its own first and last beat that are not gaps of all."""
    found = []
    for instance, own in sorted((name, own) for name, own in by_instance.items() if own):
        first, last = max(start, min(s.start for s in own)), min(end, max(s.end for s in own))
        if last <= first:
            continue
        for a, b in _holes(_clip(proven[instance], first, last), first, last):
            if not any(gap.start <= a and b <= gap.end for gap in whole):
                found.append(Gap(a, b, _why(a, b, [own]), instance))
    return tuple(found)


class Traffic(msgspec.Struct, frozen=True):
    """Requests, how many of them were served, how many were answered 401 or 403."""

    requests: int = 0
    good: int = 0
    refused: int = 0


class LastRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last request of a tenant before a time, and its answer. With `status` 0 the answer is not on record any more and
    `at` is the beginning of its minute. `fingerprint` names the token that it carried."""

    at: float
    status: int
    answered_by: str
    operation: str = ""
    reason: str = ""
    incident: str = ""
    agent: str = ""
    fingerprint: str = ""


class Renamed(msgspec.Struct, frozen=True):
    """The tenant as which the token of the last request was used later, and what came as that tenant in the time asked for."""

    tenant: str
    arrived: Traffic


class Absence(msgspec.Struct, frozen=True):
    """The answer to "did anything arrive?". `code`: arrived, absent_proven, absent_partly, absent_unproven. `renamed`: the
    customer goes on under another name."""

    tenant: str
    start: float
    end: float
    arrived: Traffic
    others: Traffic
    unattributed: Traffic
    coverage: Coverage
    last_before: LastRequest | None
    code: str
    sentences: tuple[str, ...]
    renamed: Renamed | None = None


def conclude(
    tenant: str,
    start: float,
    end: float,
    *,
    arrived: Traffic,
    others: Traffic,
    unattributed: Traffic,
    cover: Coverage,
    last_before: LastRequest | None,
    renamed: Renamed | None = None,
) -> Absence:
    """Say in words what follows, and no more than that. `unattributed`: requests whose token belongs to nobody we know, or
    that had none; they may have been this tenant's, and are not part of `others`."""
    code = _code(arrived, cover)
    sentences = [_arrival(tenant, arrived), _proof(cover), _company(others)]
    if unattributed.requests:
        sentences.append(
            f"{unattributed.requests} requests carried no token that belongs to a known tenant; any of them may be its."
        )
    if not arrived.requests:
        sentences.append(_last(last_before))
    if renamed is not None:
        sentences.append(_went_on(renamed))
    goes_on = renamed is not None and renamed.arrived.requests
    sentences.append("So it goes on under that name." if goes_on else _meaning(code, others, unattributed))
    return Absence(tenant, start, end, arrived, others, unattributed, cover, last_before, code, tuple(sentences), renamed)


def _code(arrived: Traffic, cover: Coverage) -> str:
    if arrived.requests:
        return "arrived"
    if not cover.gaps:
        return "absent_proven"
    return "absent_partly" if cover.share > 0 else "absent_unproven"


def _arrival(tenant: str, arrived: Traffic) -> str:
    if not arrived.requests:
        return f"No request of {tenant} is on record in this time."
    return f"{arrived.requests} requests of {tenant} arrived: {arrived.good} served, {arrived.refused} refused."


def _proof(cover: Coverage) -> str:
    if not cover.gaps:
        return "For all of it heartbeats prove that the listener was up and answered."
    # rounded down: 99.99 % must not read as all of it
    percent = int(cover.share * 1000) / 10
    named = ", ".join(f"{_clock(gap.start)} to {_clock(gap.end)} ({gap.why})" for gap in cover.gaps[:5])
    more = f" and {len(cover.gaps) - 5} more" if len(cover.gaps) > 5 else ""
    return f"For {percent:g} % of it heartbeats prove that the listener was up and answered; not proven: {named}{more}."


def _company(others: Traffic) -> str:
    if not others.requests:
        return "No other tenant sent anything either."
    return f"Other tenants sent {others.requests} requests in the same time, of which {others.good} were served."


def _last(last: LastRequest | None) -> str:
    if last is None:
        return "No earlier request of this tenant is on record."
    if not last.status:
        return f"Its last request before came in the minute from {_clock(last.at)}; the answer is not on record."
    reason = f", {last.reason}" if last.reason else ""
    incident = f" (incident {last.incident})" if last.incident else ""
    answer = f"{last.status} by {last.answered_by}{reason}{incident}"
    return f"Its last request before came at {_clock(last.at)} and was answered {answer}."


def _went_on(renamed: Renamed) -> str:
    came = renamed.arrived
    counted = f"{came.requests} requests of that one arrived: {came.good} served, {came.refused} refused"
    return (
        f"The token of that request was used later as tenant {renamed.tenant}; in this time "
        f"{counted if came.requests else 'no request of that one arrived either'}."
    )


def _meaning(code: str, others: Traffic, unattributed: Traffic) -> str:
    if code == "arrived":
        return "So its requests do reach us in this time."
    if code == "absent_unproven":
        return "So nothing can be concluded: it is not proven that we listened."
    if code == "absent_partly":
        return (
            "So within the proven time nothing that can be told to be its reached us; what happened in the gaps is not known."
        )
    if unattributed.requests:
        return "So it sent nothing, or it was stopped before it reached us, or it came with a token that is not known as its."
    if others.requests:
        return "So it sent nothing, or what it sent was stopped before it reached us."
    return "So nothing reached us; as nobody else did either, the way to us from outside may have been broken."


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
