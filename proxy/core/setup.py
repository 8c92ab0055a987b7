"""Which of the two set-ups a customer uses: a static token that was pasted, or an authorization code with refreshes. Pure.

The evidence is named line by line; a code-flow client without a refresh token gets the date on which it will stop.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence

import msgspec

from proxy.core.diagnosis.clients import client_of
from proxy.core.diagnosis.words import listed, span, utc
from proxy.core.memory import OauthEvent
from proxy.core.token import Known

_CODE = ("authorization_code", "refresh_token")


class Setup(enum.StrEnum):
    """The set-up of a connection. `machine`: the client fetches tokens with its own credentials."""

    STATIC = "static token"
    CODE = "authorization code"
    MACHINE = "client credentials"
    UNKNOWN = "not known"


class SetupFinding(msgspec.Struct, frozen=True):
    """The set-up, what shows it, and (epoch seconds) when a client that cannot renew will stop or has stopped."""

    setup: Setup
    evidence: tuple[str, ...] = ()
    stops_at: float | None = None


def setup_of(
    row: Known | None, events: Iterable[OauthEvent] | None, fingerprint: str = "", *, grant_exists: bool | None = None
) -> SetupFinding:
    """Tell the set-up of one token from its row and the calls that are known; without a fingerprint of the tenant whose calls
    these are, by the token issued last. `events` None: of calls nothing is known, so that nothing is said of them."""
    calls = sorted(events or (), key=lambda e: (e.at, repr(e)))
    name = fingerprint or next((e.created for e in reversed(calls) if e.created), "")
    mine = [e for e in calls if name and name in (e.created, e.presented)] or ([] if fingerprint else calls)
    born = next((e for e in mine if e.created and e.created == name), None)
    lines = tuple(_code_lines(row, mine, grant_exists=grant_exists))
    if lines:
        return SetupFinding(Setup.CODE, (*lines, *_stop_lines(row, born)), _stops_at(row, born))
    if born is not None and born.grant_type == "client_credentials":
        return SetupFinding(Setup.MACHINE, (f"Issued {utc(born.at)} by client_credentials.",))
    if row is not None and row.refreshable is False and not mine:
        life = "never expires" if row.expires_at is None else f"lives {span(row.expires_in)}"
        none = "" if events is None else "; no OAuth call for it passed through here"
        return SetupFinding(Setup.STATIC, (f"Its row has no refresh token and {life}{none}.",))
    return SetupFinding(Setup.UNKNOWN)


def _code_lines(row: Known | None, calls: Sequence[OauthEvent], *, grant_exists: bool | None) -> Iterable[str]:
    by_code = [e for e in calls if e.endpoint == "token" and e.grant_type in _CODE]
    for grant in _CODE:
        found = [e for e in by_code if e.grant_type == grant]
        if found:
            many = f"{len(found)} calls" if len(found) > 1 else "One call"
            last = ", the last at" if len(found) > 1 else " at"
            yield f"{many} of the token endpoint with grant_type {grant}{last} {utc(found[-1].at)}."
    if row is not None and row.refreshable:
        yield "A refresh token was issued with it."
    if grant_exists:
        yield "An authorization grant of the same application and owner exists."


def _unrenewable(row: Known | None, born: OauthEvent | None) -> bool:
    if born is not None and born.refresh_issued is not None:
        return not born.refresh_issued
    return row is not None and row.refreshable is False


def _stops_at(row: Known | None, born: OauthEvent | None) -> float | None:
    if not _unrenewable(row, born):
        return None
    if row is not None:
        return row.expires_at
    return born.at + born.expires_in if born is not None and born.expires_in is not None else None


def _stop_lines(row: Known | None, born: OauthEvent | None) -> Iterable[str]:
    at = _stops_at(row, born)
    if at is not None:
        yield f"No refresh token was issued: the client stops at {utc(at)}."


def exchanged(call: OauthEvent) -> str:
    """One sentence on a refused call of the token endpoint."""
    what = "The exchange of the authorization code" if call.grant_type == "authorization_code" else "A token"
    by = "" if call.grant_type == "authorization_code" else f" by {call.grant_type or 'an unnamed grant'}"
    return f"{what}{by} was refused at {utc(call.at)} to {_who(call)} ({call.error or f'status {call.status}'})."


def refused_exchanges(events: Iterable[OauthEvent]) -> tuple[str, ...]:
    """That the last exchange of a code was refused and no token was issued since; nothing where it was not so."""
    calls = sorted((e for e in events if e.endpoint == "token"), key=lambda e: (e.at, repr(e)))
    last = next((e for e in reversed(calls) if e.grant_type == "authorization_code" or e.created), None)
    if last is None or last.created or not 400 <= last.status < 500:
        return ()
    return (exchanged(last), "No token was issued to this tenant since, as far as calls passed through here.")


def story(events: Iterable[OauthEvent], fingerprint: str) -> tuple[str, ...]:
    """The life of one token in a few lines, oldest first: born, refreshed, refused, revoked."""
    calls = sorted((e for e in events if fingerprint and fingerprint in (e.created, e.presented)), key=lambda e: e.at)
    return tuple(_told(calls, fingerprint))


def _told(calls: Sequence[OauthEvent], fingerprint: str) -> Iterable[str]:
    for e in (e for e in calls if e.created == fingerprint):
        what = f"by {e.grant_type or 'an unnamed grant'} from {_who(e)}"
        rest = f", for {span(e.expires_in)}" if e.expires_in is not None else ", without an end"
        refresh = {True: " and with a refresh token", False: " and without a refresh token", None: ""}[e.refresh_issued]
        yield f"Born {utc(e.at)} {what}{rest}{refresh}."
        if e.lint:
            yield f"Wrong with that answer: {listed(e.lint)}."
    mine = [e for e in calls if e.presented == fingerprint]
    refreshes = [e for e in mine if e.endpoint == "token" and e.grant_type == "refresh_token"]
    granted = [e for e in refreshes if 200 <= e.status < 300]
    if granted:
        yield f"Refreshed {_times(len(granted))}, the last at {utc(granted[-1].at)} by {_who(granted[-1])}."
    for e in [e for e in refreshes if 400 <= e.status < 500][-5:]:
        yield f"Refresh refused {utc(e.at)} to {_who(e)}: {e.error or f'status {e.status}'}."
    for e in [e for e in mine if e.endpoint == "revoke"][-5:]:
        yield f"Revocation asked for {utc(e.at)} by {_who(e)}: {e.status}."


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _who(event: OauthEvent) -> str:
    name = client_of(event.user_agent).name if event.user_agent else "a client without a name"
    by = event.application or event.client
    return f"{name} ({by})" if by else name
