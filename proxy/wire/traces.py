"""Builds the traces, where the settings ask for them and OpenTelemetry is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from proxy.core.exchange import Exchange
from proxy.settings import Settings
from proxy.wire.state import StartFault


class Tracing(NamedTuple):
    """What takes the exchanges, and what ends it."""

    saw: Callable[[Exchange], None]
    close: Callable[[], None]


def tracing(settings: Settings, instance: str) -> Tracing | None:
    """The traces, None where none are asked for. StartFault without OpenTelemetry: who asks for traces must get them."""
    if settings.traces.endpoint is None:
        return None
    try:
        from proxy.observe.traces import Traces  # noqa: PLC0415 - 10 MiB that only those have who use it
    except ImportError as error:
        raise StartFault(
            f"traces.endpoint: OpenTelemetry is not installed ({error.name}). Fix: pip install 'scim-witness[otel]'"
        ) from None
    traces = Traces(settings.traces.endpoint, instance, settings.traces.ratio)
    return Tracing(traces.saw, traces.close)
