"""The PROXY protocol's header, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt): bytes in, a value or a fault out. No I/O.

Strict: what is not in the specification is a fault, and the connection ends; it is never taken for the start of a request.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import msgspec

V1_BEGIN: Final = b"PROXY "
V1_LIMIT: Final = 107
"""Octets of a version 1 line, CR LF included (section 2.1)."""
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""How version 2 begins (section 2.2)."""
V2_FIXED: Final = 16
"""Octets of version 2 before its addresses: signature, version and command, family, length."""
V2_LIMIT: Final = 4_096
"""Octets that may follow them. Addresses take 216 at most; clouds and HAProxy add some hundred for names and certificates."""
SHORTEST: Final = len(b"PROXY UNKNOWN\r\n")
"""Octets of the shortest header of either version: so many can be read without reading past one."""

_V1: Final = re.compile(
    rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_ADDRESS_OCTETS: Final = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}
_TLV_SSL: Final = 0x20
_CLIENT_SSL: Final = 0x01


class ProxyHeaderError(Exception):
    """A header that is none. The message is a word for the log."""


class Told(msgspec.Struct, frozen=True):
    """What a header says of the client. `address` is empty where it says nothing: then the connection's own peer counts.
    `tls`: the client used TLS towards the proxy in front."""

    address: str = ""
    port: int = 0
    tls: bool = False


def parse_v1(line: bytes) -> Told:
    """Read a version 1 line, CR LF included. Raises ProxyHeaderError."""
    if _V1_UNKNOWN.fullmatch(line):
        return Told()
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyHeaderError("v1_line")
    family, source, destination, port, port_there = match.groups()
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    try:
        address, _ = kind(source.decode()), kind(destination.decode())
    except ValueError:
        raise ProxyHeaderError("v1_address") from None
    if int(port) > 65_535 or int(port_there) > 65_535:
        raise ProxyHeaderError("v1_port")
    return Told(str(address), int(port))


def v2_length(fixed: bytes) -> int:
    """How many octets follow the fixed part of version 2. Raises ProxyHeaderError."""
    if len(fixed) != V2_FIXED or not fixed.startswith(SIGNATURE):
        raise ProxyHeaderError("signature")
    length = int.from_bytes(fixed[14:16], "big")
    if length > V2_LIMIT:
        raise ProxyHeaderError("v2_too_long")
    return length


def parse_v2(fixed: bytes, rest: bytes) -> Told:
    """Read a whole version 2 header. LOCAL (a health check of the proxy in front) and families without an address tell
    nothing; datagrams are a fault, for this is a stream. Raises ProxyHeaderError."""
    command, family = fixed[12], fixed[13]
    if v2_length(fixed) != len(rest):
        raise ProxyHeaderError("v2_length")
    if command not in (_LOCAL, _PROXY):
        raise ProxyHeaderError("v2_command")
    if command == _LOCAL:
        return Told()
    octets = _ADDRESS_OCTETS.get(family)
    if octets is None:
        raise ProxyHeaderError("v2_family")
    if len(rest) < octets:
        raise ProxyHeaderError("v2_length")
    tls = _used_tls(rest[octets:])
    if family == _TCP4:
        return Told(str(ipaddress.IPv4Address(rest[:4])), int.from_bytes(rest[8:10], "big"), tls)
    if family == _TCP6:
        return Told(str(ipaddress.IPv6Address(rest[:16])), int.from_bytes(rest[32:34], "big"), tls)
    return Told(tls=tls)


def _used_tls(extensions: bytes) -> bool:
    """Look through the type-length-value list (section 2.2) for what says so (section 2.2.6). Raises ProxyHeaderError."""
    tls, at = False, 0
    while at < len(extensions):
        head = extensions[at : at + 3]
        stop = at + 3 + int.from_bytes(head[1:3], "big")
        if len(head) < 3 or stop > len(extensions):
            raise ProxyHeaderError("v2_extension")
        if head[0] == _TLV_SSL:
            if stop - at < 8:
                raise ProxyHeaderError("v2_extension")
            tls = bool(extensions[at + 3] & _CLIENT_SSL)
        at = stop
    return tls
