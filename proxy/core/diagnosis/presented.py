"""What the client presented: `token_mangled`, `wrong_secret_kind`, `header_missing`. Seen in its form, never in its bytes."""

from __future__ import annotations

from typing import Final

from proxy.core.credential import Why
from proxy.core.diagnosis.cause import Advice, Code, Confidence, Found, Rule
from proxy.core.diagnosis.evidence import ClientMemory
from proxy.core.diagnosis.gone import ONE_CASE, unsearchable, was_known
from proxy.core.diagnosis.scene import Scene
from proxy.core.diagnosis.told import why_not
from proxy.core.diagnosis.words import listed, utc
from proxy.core.scim import TOKEN_NAMES
from proxy.core.token import NearMiss
from proxy.core.verdict import Reason

SEVERAL: Final = "several"
REPAIRS: Final = {
    "scheme_doubled": ("the word Bearer stands there twice", "remove the word Bearer from the token field"),
    "scheme_missing": ("the word Bearer is missing", "write the word Bearer and one space before the token"),
    "scheme_other": (
        "another word stands in the place of Bearer",
        "choose bearer token (HTTP header) as the way to authenticate",
    ),
    "quoted": ("the token stands in quotes", "paste the token without quotes"),
    "whitespace": ("white space was pasted with the token", "paste the token without spaces and line ends"),
    "characters": ("characters stand in it that no token has", "copy the token again and paste it as plain text"),
    "percent_encoded": ("the token is percent-encoded", "paste the token as it was given, without URL encoding"),
    "base64_encoded": ("the token is Base64-encoded", "paste the token as it was given, without encoding it"),
    "alphabet_changed": ("the characters - and _ were changed to + and /", "copy the token again and paste it as plain text"),
    "case_changed": ("capital and small letters were changed", "copy and paste the token, do not type it"),
    "truncated": ("a part of the token is missing at one end", "copy the whole token"),
    "extended": ("something was pasted together with the token", "paste the token alone"),
    "too_long": ("what was presented is longer than any token", "paste the token alone"),
    "empty": ("nothing follows the word Bearer", "enter the token"),
    SEVERAL: ("the request carries more than one Authorization header", "remove the second Authorization header"),
}
"""What was done to a token -> what is wrong with it, and how to put it right. Keys: NearMiss.change and Why."""
CERTAIN_FORM: Final = {Why.SCHEME_DOUBLED, Why.SCHEME_MISSING, Why.QUOTED, Why.WHITESPACE, Why.CHARACTERS}
"""Forms that can only come from damage on the way of a token. Another scheme may be meant (Basic): not among them."""
CHALLENGE: Final = 5.0
"""Seconds within which a client that waits for a 401 before it shows its credential has shown it."""
KINDS: Final = {
    "refresh_token": "a refresh token",
    "application_secret": "a client secret",
    "grant": "an authorization code",
    "digest": "the stored digest of a token",
}


def examine_mangled(scene: Scene) -> Found | None:
    """A repaired variant is a known token, or the form itself shows the damage."""
    malformed, _, why = scene.credential.partition(":")
    if malformed not in ("malformed", SEVERAL) and (not scene.gone or was_known(scene)):
        return None
    matches = [m for m in scene.near_misses if m.column == "token" and (m.change != "none" or malformed == "malformed")]
    if matches:
        return _matched(scene, matches, why)
    if why == Why.SCHEME_MISSING and was_known(scene):
        return _bare(scene)
    if malformed == SEVERAL:
        return _by_form(scene, SEVERAL, Confidence.LIKELY)
    if malformed == "malformed" and why != Why.EMPTY:
        # looked for and not found: putting the form right would not help
        likely = why in CERTAIN_FORM and not scene.searched
        return _by_form(scene, why, Confidence.LIKELY if likely else Confidence.POSSIBLE)
    return _among_digests(scene) if unsearchable(scene) else None


def _among_digests(scene: Scene) -> Found:
    return Found(
        Confidence.POSSIBLE,
        "The token may be a known one in a damaged form.",
        evidence_for=(
            f"It has {scene.credential_length} characters."
            if ONE_CASE not in scene.flags
            else "All its letters are of one case.",
        ),
        missing=("the stored tokens themselves: a token that was cut or respelled cannot be found among digests",),
        words={
            "wrong": "it is incomplete or its letters were changed",
            "repair": "copy the whole token and paste it",
            "whose": "",
        },
    )


def _matched(scene: Scene, matches: list[NearMiss], why: str) -> Found:
    match = matches[0]
    several = list({str(m.row): m for m in reversed(matches) if m.change == match.change}.values())[::-1]
    tenants = sorted({m.tenant for m in several if m.tenant})
    addressed = scene.evidence.addressed_tenant
    elsewhere = bool(addressed) and bool(tenants) and addressed not in tenants
    change = match.change if match.change != "none" else why
    wrong, repair = REPAIRS.get(change, (change, "copy and paste the token again"))
    return Found(
        Confidence.CERTAIN if len(several) == 1 else Confidence.LIKELY,
        f"The client sends a known token in a damaged form: {wrong}.",
        evidence_for=(
            *(
                f"With that undone ({change}) it is {'' if len(several) == 1 else 'perhaps '}the token {_named(m)}."
                for m in several
            ),
        ),
        missing=(
            *(() if len(several) == 1 else ("which of them was meant",)),
            *(("whether that token is alive: scim-witness token with its fingerprint",) if match.over is None else ()),
            *((f"whether {addressed}, whose address was called, is {listed(tenants)}",) if elsewhere else ()),
        ),
        words={"wrong": wrong, "repair": repair, "over": match.over or ""},
        instead=OVER_TOO if len(several) == 1 and match.over else None,
    )


def _named(match: NearMiss) -> str:
    whose = f", of tenant {match.tenant}" if match.tenant else ""
    state = "" if match.over is None else f", {match.over or 'alive'}"
    return f"with fingerprint {match.fingerprint}, row {match.row}{whose}{state}"


OVER_TOO: Final = Advice(
    operator="{client} sends it damaged: {wrong}. Repairing that is not enough: the token is {over} as well. Issue a new one; "
    "when it is entered: {repair}. {bearer}",
    customer="{client} sends the access token in a damaged form: {wrong}. It is {over} as well, so that we will give you a new "
    "one. When you enter it, please {repair}. {bearer} {steps}",
)
"""In place of the advice to repair what has ended."""


def _bare(scene: Scene) -> Found:
    """The whole field is a token that was known here: nothing but the word Bearer is missing."""
    wrong, repair = REPAIRS[Why.SCHEME_MISSING]
    return Found(
        Confidence.LIKELY,
        f"The client sends a known token in a damaged form: {wrong}.",
        evidence_for=(f"As it stands it is the token with fingerprint {scene.fingerprint}, which is known here.",),
        words={"wrong": wrong, "repair": repair},
    )


def _by_form(scene: Scene, why: str, confidence: Confidence) -> Found:
    wrong, repair = REPAIRS.get(why, (why, "copy and paste the token again"))
    return Found(
        confidence,
        f"What the client sends is not of the form Bearer, one space, token: {wrong}.",
        evidence_for=(f"The form of the credential: {why}.",),
        evidence_against=("What remains with that undone is no token known here; the token itself may be wrong as well.",)
        if scene.searched
        else (),
        missing=() if scene.searched else ("a search for the token that was meant",),
        words={"wrong": wrong, "repair": repair},
    )


def examine_wrong_kind(scene: Scene) -> Found | None:
    """What was presented is a secret of another kind."""
    if not (scene.gone or scene.credential.startswith("malformed")) or was_known(scene):
        return None
    if why_not(scene) == "refresh_token" and scene.then is not None:
        return _called_so(scene.then.source)
    match = next((m for m in scene.near_misses if m.column in KINDS), None)
    if match is None and scene.evidence.refresh_token_of:
        return _issued_here(scene, scene.evidence.refresh_token_of)
    if match is None or any(m.column == "token" for m in scene.near_misses):
        return None
    kind = KINDS[match.column]
    return Found(
        Confidence.CERTAIN if match.change == "none" else Confidence.LIKELY,
        f"The client presents {kind} instead of an access token.",
        evidence_for=(f"It matches the column {match.column} (row {match.row}).",),
        evidence_against=() if match.change == "none" else (f"Only with a change undone: {match.change}.",),
        words={"kind": kind},
    )


def _called_so(source: str) -> Found:
    """Servers that tell refresh tokens from access tokens are believed."""
    return Found(
        Confidence.CERTAIN,
        "The client presents a refresh token instead of an access token.",
        evidence_for=(f"{source} calls it a refresh token.",),
        words={"kind": KINDS["refresh_token"]},
    )


def _issued_here(scene: Scene, access: str) -> Found:
    return Found(
        Confidence.CERTAIN,
        "The client presents a refresh token instead of an access token.",
        evidence_for=(f"It was issued here as the refresh token of the access token {access}.",),
        evidence_against=("Its row is gone, or holds another one by now.",) if scene.searched else (),
        words={"kind": KINDS["refresh_token"]},
    )


def examine_header_missing(scene: Scene) -> Found | None:
    """No credential, from a client that had one before; or from several tenants at once."""
    if scene.credential not in ("missing", f"malformed:{Why.EMPTY}"):
        return None
    memory = scene.evidence.client
    own = memory is not None and not memory.shared
    before = memory.last_with_credential if memory and own else None
    named = _named_in_query(scene)
    stripped = sorted({i.tenant for i in scene.others.incidents if i.reason == Reason.MISSING_CREDENTIAL and not named})
    many = len(stripped) >= 2 and scene.credential == "missing"
    since = memory.without_since if memory and own and memory.without_since is not None else scene.at
    doubts = _doubts(memory, scene.at)
    lines = (
        *((f"The same client presented a credential at {utc(before)}.",) if before is not None else ()),
        *((f"Requests of other tenants lack it in the same minute: {listed(stripped)}.",) if many else ()),
    )
    return Found(
        _strength(had_one=before is not None, many=many, doubtful=bool(doubts)),
        f"The request carries no credential; the client's requests have had none since {utc(since)}.",
        evidence_for=(
            "There was no Authorization header, or nothing in it.",
            *((f"The query has a parameter {named}; policy.allow_query_token is off.",) if named else ()),
            *lines,
        ),
        evidence_against=doubts,
        missing=() if lines else ("an earlier request of the same client with a credential",),
        words={"since": utc(since), "before": utc(before), "parameter": named},
        times={"last_with_credential_at": before, "without_since": since},
        findings=("stripped_on_the_way",) if many else (),
        instead=IN_THE_QUERY if named else None,
    )


def _named_in_query(scene: Scene) -> str:
    """The parameter of a token in the refused request's query, or nothing. Its value is not recorded."""
    target = scene.incident.exchange.target if scene.incident is not None else ""
    return next((name for name in target.partition("?")[2].split("&") if name in TOKEN_NAMES), "")


IN_THE_QUERY: Final = Advice(
    operator="The token came in the query ({parameter}=...), where none is accepted: there it ends up in everybody's logs (RFC "
    "6750 section 5.3). Have {client} send it in the Authorization header, and replace it if those logs are not yours alone. "
    "policy.allow_query_token accepts it all the same.",
    customer="{client} sends the access token within the address ({parameter}=...), where we do not accept it. Please set it "
    "up to send the token in the HTTP header Authorization. {steps}",
)
"""In place of the advice to look for who strips the header."""


def _strength(*, had_one: bool, many: bool, doubtful: bool) -> Confidence:
    if had_one and not doubtful:
        return Confidence.CERTAIN
    return Confidence.LIKELY if many else Confidence.POSSIBLE


def _doubts(memory: ClientMemory | None, at: float) -> tuple[str, ...]:
    """Why the client may be none that lost its header."""
    if memory is None:
        return ()
    again = memory.again
    return (
        *(("Requests of several tenants come from this client; whose this one is cannot be told.",) if memory.shared else ()),
        *(
            (f"The same client presented a credential again at {utc(again)}: it may first wait to be asked for one.",)
            if again is not None and again - at <= CHALLENGE
            else ()
        ),
    )


MANGLED: Final = Rule(
    Code.TOKEN_MANGLED,
    "The token was damaged on its way into the header: prefix doubled or missing, quotes, white space, cut, encoded, case.",
    "With the damage undone it is a known token (certain), or the form itself shows the damage and nobody could look for the "
    "token that was meant (likely). A form alone proves nothing where the token within it is unknown too.",
    "{client} sends it damaged: {wrong}. To repair it at the client: {repair}. {bearer}",
    "{client} sends the access token in a damaged form: {wrong}. Please {repair}. {bearer} {steps}",
    examine_mangled,
)

WRONG_KIND: Final = Rule(
    Code.WRONG_SECRET_KIND,
    "A refresh token, client secret, authorization code or digest is presented as the bearer token.",
    "It matches another column than that of access tokens.",
    "{kind} was pasted instead of the access token. That secret has been shown where it does not belong: replace it too.",
    "In the set-up of {client} another secret ({kind}) was entered instead of the access token. Please enter the access token. "
    "{steps}",
    examine_wrong_kind,
)

HEADER_MISSING: Final = Rule(
    Code.HEADER_MISSING,
    "The request carries no credential, although the same client had one before.",
    "The form of the credential, and the last request of the same client that had one; or other tenants' requests lack it in "
    "the same minute (finding `stripped_on_the_way`).",
    "No credential since {since} (before: {before}). A tier in between strips Authorization (load balancer, WAF, redirect to "
    "another host), or the token field at {client} was emptied. Compare with a request sent directly.",
    "Since {since} the requests of {client} arrive without an access token. Please check that the token field is filled, and "
    "whether a gateway in between was changed then. {steps}",
    examine_header_missing,
)
