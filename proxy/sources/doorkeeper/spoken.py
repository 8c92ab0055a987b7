"""What the operating system said, in words for people. Never the address: a DSN may be in it."""

from __future__ import annotations

import os
import socket
import ssl


def in_words(error: OSError) -> str:
    """`Connection refused`, `Name or service not known` and so on; the error's class where there is no number."""
    if isinstance(error, socket.gaierror):
        return str(error.strerror or "the host's name is not known")
    if isinstance(error, ssl.SSLError):  # its number is none of the system's
        return _of_tls(error)
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _of_tls(error: ssl.SSLError) -> str:
    if said := getattr(error, "verify_message", ""):
        return f"the server's certificate is not accepted: {said.partition(',')[0]}"  # behind the comma stands the host
    reason = getattr(error, "reason", None) or "for a reason not known"
    return f"TLS failed: {reason.lower().replace('_', ' ')}"
