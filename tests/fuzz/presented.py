"""What a client presents, and what comes before its requests: tokens in every place, PROXY headers, addresses."""

from __future__ import annotations

import asyncio
import atexit
import hmac
import ipaddress
import json
import re
import socket
import struct
import urllib.parse
from typing import Any, Final

from proxy.core.credential import (
    TOKEN_LIMIT,
    Bearer,
    Credential,
    Fingerprinter,
    Malformed,
    Missing,
    Several,
    Why,
    extract,
    extract_parameters,
    form_pairs,
    gives_way,
    holds_token,
    urlencoded_pairs,
)
from proxy.core.headers import Peer
from proxy.core.proxy_header import SIGNATURE, V1_LIMIT, V2_FIXED, V2_LIMIT, ProxyHeaderError, Told, parse_v1
from proxy.edge.door import _read_header
from proxy.edge.listener import Peers
from tests.fuzz.target import CANARY, Target, is_word

KEY: Final = b"k" * 32
FINGERPRINTER: Final = Fingerprinter(KEY)
BEARER: Final = re.compile(rb"[Bb][Ee][Aa][Rr][Ee][Rr] ([!#-&(-~][!-~]*)")
"""What RFC 6750 section 2.1 and Doorkeeper's /^Bearer /i leave when nobody quotes."""
WANTED: Final = ("access_token", "bearer_token")


def name_of(raw: bytes) -> str:
    """A fingerprint, made here."""
    return hmac.digest(KEY, raw, "sha256").hex()[:32]


def tells_nothing(credential: Credential) -> None:
    """A credential prints as its fingerprint and as words of ours: nothing that was presented can be in it."""
    if isinstance(credential, Bearer):
        shown = f"Bearer(secret=<secret {name_of(credential.secret.reveal())}>, place={credential.place!r})"
    elif isinstance(credential, Malformed):
        assert credential.why in set(Why)
        shown = f"Malformed(why={credential.why!r}, presented=<secret {name_of(credential.presented.reveal())}>)"
    else:
        shown = f"Several(count={credential.count})" if isinstance(credential, Several) else "Missing()"
    assert shown == repr(credential) == str(credential) == f"{credential}"


def bearer(data: bytes) -> bool:
    """A field gives a token exactly where a pattern of its own says so, and then these very octets."""
    values = data.split(b"\n")[:3]
    found = extract(values, FINGERPRINTER)
    tells_nothing(found)
    value = values[0].strip(b" \t")
    match = BEARER.fullmatch(value)
    if len(values) > 1:
        assert found == Several(len(values))
    elif match is not None and len(match[1]) <= TOKEN_LIMIT:
        assert isinstance(found, Bearer)
        assert match[1] == found.secret.reveal()
    elif value:
        assert isinstance(found, Malformed)
        assert value == found.presented.reveal()
        assert gives_way(found) == (value[:7].lower() != b"bearer ")
    else:
        assert found == Missing()
    return isinstance(found, Bearer)


def by_urllib(encoded: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values as the standard library reads them, those of tokens only."""
    pairs = urllib.parse.parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, encoding="latin-1", separator="&")
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs if wanted(name)]


def wanted(name: str) -> bool:
    """Whether Doorkeeper may read a token from a parameter of this name."""
    return any(name == one or name.startswith(f"{one}[") for one in WANTED)


def parameters(data: bytes) -> bool:
    """Query and form, urlencoded and JSON: read as the standard library reads them, the query's first, the last of each."""
    query, _, body = data.partition(b"\n")
    in_query = [(name, value) for name, value in urlencoded_pairs(query) if wanted(name.decode("latin-1"))]
    assert by_urllib(query) == in_query
    in_form = [(name, value) for name, value in form_pairs(body, json=False) if wanted(name.decode("latin-1"))]
    assert by_urllib(body) == in_form
    in_json = form_pairs(body, json=True)
    if in_json:
        members = json.loads(body)
        assert [(name.encode(), value.encode()) for name, value in members.items() if isinstance(value, str)] == list(in_json)
    for form in (in_form, in_json):
        found = extract_parameters(form, urlencoded_pairs(query), FINGERPRINTER)
        tells_nothing(found)
        if isinstance(found, Bearer):
            assert holds_token(in_query) or holds_token(form)
            token = found.secret.reveal()
            assert re.fullmatch(rb"[!-~]+", token)
            place = in_query if found.place == "query" else form
            assert token in [[value for name, value in place if name.decode("latin-1") == one][-1:] for one in WANTED if
                             any(name.decode("latin-1") == one for name, _ in place)][-1] or found.place  # fmt: skip
        if not holds_token(in_query) and not holds_token(form):
            assert found == Missing()
    return bool(in_query or in_form or holds_token(in_json))


_RUNNER: Final = asyncio.Runner(loop_factory=asyncio.new_event_loop)  # so that no other test gets it as its own
atexit.register(_RUNNER.close)


def proxy_header(data: bytes) -> bool:
    """A header is read to its last octet and not one further, and says what a reader of its own says."""
    return _RUNNER.run(_proxy_header(data))


async def _proxy_header(data: bytes) -> bool:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            told = await _read_header(ours)
        except (ProxyHeaderError, ConnectionResetError) as error:
            assert isinstance(error, ConnectionResetError) or is_word(str(error))
            assert not begins_with_one(data)
            return False
        left = b""
        while more := ours.recv(65_536):
            left += more
    header = data[: len(data) - len(left)]
    assert data == header + left
    assert told == reference(header)
    if told.address and told.port and header.startswith(b"PROXY"):
        version = "TCP6" if ":" in told.address else "TCP4"
        line = f"PROXY {version} {told.address} {told.address} {told.port} {told.port}\r\n".encode()
        assert told == parse_v1(line)
    return True


def begins_with_one(data: bytes) -> bool:
    """Whether the reader below finds a header at the beginning of what came."""
    by_length = V2_FIXED + int.from_bytes(data[14:16])
    end = data.find(b"\r\n") + 2 if data.startswith(b"PROXY ") else min(by_length, len(data))
    try:
        reference(data[:end])
    except (AssertionError, KeyError, IndexError, ValueError, OSError, struct.error):
        return False
    return True


def reference(header: bytes) -> Told:
    """Another reader of both versions, after HAProxy's text, which fails where there is nothing to read."""
    if header.startswith(b"PROXY "):
        assert header.endswith(b"\r\n")
        assert len(header) <= V1_LIMIT
        parts = header[:-2].decode("ascii").split(" ")
        if parts[1] == "UNKNOWN":
            assert header[:-2].decode().isprintable()
            return Told()
        _, family, source, there, port, port_there = parts
        assert max(len(source), len(there)) <= 39  # of the longest address that is written without IPv4 in it
        kind = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}[family]
        packed = [socket.inet_pton(kind, address) for address in (source, there)]
        assert all(str(int(number)) == number and 0 <= int(number) <= 65_535 for number in (port, port_there))
        return Told(str(ipaddress.ip_address(packed[0])), int(port))
    signature, command, family_there, length = struct.unpack(">12sBBH", header[:16])
    rest = header[16:]
    assert signature == SIGNATURE
    assert length == len(rest) <= V2_LIMIT
    if command == 0x20:
        return Told()
    assert command == 0x21
    size, family_octets = {0x00: (0, 0), 0x11: (12, 4), 0x21: (36, 16), 0x31: (216, 0)}[family_there]
    tls, extensions = False, rest[size:]
    assert len(rest) >= size
    while extensions:
        kind_there, octets = struct.unpack(">BH", extensions[:3])
        value, extensions = extensions[3 : 3 + octets], extensions[3 + octets :]
        assert octets == len(value)
        if kind_there == 0x20:
            tls = bool(struct.unpack(">BI", value[:5])[0] & 1)
    if not family_octets:
        return Told(tls=tls)
    port_at = 2 * family_octets
    (port_told,) = struct.unpack(">H", rest[port_at : port_at + 2])
    return Told(str(ipaddress.ip_address(rest[:family_octets])), port_told, tls)


OWN: Final = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def forwarded_for(data: bytes) -> bool:
    """Only our own proxies are believed, and only as far as an unbroken chain of them goes."""
    peers, values = Peers(OWN), data.split(b"\n")[:4]
    for address in (b"10.0.0.1", b"fd00::1", b"192.0.2.1", b"unix"):
        trusted = address in (b"10.0.0.1", b"fd00::1")
        peer = Peer(address, trusted=trusted, scheme=b"http")
        expected: Any = address.decode()
        for hop in reversed([bare(hop) for hop in b",".join(values).split(b",")] if trusted and values else []):
            if hop is None:
                break
            expected = hop
            if not any(hop in network for network in OWN):
                break
        assert str(expected) == peers.client(peer, values)
    return peers.client(Peer(b"10.0.0.1", trusted=True, scheme=b"http"), values) != "10.0.0.1"


def bare(hop: bytes) -> Any:
    """An address without port and brackets, None when it is none."""
    text = hop.strip(b" \t").decode("ascii", "replace")
    match = re.fullmatch(r"\[([^\]]*)(?:\].*)?", text, re.DOTALL) or re.fullmatch(r"([^:]*):[^:]*", text, re.DOTALL)
    text = match[1] if match else text
    try:
        found: Any = None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


TARGETS: Final = (
    Target(
        "bearer",
        bearer,
        [
            b"Bearer " + CANARY.encode(),
            b"bearer\t x",
            b"Bearer Bearer x",
            b'Bearer "x"',
            b"Basic eDp5",
            b"Bearer a\nBearer b",
            b" \t",
            b"Bearer",
        ],
        (b"Bearer ", b"bearer ", b"\n", b"\t", b'"', b"'", b"\x00", b"\xff", b"Basic ", CANARY.encode()),
    ),
    Target(
        "parameters",
        parameters,
        [
            b"access_token=abc&count=1\n",
            b"\naccess%5Ftoken=a%20b+c&bearer_token=x",
            b'a=1\n{"access_token": "abc", "bearer_token": 7}',
            b"access_token[]=x&access_token=\nbearer_token[a]=1",
            b"count=1",
        ],
        (
            b"access_token",
            b"bearer_token",
            b"=",
            b"&",
            b"%",
            b"%5F",
            b"[",
            b"]",
            b"+",
            b"\n",
            b'{"',
            b'": "',
            b'"}',
            b"\\ud800",
            b"\\u0061",
        ),
    ),
    Target(
        "proxy_header",
        proxy_header,
        [
            b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\nGET / HTTP/1.1\r\n",
            b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n",
            b"PROXY UNKNOWN ffff::1 x\r\n",
            b"PROXY UNKNOWN\r\n",
            SIGNATURE + b"\x21\x11\x00\x0c" + bytes((192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 3, 4)) + b"GET",
            SIGNATURE + b"\x21\x21\x00\x24" + bytes(range(36)),
            SIGNATURE + b"\x21\x11\x00\x17" + bytes(12) + b"\x20\x00\x08\x01\x00\x00\x00\x00\x01\x00\x01",
            SIGNATURE + b"\x20\x00\x00\x00",
            SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216),
            b"GET / HTTP/1.1\r\n\r\n",
        ],
        (
            b"PROXY ",
            b"TCP4 ",
            b"TCP6 ",
            b"UNKNOWN",
            b"\r\n",
            SIGNATURE,
            b"\x21\x11",
            b"\x21\x21",
            b"\x20\x00\x05\x01\x00\x00\x00\x00",
            b"::ffff:1.2.3.4",
            b"65535",
            b"0",
        ),
        limit=4_400,
    ),
    Target(
        "forwarded_for",
        forwarded_for,
        [
            b"1.2.3.4, 10.0.0.2",
            b"[2001:db8::1]:80, 10.1.1.1:443\n10.2.2.2",
            b"::ffff:1.2.3.4",
            b"fe80::1%eth0",
            b"unknown, 10.0.0.1",
            b"x",
        ],
        (b"10.0.0.2", b"1.2.3.4", b", ", b"\n", b"[", b"]:80", b"::ffff:", b"fd00::1", b"%", b":443"),
    ),
)
