"""Imports structlog and redis-py without what they load only because it happens to be installed.

Rich (with Pygments) is here for the commands of people, OpenTelemetry for whoever exports traces, greenlet and colorama as
somebody's dependency; structlog would load them for tracebacks, contexts and colours on a terminal, redis-py for metrics of its
own, none of which a proxy uses, and keep 9 MiB.
Must be the first import of this package, for whoever imports them first decides.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*names: str) -> Iterator[None]:
    """While it lasts, these packages look as if they were not installed: None in sys.modules makes their import an ImportError
    (Python's language reference, 5.3.1). One that is imported already is left alone."""
    hidden = [name for name in names if name not in sys.modules]
    absent: dict[str, None] = dict.fromkeys(hidden)
    sys.modules.update(absent)  # type: ignore[arg-type] # None is what the reference asks for
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


with without("colorama", "greenlet", "opentelemetry", "rich"):
    import redis.asyncio
    import structlog

__all__ = ["redis", "structlog", "without"]
