"""The format of a token file: bytes -> entries, or every fault at once. Pure.

    hash = "sha256"                          # or "hmac-sha256", keyed by a setting; sha256 if not given

    [[token]]
    name = "acme-okta"                       # unique; names the row in incidents
    digest = "9f86d081...0f00a08"            # 64 hex digits of the token's hash, never the token
    tenant = "acme"
    scopes = ["scim"]                        # optional
    created_at = 2026-05-03T10:00:00Z        # in TOML a date-time with offset, in JSON its text
    expires_in = 315360000                   # optional, seconds
    revoked_at = 2026-06-01T00:00:00Z        # optional
    application = "okta"                     # optional
    owner = { id = "svc-okta", active = true }   # optional

JSON has the same keys: {"hash": ..., "token": [{...}, ...]}.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from proxy.core.token import Known, OwnerState

SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a file: about 200,000 tokens; more belong into a database."""

FAULTS_LIMIT: Final = 50
"""Faults that are listed; a file that is wrong throughout need not fill the log."""

LIFE_LIMIT: Final = 100 * 366 * 86_400
"""Seconds: what is meant to live longer lives for ever, without expires_in."""

_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_KEYS: Final = frozenset(
    {"name", "digest", "tenant", "scopes", "created_at", "expires_in", "revoked_at", "application", "owner"}
)


class Hash(enum.StrEnum):
    """How a digest is made of a token."""

    SHA256 = "sha256"
    HMAC_SHA256 = "hmac-sha256"


class Content(msgspec.Struct, frozen=True):
    """A whole file: digest (32 bytes) -> row. `listed`: it has the key `token`."""

    hash: Hash
    tokens: Mapping[bytes, Known]
    listed: bool


class TokenFileError(Exception):
    """A file that cannot be used. `faults` name file, entry, key and fix; none holds a value that may be a token."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def parse(raw: bytes, name: str, mark: Callable[[bytes], str], *, keyed: bool) -> Content:
    """Read a file's bytes. `name` tells JSON (`.json`) from TOML; `keyed`: a key for hmac-sha256 is configured.

    `mark` makes the short keyed digest of a digest by which a replaced one is noticed.
    """
    table = _table(raw, name)
    faults = [f"{name}: unknown key {key[:32]!r}: only hash and token are known" for key in table.keys() - {"hash", "token"}]
    digest_by = _hash(table.get("hash", "sha256"), name, faults, keyed=keyed)
    entries = table.get("token", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise TokenFileError((*faults, f"{name}: token: must be a list of tables: write [[token]]"))
    tokens: dict[bytes, Known] = {}
    names: set[str] = set()
    for number, entry in enumerate(entries, 1):
        where = f"{name}: token {number}"
        wrong = list(_entry_faults(entry, names, tokens))
        faults.extend(f"{where}: {fault}" for fault in wrong)
        if not wrong:
            names.add(entry["name"])
            digest = bytes.fromhex(entry["digest"])
            tokens[digest] = _row(entry, mark(digest), digest_by)
    if faults:
        more = [f"{name}: and {len(faults) - FAULTS_LIMIT} more"] if len(faults) > FAULTS_LIMIT else []
        raise TokenFileError((*faults[:FAULTS_LIMIT], *more))
    return Content(digest_by, tokens, "token" in table)


def _table(raw: bytes, name: str) -> dict[str, Any]:
    try:
        text = raw.decode()
        table = json.loads(text) if name.endswith(".json") else tomllib.loads(text)
        if "\\u" in text:
            json.dumps(table, ensure_ascii=False, default=str).encode()
    except json.JSONDecodeError as error:
        raise TokenFileError((f"{name}:{error.lineno}: is no JSON: {error.msg}",)) from None
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at [^)]*\)", str(error))  # the rest of the message may quote the file
        raise TokenFileError((f"{name}: is no TOML {place[0] if place else ''}".rstrip(),)) from None
    except UnicodeDecodeError as error:
        raise TokenFileError((f"{name}: is no UTF-8 at byte {error.start}",)) from None
    except UnicodeEncodeError:  # half a character passes as JSON, and no record could hold it
        raise TokenFileError((f"{name}: holds half a character, like \\ud800: write the whole of it",)) from None
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        raise TokenFileError((f"{name}: is nested too deeply, or holds a number that nobody means",)) from None
    if not isinstance(table, dict):
        raise TokenFileError((f"{name}: must be an object with the key token",))
    return table


def _hash(value: object, name: str, faults: list[str], *, keyed: bool) -> Hash:
    if value not in tuple(Hash):
        faults.append(f"{name}: hash: must be sha256 or hmac-sha256")
        return Hash.SHA256
    found = Hash(str(value))
    if found is Hash.HMAC_SHA256 and not keyed:
        faults.append(f"{name}: hash: hmac-sha256 needs a key, and none is configured")
    return found


def _entry_faults(entry: dict[str, Any], names: set[str], tokens: Mapping[bytes, Known]) -> Iterator[str]:
    for key in sorted(entry.keys() - _KEYS):
        yield "token: never write tokens here, only their digest" if key == "token" else f"{key[:32]!r}: is no known key"
    for key in ("name", "tenant"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            yield f"{key}: is required, a text"
    name = entry.get("name")
    if isinstance(name, str) and name in names:
        yield "name: is used twice"
    digest = entry.get("digest")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        yield "digest: is required, 64 hex digits of the token's hash"
    elif bytes.fromhex(digest) in tokens:
        yield f"digest: is that of {tokens[bytes.fromhex(digest)].row} as well"
    yield from _time_faults(entry)
    yield from _detail_faults(entry)


def _time_faults(entry: dict[str, Any]) -> Iterator[str]:
    for key in ("created_at", "revoked_at"):
        if (key in entry or key == "created_at") and _instant(entry.get(key)) is None:
            yield f"{key}: must be a date-time with offset, like 2026-05-03T10:00:00Z"
    expires_in = entry.get("expires_in", 0)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int) or abs(expires_in) > LIFE_LIMIT:
        yield "expires_in: must be whole seconds, at most 100 years of them"


def _detail_faults(entry: dict[str, Any]) -> Iterator[str]:
    scopes = entry.get("scopes", [])
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        yield "scopes: must be a list of texts"
    if not isinstance(entry.get("application", ""), str):
        yield "application: must be a text"
    owner = entry.get("owner")
    if owner is None:
        return
    if not isinstance(owner, dict) or owner.keys() - {"id", "active"}:
        yield "owner: must be a table with id and active"
    elif not isinstance(owner.get("id"), str) or not isinstance(owner.get("active", True), bool):
        yield "owner: id must be a text, active true or false"


def _instant(value: object) -> float | None:
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, dt.datetime) or value.tzinfo is None:
        return None
    return value.timestamp()


def _row(entry: dict[str, Any], mark: str, digest_by: Hash) -> Known:
    owner = entry.get("owner")
    active = owner is not None and owner.get("active", True)
    return Known(
        row=entry["name"],
        tenant=entry["tenant"],
        created_at=_instant(entry["created_at"]) or 0.0,
        expires_in=entry.get("expires_in"),
        revoked_at=_instant(entry.get("revoked_at")),
        scopes=tuple(entry.get("scopes", ())),
        application=entry.get("application"),
        application_name=entry.get("application"),
        owner=owner["id"] if owner is not None else None,
        owner_state=OwnerState.NONE if owner is None else OwnerState.ACTIVE if active else OwnerState.INACTIVE,
        refreshable=False,
        stored=str(digest_by),
        stored_mark=mark,
    )
