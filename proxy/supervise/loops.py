"""Which event loop to run on."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import cast

from proxy.wire import StartFault


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop that `loop` asks for; None is asyncio's own. StartFault when it is not installed."""
    if name == "asyncio":
        return None
    try:
        return cast("Callable[[], asyncio.AbstractEventLoop]", importlib.import_module("uvloop").new_event_loop)
    except ImportError:
        if name == "uvloop":
            raise StartFault('loop is uvloop, which is not installed here. Set loop = "auto", or: pip install uvloop') from None
        return None
