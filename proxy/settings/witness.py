"""The sections about evidence: the store, the spool, what is recorded for how long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlsplit

from proxy.settings.section import Bounds, Bytes, Check, Numbers, Secret, Section, is_host

STORE_SCHEMES: Final = (
    "redis://",
    "rediss://",
    "unix://",
    "redis+sentinel://",
    "rediss+sentinel://",
    "redis+cluster://",
    "rediss+cluster://",
)

_ANY: Final = re.compile(r".+")
_NUMBER: Final = re.compile(r"[0-9]+")
_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?")
_FLAG: Final = re.compile(r"(?i:true|false|yes|no|on|off|0|1)")
_LOGIN: Final = dict.fromkeys(("username", "password"), _ANY)
_PLAIN: Final = {
    **_LOGIN,
    **dict.fromkeys(("db", "health_check_interval", "max_connections", "socket_read_size"), _NUMBER),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout"), _SECONDS),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout"), _FLAG),
    "client_name": re.compile(r"[!-~]+"),
    "protocol": re.compile("[23]"),
}
"""What redis-py takes for a single server, and a pattern of what it can be."""
_SENTINEL: Final = {"db": _NUMBER, "sentinel_username": _ANY, "sentinel_password": _ANY}
_CLUSTER: Final = {"db": re.compile("0")}
_TLS_OF_NODES: Final = {
    **dict.fromkeys(("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"), _ANY),
    "ssl_cert_reqs": re.compile("none|optional|required"),
}
_TLS: Final = {
    **_TLS_OF_NODES,
    **dict.fromkeys(("ssl_ca_path", "ssl_ca_data", "ssl_ciphers", "ssl_password"), _ANY),
    "ssl_check_hostname": _FLAG,
    "ssl_min_version": _NUMBER,
}


def _store_url(value: Secret) -> Secret:
    if not value.get_secret_value().startswith(STORE_SCHEMES):
        raise ValueError(
            "must be a URL of Redis or Valkey: write it like redis://host:6379/0, rediss://host/0, unix:///path, "
            "redis+sentinel://h1,h2/master or redis+cluster://h1,h2"
        )
    if wrong := fault_of_store_url(value.get_secret_value()):
        raise ValueError(wrong)
    return value


def fault_of_store_url(url: str) -> str:
    """What the store's driver would not take, for it would say so only when the program runs; empty when it is good. Never a
    part of the URL: that may hold a password."""
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[2]
    before, _, query = rest.partition("#")[0].partition("?")
    place, _, path = before.partition("/")
    nodes = place.rpartition("@")[2].split(",") if scheme != "unix" else []
    try:
        hosts = [part.hostname for part in map(urlsplit, [f"//{node}" for node in nodes]) if part.port is None or part.port]
    except ValueError:
        return "has a port that is no number: write it like redis://host:6379/0; in a password @ is %40, / %2F, # %23"
    if not all(is_host(host) for host in hosts if host):
        return "names a host that cannot be: write it like redis://host:6379/0"
    if kind and not all(hosts):
        return "names no host between its commas: write it like redis+cluster://h1,h2:7001"
    if kind == "sentinel" and not path.strip("/"):
        return "does not name the master: write it like redis+sentinel://h1,h2/master"
    if kind == "cluster" and path.strip("/"):
        return "has a path, and a Cluster has no database number: write it like redis+cluster://h1,h2"
    if not kind and nodes and not (path.strip("/") or "0").isdecimal():
        return "has a path that is no database number: write it like redis://host:6379/0"
    return _fault_of_options(scheme, query)


def _fault_of_options(scheme: str, query: str) -> str:
    """The driver hands what it does not know on until something breaks, or drops it: neither would be seen at the start."""
    own = {"": _PLAIN, "sentinel": _SENTINEL, "cluster": _CLUSTER}.get(scheme.partition("+")[2], _PLAIN)
    known = own | (_TLS if scheme == "rediss" else _TLS_OF_NODES if scheme.startswith("rediss+") else {})
    if scheme == "unix":
        known = {name: value for name, value in known.items() if name != "socket_keepalive"}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            return f"has an option behind ? that is not known: there are {', '.join(sorted(known))}; in a password ? is %3F"
        if not known[name].fullmatch(value):
            return f"has {name} behind ? with a value that it cannot have: correct it, or leave it out"
    return ""


def _ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(value <= 0 for value in values) or list(values) != sorted(set(values)) or len(values) > 10:
        raise ValueError("must be up to 10 positive numbers in ascending order: write it like [1, 10, 60]")
    return values


StoreUrl = Annotated[Secret, Check(_store_url)]


class Store(Section, frozen=True, kw_only=True):
    """Redis or Valkey, which keeps incidents and histories. No request waits for it."""

    url: Annotated[
        StoreUrl | None,
        "Redis 6.2+ or Valkey: redis://, rediss://, unix://, redis+sentinel://h1,h2/master, "
        "redis+cluster://h1,h2. Without it a bundled Valkey is started.",
    ] = None
    url_file: Annotated[Path | None, "File that holds url."] = None
    embedded_binary: Annotated[Path | None, "valkey-server or redis-server to start instead of the bundled one."] = None
    username: Annotated[str | None, Bounds(min_length=1), "ACL user; overrides the url's."] = None
    password: Annotated[Secret | None, Bounds(min_length=1), "Its password; overrides the url's."] = None
    password_file: Annotated[
        Path | None, "File that holds password; read for each new connection, so it may be changed at any time."
    ] = None
    ca_file: Annotated[Path | None, "PEM file of the authorities to trust for rediss://."] = None
    copies: Annotated[
        int,
        Bounds(ge=0, le=5),
        "Replicas that must have an incident before it leaves the spool, for a store that fails over behind one "
        "address. With Sentinel or a Cluster it is one wherever there is a replica.",
    ] = 0
    retention_days: Annotated[
        float, Bounds(gt=0, le=3660), "Incidents and histories are kept this long: a quarter, for the ticket that comes late."
    ] = 90
    timeout: Annotated[float, Bounds(gt=0, le=30), "Of one command. Only background work waits for it."] = 0.5
    incident_cap: Annotated[
        int, Bounds(ge=100), "Incidents kept per tenant, newest first: about 100 MB at most for one tenant gone mad."
    ] = 100_000


class Spool(Section, frozen=True, kw_only=True):
    """The file in state_dir that holds incidents until the store has them."""

    segment_bytes: Annotated[
        Bytes, Bounds(ge=65_536, le=1 << 30), "Size of one file; it is deleted when the store has all of it."
    ] = 8 << 20
    total_bytes: Annotated[
        Bytes,
        Bounds(ge=1 << 20),
        "All files together: about a million incidents. Beyond it refusals become 503, for none may leave unrecorded.",
    ] = 1 << 30
    fsync: Annotated[
        bool, "Force each record to the disk. Off, a killed process loses nothing, a power cut the last second or so."
    ] = False


class Evidence(Section, frozen=True, kw_only=True):
    """What is recorded around an incident."""

    reread_after: Annotated[
        Numbers,
        Check(_ascending),
        "A refused token is read again after these seconds: one alive then was replica lag, not the customer.",
    ] = (1, 10, 60)
    fold_window: Annotated[
        float, Bounds(ge=0, le=3600), "Repeats of one token and reason within this time are counted into one incident."
    ] = 300
    flood_threshold: Annotated[
        int,
        Bounds(ge=1),
        "Different unknown tokens from one network (/24 or /48) within a minute, beyond which they are counted as "
        "one group: far more than a customer mistypes.",
    ] = 2_000
    flood_groups: Annotated[
        int, Bounds(ge=1), "Incidents that repeats are counted into at once: about 600 bytes each, 30 MB."
    ] = 50_000
    history_limit: Annotated[
        int, Bounds(ge=100), "Token histories held in memory: about 2 KB each; the longest unused are left to the store."
    ] = 200_000
