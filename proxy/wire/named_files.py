"""The certificate files that settings name, looked at before the start as the start does it. Nothing is connected."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from proxy.settings import Settings
from proxy.wire.certificates import out_of_date, trusting
from proxy.wire.data_plane import listener_tls, upstream_options
from proxy.wire.ops_tls import ops_tls
from proxy.wire.state import StartFault


class Found(NamedTuple):
    """What is wrong: the setting, the file and its fault, what to do; `starts` where the proxy comes up nonetheless."""

    key: str
    message: str
    fix: str
    starts: bool = False


def look_at_files(settings: Settings) -> Iterator[Found]:
    """Yield what is wrong with the files of the listeners, the backend, the sources and the store."""
    for part in (_listen, _ops, _upstream, _sources, _store):
        try:
            yield from part(settings)
        except StartFault as fault:
            yield found_in(fault)


def found_in(fault: StartFault) -> Found:
    """Take the one line of a fault apart."""
    place, _, rest = str(fault).partition(": ")
    key, _, file = place.partition(" ")
    what, _, fix = rest.partition(". ")
    return Found(key, f"{file}: {what.rstrip('.')}", fix.rstrip("."))


def _listen(settings: Settings) -> Iterator[Found]:
    yield from _dates("listen", settings.listen.tls.cert_file, listener_tls(settings))


def _ops(settings: Settings) -> Iterator[Found]:
    tls = ops_tls(settings)
    yield from _dates("ops", settings.ops.tls.cert_file, tls.context if tls is not None else None)


def _dates(section: str, file: Path | None, context: ssl.SSLContext | None) -> Iterator[Found]:
    if file is not None and context is not None and (said := out_of_date(context, file)):
        yield Found(f"{section}.tls.cert_file", f"{file}: {said}, so clients refuse it", "Renew it", starts=True)


def _upstream(settings: Settings) -> Iterator[Found]:
    _ = upstream_options(settings)
    yield from ()


def _sources(settings: Settings) -> Iterator[Found]:
    for source in settings.source:
        if (file := getattr(source, "ca_file", None)) is not None:
            _ = trusting("source", file)
    yield from ()


def _store(settings: Settings) -> Iterator[Found]:
    if settings.store.ca_file is not None:
        _ = trusting("store", settings.store.ca_file)
    yield from ()
