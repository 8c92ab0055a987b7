"""Imports structlog and redis-py without what they load only because it happens to be installed.

Rich (with Pygments) is here for the commands of people, and OpenTelemetry for whoever exports traces; structlog would load
the one for tracebacks on a terminal, redis-py the other for its own metrics, neither of which a proxy uses, and keep 7 MiB.
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


with without("opentelemetry", "rich"):
    import redis.asyncio
    import structlog

__all__ = ["redis", "structlog", "without"]
