"""The checks of `doctor`. Each looks at one part and returns findings; none raises for that part's own trouble."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import ssl
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

import aiohttp
import msgspec

from proxy.cli.store_findings import store_findings
from proxy.core.credential import Fingerprinter, Secret
from proxy.core.finding import Finding, Level
from proxy.core.token import Reading, Unavailable
from proxy.evidence import embedded, layout
from proxy.evidence.leftovers import is_served
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.settings import Settings
from proxy.tasks import Tasks
from proxy.wire import store as stores
from proxy.wire.certificates import load_pair, trusting
from proxy.wire.data_plane import listener_tls
from proxy.wire.named_files import look_at_files
from proxy.wire.ops_tls import ops_tls
from proxy.wire.state import StartFault
from proxy.wire.token_sources import sources_of

PROBE_TIMEOUT: Final = 10.0
"""Seconds for the backend's answer: slower is a fault of its own."""
FREE_BYTES: Final = 256 << 20
"""Disk space below which the state directory is warned of: a spool segment is 8 MiB, the store's rewrite needs a copy."""


@runtime_checkable
class Checked(Protocol):
    """A source that can say how it is."""

    name: str

    async def check(self) -> Sequence[Finding]:
        """Return what is the case with it."""

    async def second_look(self, secret: Secret) -> Reading:
        """See TokenSource."""


class Group(msgspec.Struct, frozen=True):
    """One part and what was found."""

    part: str
    findings: tuple[Finding, ...]


async def examine(settings: Settings) -> list[Group]:
    """Look at every part."""
    running = _runs(settings)
    groups = [
        Group("Configuration", _configuration(settings)),
        Group("State directory", _state_dir(settings)),
        Group("Listeners", tuple(_listeners(settings, running=running))),
        Group("Backend", await _backend(settings)),
    ]
    groups += await _sources(settings)
    return [*groups, Group("Store", await _store(settings))]


def _runs(settings: Settings) -> bool:
    """Whether a proxy runs with this state directory, as far as this user can see."""
    with contextlib.suppress(OSError):
        return embedded.url_of(settings.state_dir) is not None or is_served(settings.state_dir / "spool")
    return False


def _configuration(settings: Settings) -> tuple[Finding, ...]:
    found = [Finding(Level.WARNING, f"{w.key}: {w.message}", w.fix) for w in settings.warnings]
    log = Path(settings.log.destination)
    if str(log) not in ("stdout", "stderr") and (log.is_dir() or not os.access(log if log.exists() else log.parent, os.W_OK)):
        found.append(_fault(f"log.destination {log} cannot be written", "name a file that the proxy's user may write"))
    return tuple(found) or (_ok("no fault, no warning"),)


def _state_dir(settings: Settings) -> tuple[Finding, ...]:
    folder = settings.state_dir.absolute()
    if not folder.exists():
        parent = next(p for p in folder.parents if p.exists())
        if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
            return (_ok(f"{folder} does not exist yet; it will be made in {parent}"),)
        return (_fault(f"{folder} does not exist and cannot be made in {parent}", "make it, owned by the proxy's user"),)
    if not folder.is_dir():
        return (_fault(f"{folder} is no folder", "set state_dir to one, owned by the proxy's user"),)
    found = [*_writable(folder), *_room(folder)]
    if folder.stat().st_mode & 0o077:
        found.append(_warning(f"{folder} is open to others ({stat.filemode(folder.stat().st_mode)})", f"chmod 700 {folder}"))
    return tuple(found)


def _writable(folder: Path) -> list[Finding]:
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"x")
    except OSError as error:
        return [_fault(f"{folder} cannot be written ({error.strerror})", "state_dir must belong to the proxy's user")]
    return [_ok(f"{folder} can be written")]


def _room(folder: Path) -> list[Finding]:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    text = f"{free >> 20} MiB free"
    return [_ok(text) if free >= FREE_BYTES else _warning(text, "make room: without it refusals become 503")]


def _listeners(settings: Settings, *, running: bool) -> Iterator[Finding]:
    yield from _port("listen", settings, running=running)
    yield from _port("ops", settings, running=running)
    for section, load in (("listen", listener_tls), ("ops", ops_tls)):
        try:
            if load(settings) is not None:
                yield _ok(f"{section}.tls: the certificate and its key can be used")
        except StartFault as fault:
            yield _start_fault(fault)
    for found in look_at_files(settings):
        if found.starts:
            yield _warning(f"{found.key} {found.message}", found.fix.lower())


def _port(section: str, settings: Settings, *, running: bool) -> tuple[Finding, ...]:
    host, port = (settings.listen.host, settings.listen.port) if section == "listen" else (settings.ops.host, settings.ops.port)
    place = f"{section}: {host}:{port}"
    if port == 0:
        return (_ok(f"{place}, so a free port"),)
    try:
        _bind(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            return (_ok(f"{place} is in use, and a proxy runs with this state_dir"),)
        return (_fault(f"{place} cannot be taken ({error.strerror})", f"free it, or set {section}.host and {section}.port"),)
    return (_ok(f"{place} is free"),)


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


async def _backend(settings: Settings) -> tuple[Finding, ...]:
    """Ask for the one resource that needs no credential (RFC 7644 section 4). Any HTTP answer proves that it is there."""
    url = f"{settings.upstream.url}{settings.base_path}/ServiceProviderConfig"
    try:
        trust = _trust(settings)
    except StartFault as fault:
        return (_start_fault(fault),)
    name = settings.upstream.tls.server_name
    limit = aiohttp.ClientTimeout(PROBE_TIMEOUT, sock_connect=settings.upstream.connect_timeout)
    start = time.monotonic()
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(url, ssl=trust, server_hostname=name, allow_redirects=False) as response,
        ):
            took = (time.monotonic() - start) * 1000
    except TimeoutError:
        return (_fault(f"{settings.upstream.url} did not answer in time", "check upstream.url, its network and its load"),)
    except (aiohttp.ClientError, OSError) as error:
        return (
            _fault(f"{settings.upstream.url} cannot be reached ({_reason(error)})", "check upstream.url, and that it runs"),
        )
    found = [_ok(f"{settings.upstream.url} answers in {took:.0f} ms ({response.status} for {urlsplit(url).path})")]
    if response.status >= 500:
        found.append(_warning(f"it answered {response.status}", "look into the backend's log"))
    elif response.status == 404 and not settings.base_path:
        found.append(_warning("no SCIM at the root", "set base_path, such as /scim/v2, so that operations are named right"))
    return tuple(found)


def _trust(settings: Settings) -> ssl.SSLContext | bool:
    tls = settings.upstream.tls
    if not tls.verify:
        return False
    context = trusting("upstream.tls", tls.ca_file)
    if tls.cert_file is not None:
        load_pair(context, "upstream.tls", tls.cert_file, tls.key_file)
    return context


async def _sources(settings: Settings) -> Sequence[Group]:
    """Ask every source. They are built anew, with a throw-away key: a check names no token. One whose own files are no use
    keeps all of them from being built, as it keeps the proxy from starting."""
    tasks = Tasks(lambda _name, _error: None)
    try:
        sources = sources_of(settings, Fingerprinter(secrets.token_bytes(32)), tasks, lambda _text: None)
        return [Group(f"Source {source.name}", await _source(source)) for source in sources if isinstance(source, Checked)]
    except StartFault as fault:
        fix = "correct it, or the proxy does not start"
        return [Group("Sources", tuple(_fault(line, fix) for line in str(fault).splitlines()))]
    finally:
        await tasks.close()


async def _source(source: Checked) -> tuple[Finding, ...]:
    """What it says of itself; and where that is no fault, whether it answers for a token that nobody has: only then the
    vendor's own SQL is known to fit the tables."""
    found = tuple(await source.check())
    if Level.FAULT in [finding.level for finding in found]:
        return found
    raw = secrets.token_hex(24).encode()
    reading = await source.second_look(Secret(raw, ""))
    if not isinstance(reading.state, Unavailable):
        return found
    what = f"{reading.via}: a look-up fails: {reading.state.why}: {' '.join(reading.state.detail.split())}"
    fix = "your own SQL (source.owner, source.tenant_query) must fit the tables; else the server's log says more"
    return (*found, _fault(what, fix))


async def _store(settings: Settings) -> tuple[Finding, ...]:
    if settings.store.url is None and embedded.url_of(settings.state_dir) is None:
        return _embedded_at_rest(settings)
    try:
        _ = trusting("store", settings.store.ca_file if settings.store.url is not None else None)
    except StartFault as fault:
        return (_start_fault(fault),)
    store = stores.open_store(settings, stores.url_of(settings) or "")
    try:
        return await _look_at(store)
    except StoreError as error:
        fix = "check store.url and that it runs; incidents wait in the spool meanwhile"
        return (_fault(f"it does not answer ({error})", fix),)
    finally:
        await store.close()


def _embedded_at_rest(settings: Settings) -> tuple[Finding, ...]:
    try:
        program = embedded.choose(settings.state_dir, settings.store.embedded_binary)
    except embedded.EmbeddedStoreError as error:
        what, _, fix = str(error).partition("\n")
        return (_fault(what, fix.strip()),)
    return (_ok(f"embedded: {program}, started with the proxy, which does not run now"),)


async def _look_at(store: RedisStore) -> tuple[Finding, ...]:
    start = time.monotonic()
    await store.ping()
    took = (time.monotonic() - start) * 1000
    found = [finding for info in await store.infos() for finding in store_findings(info)]
    number = await layout.layout_of(store)
    wrong = () if number is None or not layout.trouble(number) else (_warning(*layout.trouble(number).split(": ", 1)),)
    return (_ok(f"answers in {took:.1f} ms"), *found, *wrong)


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or error
    return str(getattr(inner, "strerror", None) or inner or type(error).__name__)


def _start_fault(fault: StartFault) -> Finding:
    what, _, fix = str(fault).rpartition(". ")
    return _fault(what, fix[:1].lower() + fix[1:].rstrip("."))


def _ok(what: str) -> Finding:
    return Finding(Level.OK, what)


def _warning(what: str, fix: str) -> Finding:
    return Finding(Level.WARNING, what, fix)


def _fault(what: str, fix: str) -> Finding:
    return Finding(Level.FAULT, what, fix)
