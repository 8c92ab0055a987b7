"""What the operating system said, in words for people. Never the address: a DSN may be in it."""

from __future__ import annotations

import os
import socket


def in_words(error: OSError) -> str:
    """`Connection refused`, `Name or service not known` and so on; the error's class where there is no number."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror or "the host's name is not known")
    return os.strerror(error.errno) if error.errno else type(error).__name__
