"""The PROXY protocol on the wire: who is believed, what is refused, and that no header is ever taken for a request."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.proxy_header import SIGNATURE, V2_FIXED, ProxyHeaderError, Told, parse_v1, parse_v2, v2_length
from proxy.edge.client_connection import Times
from tests.edge.certificates import Authority
from tests.edge.world import FEEDS, PATIENCE, Answer, World, get, pieces, until

TRUSTED = ipaddress.ip_network("127.0.0.0/8")
IPV4 = bytes([203, 0, 113, 9, 127, 0, 0, 1, 0x12, 0x67, 0x01, 0xBB])
IPV6 = ipaddress.IPv6Address("2001:db8::9").packed + bytes(16) + b"\x12\x67\x01\xbb"


def v2(rest: bytes = IPV4, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + bytes([command, family]) + (len(rest) if length is None else length).to_bytes(2, "big") + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


HERE = "127.0.0.1"
GOOD = {
    "v1 TCP4": (b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n", "203.0.113.9", b"http"),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::9 ::1 4711 443\r\n", "2001:db8::9", b"http"),
    "v1 TCP6 in other spelling": (b"PROXY TCP6 2001:DB8:0:0:0:0:0:9 ::1 4711 443\r\n", "2001:db8::9", b"http"),
    "v1 TCP6 with IPv4 within": (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 443\r\n", "203.0.113.9", b"http"),
    "v1 of the greatest length": (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", HERE, b"http"),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", HERE, b"http"),
    "v1 port 0": (b"PROXY TCP4 203.0.113.9 127.0.0.1 0 65535\r\n", "203.0.113.9", b"http"),
    "v2 TCP4": (v2(), "203.0.113.9", b"http"),
    "v2 TCP6": (v2(IPV6, family=0x21), "2001:db8::9", b"http"),
    "v2 LOCAL": (v2(b"", command=0x20, family=0), HERE, b"http"),
    "v2 LOCAL with what is to be ignored": (v2(b"\xff" * 50, command=0x20, family=0x99), HERE, b"http"),
    "v2 of no family": (v2(b"", family=0), HERE, b"http"),
    "v2 of a unix socket": (v2(bytes(216), family=0x31), HERE, b"http"),
    "v2 with a client that used TLS": (v2(IPV4 + tlv(0x20, b"\x01" + bytes(4)) + tlv(0x02, b"h")), "203.0.113.9", b"https"),
    "v2 with a client that did not": (v2(IPV4 + tlv(0x20, b"\x00" + bytes(4))), "203.0.113.9", b"http"),
    "v2 with other extensions": (v2(IPV4 + tlv(0x04, bytes(900)) + tlv(0xEA, b"\x01vpce")), "203.0.113.9", b"http"),
}
V1_BAD = {
    "no header": get(),
    "another word": b"PROXX TCP4 203.0.113.9 127.0.0.1 1 2\r\n",
    "small letters": b"proxy TCP4 203.0.113.9 127.0.0.1 1 2\r\n",
    "two spaces": b"PROXY  TCP4 203.0.113.9 127.0.0.1 1 2\r\n",
    "bare LF": b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\n",
    "CR within": b"PROXY TCP4 203.0.113.9 127.0.0.1 1\r2\r\n",
    "trailing space": b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2 \r\n",
    "five words": b"PROXY TCP4 203.0.113.9 127.0.0.1 1\r\n",
    "seven words": b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2 3\r\n",
    "family of datagrams": b"PROXY UDP4 203.0.113.9 127.0.0.1 1 2\r\n",
    "IPv6 address as TCP4": b"PROXY TCP4 2001:db8::9 ::1 1 2\r\n",
    "IPv4 address as TCP6": b"PROXY TCP6 203.0.113.9 127.0.0.1 1 2\r\n",
    "leading zeros": b"PROXY TCP4 203.000.113.009 127.0.0.1 1 2\r\n",
    "short address": b"PROXY TCP4 203.0.9 127.0.0.1 1 2\r\n",
    "number too great": b"PROXY TCP4 203.0.113.256 127.0.0.1 1 2\r\n",
    "scope": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "name": b"PROXY TCP4 localhost 127.0.0.1 1 2\r\n",
    "port too great": b"PROXY TCP4 203.0.113.9 127.0.0.1 65536 2\r\n",
    "destination's port too great": b"PROXY TCP4 203.0.113.9 127.0.0.1 1 99999\r\n",
    "port with a leading zero": b"PROXY TCP4 203.0.113.9 127.0.0.1 01 2\r\n",
    "port with a sign": b"PROXY TCP4 203.0.113.9 127.0.0.1 +1 2\r\n",
    "NUL": b"PROXY TCP4 203.0.113.9\x00 127.0.0.1 1 2\r\n",
    "UNKNOWN with odd bytes": b"PROXY UNKNOWN \xff\x00\r\n",
    "UNKNOWN run together": b"PROXY UNKNOWNX\r\n",
    "longer than a line may be": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "a line without an end": b"PROXY TCP4 " + b"1" * 200,
}
V2_BAD = {
    "another version": v2(command=0x31),
    "version 1 in binary": v2(command=0x11),
    "another command": v2(command=0x22),
    "datagrams": v2(family=0x12),
    "datagrams over IPv6": v2(IPV6, family=0x22),
    "unix datagrams": v2(bytes(216), family=0x32),
    "unknown family": v2(family=0x41),
    "no transport": v2(family=0x10),
    "IPv4 cut short": v2(IPV4[:-1]),
    "IPv6 cut short": v2(IPV6[:-1], family=0x21),
    "unix cut short": v2(bytes(215), family=0x31),
    "extension cut short": v2(IPV4 + b"\x04\x00"),
    "extension beyond the end": v2(IPV4 + b"\x04\x00\x09abc"),
    "TLS extension too short": v2(IPV4 + tlv(0x20, b"\x01")),
    "one octet behind": v2(IPV4 + b"\x00"),
    "length beyond the bound": v2(bytes(4_097)),
    "length of 65535": v2(length=65_535),
    "signature broken in its last octet": v2().replace(b"QUIT\n", b"QUIT\r"),
    "signature cut by an empty line": b"\r\n\r\n" + get(),
}


@contextlib.asynccontextmanager
async def fronted(**more: object) -> AsyncIterator[World]:
    options = {"trusted": (TRUSTED,), "proxy_protocol": True, **more}
    async with World.open(**options) as world:  # type: ignore[arg-type]
        yield world
        assert [] == world.backend.complaints


async def ask(world: World, sent: bytes) -> Answer:
    async with world.client() as client:
        await client.send(sent)
        answer = await client.answer()
        assert answer is not None
        return answer


@pytest.mark.parametrize("feed", FEEDS)
async def test_the_client_is_whom_the_header_names(feed: str):
    async with fronted() as world:
        for name, (header, address, scheme) in GOOD.items():
            async with world.client() as client:
                await client.send_pieces(list(pieces(header + get(extra=b"X-Case: a\r\n"), feed)))
                assert "a" == (await client.answer()).json()["case"], name
                await client.send(get(extra=b"X-Case: b\r\n"))
                assert "b" == (await client.answer()).json()["case"], name
            assert [address] * 2 == [exchange.client for exchange in world.witness.exchanges[-2:]], name
            last = world.backend.last
            assert ([address.encode()], [scheme]) == (last.values(b"x-forwarded-for"), last.values(b"x-forwarded-proto")), name
        world.check()


@pytest.mark.parametrize("feed", FEEDS)
async def test_a_header_that_is_none_ends_the_connection_without_a_word(feed: str):
    async with fronted() as world:
        for name, sent in {**V1_BAD, **V2_BAD}.items():
            async with world.client() as client:
                await client.send_pieces(list(pieces(sent + get(), feed)))
                assert b"" == await client.read_to_end(), name
            assert ([], []) == (world.backend.requests, world.witness.exchanges), name
            await until(lambda: world.failures)
            assert [ProxyHeaderError] == [type(error) for error in world.failures], f"{name}: it is reported"
            world.failures.clear()
            assert 200 == (await ask(world, v2() + get())).status
            world.backend.requests.clear()
            world.witness.exchanges.clear()


async def test_a_header_from_who_is_not_trusted_is_a_bad_request():
    async with World.open(trusted=(ipaddress.ip_network("10.0.0.0/8"),), proxy_protocol=True) as world:
        for header in (GOOD["v1 TCP4"][0], GOOD["v2 TCP4"][0]):
            answer = await ask(world, header + get())
            assert 400 == answer.status
        assert [] == world.backend.requests
        await world.good()
        assert "127.0.0.1" == world.witness.exchanges[-1].client
        world.check()


async def test_a_header_is_a_bad_request_where_none_is_wanted():
    async with World.open(trusted=(TRUSTED,)) as world:
        for header in (GOOD["v1 TCP4"][0], GOOD["v2 TCP4"][0]):
            assert 400 == (await ask(world, header + get())).status
        await world.good()


async def test_a_second_header_is_a_bad_request():
    async with fronted() as world:
        for header in (GOOD["v1 TCP4"][0], GOOD["v2 TCP4"][0]):
            assert 400 == (await ask(world, header + header + get())).status
        assert [] == world.backend.requests


async def test_what_the_named_client_claims_of_others_is_not_believed():
    """Trust belongs to the address that counts: the one in the header, not the one of the connection."""
    async with fronted() as world:
        claim = get(extra=b"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n")
        assert 200 == (await ask(world, v2() + claim)).status
        assert "203.0.113.9" == world.witness.exchanges[-1].client
        last = world.backend.last
        assert ([b"203.0.113.9"], [b"http"]) == (last.values(b"x-forwarded-for"), last.values(b"x-forwarded-proto"))
        assert 200 == (await ask(world, v2(b"", command=0x20, family=0) + claim)).status
        assert "198.51.100.7" == world.witness.exchanges[-1].client


async def test_a_header_that_never_ends_has_the_deadline_of_a_head():
    async with fronted(times=Times(head=0.3)) as world:
        for begun in (b"", b"PROXY TCP4 ", v2()[:14], v2(length=100)):
            async with world.client() as client:
                await client.send(begun)
                assert b"" == await client.read_to_end()
        await until(lambda: world.listener.entering == 0)
        assert [] == world.failures, "a health check of the front that says nothing is no fault"


async def test_whoever_is_on_the_threshold_counts_as_a_connection():
    async with fronted(max_connections=2) as world:
        silent = [socket.create_connection(("127.0.0.1", world.port)) for _ in range(2)]
        await until(lambda: world.listener.entering == 2)
        async with world.client() as client:
            await client.send(v2() + get())
            assert b"" == await client.read_to_end()
        assert 1 == world.listener.turned_away
        for sock in silent:
            sock.close()
        await until(lambda: world.listener.entering == 0)
        assert 200 == (await ask(world, v2() + get())).status


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    room: Path = tmp_path_factory.mktemp("tls")
    return Authority(room)


@pytest.mark.parametrize("header", [GOOD["v1 TCP4"][0], GOOD["v2 TCP4"][0]], ids=["v1", "v2"])
async def test_the_header_comes_before_the_handshake(authority: Authority, header: bytes):
    async with fronted(listener_tls=authority.server()) as world:
        sock = socket.create_connection(("127.0.0.1", world.port))
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(sock, header)
        reader, writer = await asyncio.open_connection(sock=sock, ssl=authority.client(), server_hostname="localhost")
        writer.write(get())
        assert b"HTTP/1.1 200 OK\r\n" == await asyncio.wait_for(reader.readline(), PATIENCE)
        writer.close()
        await until(lambda: world.witness.exchanges)
        assert "203.0.113.9" == world.witness.exchanges[-1].client
        assert [b"https"] == world.backend.last.values(b"x-forwarded-proto")
        world.check()


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: SIGNATURE + rest))
@example(v2(IPV4 + tlv(0x20, bytes(5))))
def test_any_bytes_are_a_value_or_a_fault(data: bytes):
    told: list[Told] = []
    with contextlib.suppress(ProxyHeaderError):
        told.append(parse_v1(data))
    with contextlib.suppress(ProxyHeaderError):
        length = v2_length(data[:V2_FIXED])
        told.append(parse_v2(data[:V2_FIXED], data[V2_FIXED : V2_FIXED + length]))
    for one in told:
        assert one.address == "" or str(ipaddress.ip_address(one.address)) == one.address
        assert 0 <= one.port <= 65_535
