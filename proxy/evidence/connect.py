"""From a store URL to a redis-py client with bounded waits.

`redis://`, `rediss://` and `unix://` are redis-py's own; `redis+sentinel://` and `redis+cluster://` (with `rediss+...` for TLS)
name several nodes, which redis-py does not parse, so that is done here.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import hiredis
import msgspec
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import DataError

DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379

SCHEMES: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)

Client = Redis | RedisCluster


class StoreUrlError(ValueError):
    """The URL cannot be used. The message never repeats it: it may hold a password."""


class StoreOptions(msgspec.Struct, frozen=True):
    """Where the store is and how to reach it. `timeout` in seconds bounds every connect and every reply; what is given
    here wins over the same thing in the URL. `password_file` is read for each new connection: a password that was changed
    there is used from then on."""

    url: str
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    timeout: float = 0.5
    max_connections: int = 8

    def __repr__(self) -> str:
        return f"StoreOptions({describe(self.url)})"


def describe(url: str) -> str:
    """The URL as it may be printed: without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Packed:
    """Packs commands by hiredis, as redis-py's blocking client does: in Python that is a quarter of a delivery."""

    def pack_command(self, *args: str | bytes | float) -> list[bytes]:
        """See redis.asyncio.connection.AbstractConnection."""
        name = args[0].encode() if isinstance(args[0], str) else args[0]
        parts = name.split() if isinstance(name, bytes) else [name]
        try:
            return [hiredis.pack_command((*parts, *args[1:]))]
        except TypeError as error:
            raise DataError("a command holds what is neither octets, text nor a number") from error


class FileCredentials(CredentialProvider):
    """User and the password that stands in a file now; the last one that could be read while it cannot."""

    def __init__(self, user: str | None, path: Path, password: str) -> None:
        self._user = user
        self._path = path
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Read the file, a few octets."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self._password = self._path.read_text().rstrip("\r\n") or self._password
        return (self._password,) if self._user is None else (self._user, self._password)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same; redis-py asks for each new connection."""
        return self.get_credentials()


def connect(options: StoreOptions) -> Client:
    """Return a client; nothing is connected yet. StoreUrlError when the URL is not one of ours."""
    if options.url.partition("://")[0] not in SCHEMES:
        raise StoreUrlError(f"store URL must begin with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    try:
        parts = urlsplit(options.url)
        base, _, kind = parts.scheme.partition("+")
        keywords = _keywords(options, parts, tls=base == "rediss")
        if kind == "sentinel":
            return _sentinel(options, parts, keywords)
        if kind == "cluster":
            return _cluster(parts, keywords)
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if options.password_file else options.url
        return _packing(Redis.from_url(plain, **keywords))
    except StoreUrlError:
        raise
    except (ValueError, TypeError) as error:
        raise StoreUrlError("store URL cannot be read: check host, port and options") from error


async def close(client: Client) -> None:
    """Close all connections, those to the Sentinels too."""
    await client.aclose()
    watchers = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for watcher in watchers.sentinels if watchers is not None else ():
        await watcher.aclose()


def nodes(netloc: str, default_port: int) -> list[tuple[str, int]]:
    """Read `h1,h2:7001,[::1]:7002`. StoreUrlError when there is no host."""
    found = []
    for part in netloc.rpartition("@")[2].split(","):
        node = urlsplit(f"//{part}")
        if not node.hostname:
            raise StoreUrlError("store URL names no host between its commas")
        found.append((node.hostname, node.port or default_port))
    return found


def _keywords(options: StoreOptions, parts: SplitResult, *, tls: bool) -> dict[str, Any]:
    keywords: dict[str, Any] = {
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.timeout,
        "retry": Retry(NoBackoff(), 1),
        "max_connections": options.max_connections,
        "decode_responses": False,
    }
    user, password = _credentials(options, parts)
    if options.password_file is not None:
        keywords["credential_provider"] = FileCredentials(user, Path(options.password_file), password or "")
    else:
        keywords |= {name: value for name, value in (("username", user), ("password", password)) if value is not None}
    if tls:
        tls_options = {
            "ssl_ca_certs": options.ca_file,
            "ssl_certfile": options.cert_file,
            "ssl_keyfile": options.key_file,
        }
        keywords |= {name: value for name, value in tls_options.items() if value is not None}
    return keywords


def _credentials(options: StoreOptions, parts: SplitResult) -> tuple[str | None, str | None]:
    """User and password, those of the options first. With the password of the URL goes the user of the URL."""
    login, at, _ = parts.netloc.rpartition("@")
    user, _, password = login.partition(":") if at else ("", "", "")
    return options.username or unquote(user) or None, options.password or unquote(password) or None


def _one(parts: SplitResult, name: str) -> str | None:
    values = parse_qs(parts.query).get(name)
    return values[-1] if values else None


def _tls_from_query(parts: SplitResult) -> dict[str, str]:
    names = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
    return {name: value for name in names if (value := _one(parts, name)) is not None}


def _sentinel(options: StoreOptions, parts: SplitResult, keywords: dict[str, Any]) -> Redis:
    """`redis+sentinel://[user:password@]s1[:port],s2/master?db=0&sentinel_username=&sentinel_password=`."""
    master = parts.path.strip("/")
    if not master:
        raise StoreUrlError("redis+sentinel:// needs the name of the master as its path")
    tls = _tls_from_query(parts) | {"ssl": True} if parts.scheme.startswith("rediss") else {}
    bounds = {"socket_timeout": options.timeout, "socket_connect_timeout": options.timeout, "retry": Retry(NoBackoff(), 1)}
    login = {
        "username": options.sentinel_username or _one(parts, "sentinel_username"),
        "password": options.sentinel_password or _one(parts, "sentinel_password"),
    }
    sentinel: Any = Sentinel
    watchers = sentinel(nodes(parts.netloc, SENTINEL_PORT), sentinel_kwargs={**bounds, **tls, **login})
    client: Redis = watchers.master_for(master, db=int(_one(parts, "db") or 0), **{**tls, **keywords})
    return _packing(client)


def _packing(client: Redis) -> Redis:
    """The client, with connections that pack as Packed does. A Cluster's nodes have their own, and stay as they are."""
    pool: Any = client.connection_pool
    pool.connection_class = type("PackedConnection", (Packed, pool.connection_class), {})
    return client


def _cluster(parts: SplitResult, keywords: dict[str, Any]) -> RedisCluster:
    """`redis+cluster://[user:password@]n1[:port],n2`: any nodes; the rest is discovered."""
    if int(_one(parts, "db") or 0) or parts.path.strip("/"):
        raise StoreUrlError("a Cluster has no database number and no path")
    if parts.scheme.startswith("rediss"):
        keywords = {**_tls_from_query(parts), "ssl": True, **keywords}
    start = [ClusterNode(host, port) for host, port in nodes(parts.netloc, DEFAULT_PORT)]
    # RedisStore tries again itself: redis-py would send a WAIT of the first attempt to any node
    return RedisCluster(startup_nodes=start, **keywords | {"retry": Retry(NoBackoff(), 0)})
