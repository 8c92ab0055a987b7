"""Nothing arrives: `went_silent` (the cadence broke) and `never_arrived` (a reported failure that never got here).

Only what is proven is claimed: a gap in the heartbeats is a gap, and silence of everybody is no matter of one tenant.
"""

from __future__ import annotations

from typing import Final

from proxy.core.diagnosis.cause import Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import Absence, Activity
from proxy.core.diagnosis.oauth import exchange_lines
from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.words import span, utc
from proxy.core.silence import allowed, profile_of

PROVEN: Final = 0.99
"""Share of the time for which the listener must be proven up: heartbeats come every few seconds, and restarts take seconds."""
ZONES: Final = 15 * 3_600.0
"""Seconds by which a time can be misread for one of another time zone (UTC-12 to UTC+14), and some for the clock."""
LEARNED: Final = 7 * 86_400.0
"""Seconds of past without which no weekend has been seen."""


def _listening(scene: Scene) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
    """Whether it is proven that we listened and others got through; what is for it, and what is missing."""
    coverage, absence = scene.evidence.coverage, scene.evidence.absence
    up = coverage is not None and coverage.proven >= PROVEN
    others = absence.others if absence else None
    strangers = (absence.unattributed or 0) if absence else 0
    lines = (
        *((f"The listener is proven up for {coverage.proven:.1%} of the time.",) if coverage else ()),
        *((f"{others} requests of other tenants arrived.",) if others else ()),
    )
    missing = (
        *(() if up else ("heartbeats without gaps over that time",)),
        *(() if others else ("traffic of other tenants in that time",)),
        *((f"whose the {strangers} requests without a known token were",) if strangers else ()),
    )
    return up and bool(others) and not strangers, lines, missing


def examine_silent(scene: Scene) -> Found | None:
    """A tenant with a known cadence has paused far longer than ever."""
    activity, absence = scene.evidence.activity, scene.evidence.absence
    if scene.incident is not None or absence is None or absence.reported_at is not None or absence.requests:
        return None
    if activity is None or activity.last_at is None or activity.usual_gap is None:
        return None
    pause, ordinary = absence.end - activity.last_at, _ordinary(activity)
    if ordinary is None or pause <= ordinary:
        return None
    sure, lines, missing = _listening(scene)
    short = not activity.given and activity.learned_over is not None and activity.learned_over < LEARNED
    refused = activity.last_status in (401, 403)
    renamed = _renamed(absence)
    last = f"{activity.last_status or 'in an unknown way'}{' ' + activity.last_reason if activity.last_reason else ''}"
    since = f"the {activity.last_status} at {utc(activity.last_at)}" if refused else utc(activity.last_at)
    clear = f"Clear incident {activity.last_incident or '(not recorded)'} first, then have the failed job resubmitted"
    return Found(
        Confidence.LIKELY if sure and not short and not renamed else Confidence.POSSIBLE,
        f"Nothing has arrived for {span(pause)} (usually at most {span(activity.usual_gap)}), since {since}.",
        evidence_for=(f"The last request was answered {last} at {utc(activity.last_at)}.", *lines, *exchange_lines(scene)),
        evidence_against=renamed,
        missing=(
            *missing,
            *(("a week of its past, with a weekend in it",) if short else ()),
            *((f"the same of tenant {absence.renamed}, its other name",) if renamed else ()),
        ),
        words={
            "pause": span(pause),
            "usual": span(activity.usual_gap),
            "last": utc(activity.last_at),
            "hint": clear if refused else "That was answered well: ask whether provisioning was switched off",
        },
        times={"last_at": activity.last_at},
        findings=("exchange_refused",) if exchange_lines(scene) else (),
    )


def _renamed(absence: Absence) -> tuple[str, ...]:
    """The customer may go on under another name, as which its token was used."""
    if not absence.renamed:
        return ()
    came = f"{absence.as_renamed} requests of that one came in this time"
    return (f"The token of its last request was used later as tenant {absence.renamed}: {came}.",)


def _ordinary(activity: Activity) -> float | None:
    """The pause up to which nothing is wrong, by the same rule as the alarm (core/silence.py)."""
    return allowed(
        profile_of(activity.client or None, activity.last_user_agent),
        activity.usual_gap,
        activity.samples,
        refused=activity.last_status in (401, 403),
        expected_every=activity.usual_gap if activity.given else None,
    )


def _refused_before(activity: Activity | None, reported: float) -> tuple[str, ...]:
    """A refusal so shortly before that the customer may speak of it, by another clock or time zone."""
    if activity is None or activity.last_at is None or activity.last_status not in (401, 403):
        return ()
    if not 0 <= reported - activity.last_at <= ZONES:
        return ()
    return (f"Its request at {utc(activity.last_at)} was answered {activity.last_status}: the customer may speak of that one.",)


def examine_never_arrived(scene: Scene) -> Found | None:
    """The customer saw a failure at a time at which nothing came here, and we were listening."""
    absence, coverage = scene.evidence.absence, scene.evidence.coverage
    if scene.incident is not None or absence is None or absence.reported_at is None or absence.requests != 0:
        return None
    if not absence.start <= absence.reported_at <= absence.end:
        return None
    sure, lines, missing = _listening(scene)
    refused = _refused_before(scene.evidence.activity, absence.reported_at)
    renamed = _renamed(absence) if absence.as_renamed else ()
    gap = next((g for g in (coverage.gaps if coverage else ()) if g[0] <= absence.reported_at <= g[1]), None)
    return Found(
        Confidence.LIKELY if sure and gap is None and not refused and not renamed else Confidence.POSSIBLE,
        f"No request of this tenant arrived between {utc(absence.start)} and {utc(absence.end)}.",
        evidence_for=(f"The customer reports a failure at {utc(absence.reported_at)}.", *lines, *exchange_lines(scene)),
        evidence_against=(
            *((f"For {utc(gap[0])} to {utc(gap[1])} it is not proven that we listened.",) if gap else ()),
            *refused,
            *renamed,
        ),
        missing=(*missing, *((f"the same of tenant {absence.renamed}, its other name",) if renamed else ())),
        words={"start": utc(absence.start), "end": utc(absence.end), "reported": utc(absence.reported_at)},
        times={"reported_at": absence.reported_at},
        findings=("exchange_refused",) if exchange_lines(scene) else (),
    )


SILENT: Final = Rule(
    Code.WENT_SILENT,
    "The client has stopped sending, against its own habit.",
    "The pause is longer than the tenant's past, its kind of client and the last answer allow (docs/silence.md: a quiet day of "
    "Entra is ordinary, two hours after a refusal are not), the listener is proven up, and others' requests arrived. Where the "
    "token of the last request was used later as another tenant, the customer was renamed, and that is said.",
    "0 requests for {pause} (usually at most {usual}), the last at {last}. {hint}.",
    "Since {last} we have received no provisioning request from {client}. Please check whether provisioning is paused or has "
    "failed tasks. {steps}",
    examine_silent,
)

NEVER_ARRIVED: Final = Rule(
    Code.NEVER_ARRIVED,
    "The customer reports a failure, and nothing came here.",
    "No exchange of the tenant in that time, under this name or the one as which its token was used later, heartbeats without "
    "gaps, and others' traffic arrived.",
    "It was answered before us: WAF, CDN, TLS, DNS or an address filter. Look into their logs at {reported}.",
    "Between {start} and {end} no request from {client} reached our servers, while others' did. Please send us the exact "
    "address (base URL) that is set up, the time of a failure and the text of the error, and check proxies and firewalls on "
    "the way.",
    examine_never_arrived,
)
