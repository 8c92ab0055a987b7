"""The ops listener on a real socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from proxy.admin import desk
from proxy.admin.guard import GUESSES
from proxy.admin.health import Health, Part, State, Ticker
from proxy.admin.http import Request, Response, Route, Stream, text
from proxy.wire.ops_listener import OpsListener

TOKEN = "0123456789abcdef"
GOOD = [Part("doorkeeper", State.OK, kind="source")]


def raising(_part: str, error: BaseException) -> None:
    raise error


@asynccontextmanager
async def listening(parts: Iterable[Part] = GOOD, token: str | None = None, host: str = "127.0.0.1", **options: Any):
    health = Health(options.pop("ticker", None) or Ticker(), lambda: parts)
    render = options.pop("render", lambda accept: ("text/plain; version=0.0.4", f"accept {accept}\n".encode()))
    listener = OpsListener(host, 0, token=token, health=health, render_metrics=render, report=raising, **options)
    await listener.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.port}") as client:
            yield client, health, listener
    finally:
        await listener.stop()


async def test_metrics_are_rendered_off_the_loop_for_the_scrapers_accept_field():
    threads: list[int] = []

    def render(accept: str) -> tuple[str, bytes]:
        threads.append(threading.get_ident())
        return "application/openmetrics-text; version=1.0.0", accept.encode()

    async with (
        listening(render=render) as (client, _, _),
        client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as answer,
    ):
        assert await answer.text() == "application/openmetrics-text"
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0"
    assert threads != [threading.get_ident()]


async def test_only_two_scrapes_are_rendered_at_once():
    running, most, gate = [0], [0], threading.Event()
    lock = threading.Lock()

    def render(_accept: str) -> tuple[str, bytes]:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        gate.wait(10)
        with lock:
            running[0] -= 1
        return "text/plain", b""

    async with listening(render=render) as (client, _, _):

        async def scrape() -> int:
            async with client.get("/metrics") as answer:
                return int(answer.status)

        async with asyncio.TaskGroup() as group:
            scrapes = [group.create_task(scrape()) for _ in range(6)]
            while running[0] < 2:
                await asyncio.sleep(0.001)
            gate.set()
    assert [task.result() for task in scrapes] == [200] * 6
    assert most[0] == 2


async def test_every_answer_carries_security_headers_and_our_server_name():
    async with listening() as (client, _, _):
        for path in ("/livez", "/metrics", "/none"):
            async with client.get(path) as answer:
                assert answer.headers["Server"] == "scim-witness"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Cache-Control"] == "no-store"
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
                assert "unsafe" not in policy
                assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "status, text, parts",
    [
        (200, "ready\n", GOOD),
        (200, "degraded\n", [*GOOD, Part("store", State.DOWN, "connection refused")]),
        (503, "not_ready\n", [Part("doorkeeper", State.DOWN, kind="source")]),
    ],
)
async def test_readyz(status, text, parts):
    async with listening(parts) as (client, _, _), client.get("/readyz") as answer:
        assert (answer.status, await answer.text()) == (status, text)


async def test_readyz_verbose_tells_the_parts():
    parts = [*GOOD, Part("store", State.DOWN, "connection refused")]
    async with listening(parts) as (client, _, _), client.get("/readyz?verbose") as answer:
        assert await answer.json() == {
            "status": "degraded",
            "ready": True,
            "parts": [
                {"name": "doorkeeper", "state": "ok", "detail": "", "kind": "source", "p95": None, "breaker": ""},
                {"name": "store", "state": "down", "detail": "connection refused", "kind": "other", "p95": None, "breaker": ""},
            ],
        }


async def test_draining_is_not_ready_and_alive():
    async with listening() as (client, health, _):
        health.draining = True
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "draining\n")
        async with client.get("/livez") as answer:
            assert answer.status == 200


async def test_livez_says_when_the_loop_stood_still():
    now = [0.0]
    async with listening(ticker=Ticker(lambda: now[0])) as (client, _, _):
        now[0] = 1000.0
        async with client.get("/livez") as answer:
            assert answer.status == 503


async def test_part_that_cannot_be_read_is_an_error_of_ours_and_not_the_end():
    def broken() -> Iterable[Part]:
        raise RuntimeError("broken")

    health = Health(Ticker(), broken)
    reported: list[tuple[str, str]] = []
    listener = OpsListener(
        "127.0.0.1", 0, token=None, health=health, render_metrics=lambda _: ("text/plain", b""),
        report=lambda part, error: reported.append((part, str(error))),
    )  # fmt: skip
    await listener.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{listener.port}") as client:
        async with client.get("/readyz") as answer:
            assert answer.status == 500
            assert reported == [("ops", "broken")]
        async with client.get("/livez") as answer:
            assert answer.status == 200
    await listener.stop()


class TestGuarded:
    async def test_probes_are_open_and_tell_one_word(self):
        async with listening(token=TOKEN, host="0.0.0.0") as (client, _, _):
            for path in ("/livez", "/readyz"):
                async with client.get(path) as answer:
                    assert answer.status == 200

    @pytest.mark.parametrize("path", ["/metrics", "/readyz?verbose", "/livez?x", "/none", "/api/own"])
    async def test_all_else_needs_the_token(self, path):
        async def own(_request: Request) -> Response:
            return text("own")

        async with listening(token=TOKEN, host="0.0.0.0", routes=lambda: [Route("/api/own", own)]) as (client, _, _):
            async with client.get(path) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == 'Bearer realm="scim-witness ops"'
            async with client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                assert answer.status == (404 if path == "/none" else 200)

    async def test_guessing_ends_in_a_pause(self):
        async with listening(token=TOKEN, host="0.0.0.0") as (client, _, _):
            for _ in range(GUESSES):
                async with client.get("/metrics", headers={"Authorization": "Bearer wrong"}) as answer:
                    assert answer.status == 401
            async with client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                assert answer.status == 429
                assert answer.headers["Retry-After"] == "60"

    async def test_page_of_another_site_cannot_reach_loopback_by_its_own_name(self):
        async with listening() as (client, _, _), client.get("/metrics", headers={"Host": "evil.example.com"}) as answer:
            assert answer.status == 403


class TestAudit:
    async def test_one_line_per_access_without_the_token(self):
        with capture_logs() as lines:
            async with listening(token=TOKEN, host="0.0.0.0") as (client, _, _):
                for value in (f"Bearer {TOKEN}", "Bearer planted-wrong-token"):
                    async with client.get("/none?x=planted", headers={"Authorization": value}):
                        pass
        assert [(line["access"], line["path"], line["status"], line["log_level"]) for line in lines] == [
            ("granted", "/none", 404, "info"),
            ("wrong", "/none", 401, "warning"),
        ]
        assert all(line["peer"] == "127.0.0.1" for line in lines)
        assert TOKEN not in str(lines)
        assert "planted" not in str(lines)

    async def test_what_is_asked_every_few_seconds_leaves_none_that_is_seen(self):
        with capture_logs() as lines:
            async with listening() as (client, _, _):
                for path in (*sorted(desk.AGAIN), "/overview/record"):
                    async with client.get(path):
                        pass
        assert ["debug"] * len(desk.AGAIN) + ["info"] == [line["log_level"] for line in lines]

    async def test_who_may_not_ask_for_them_is_seen(self):
        with capture_logs() as lines:
            async with listening(token=TOKEN, host="0.0.0.0") as (client, _, _):
                for path in sorted(desk.AGAIN):
                    async with client.get(path) as answer:
                        assert 401 == answer.status
        assert {"warning"} == {line["log_level"] for line in lines}

    async def test_probes_leave_none(self):
        with capture_logs() as lines:
            async with listening() as (client, _, _), client.get("/readyz"):
                pass
        assert lines == []


async def test_port_in_use_is_an_error():
    async with listening() as (_, _, listener):
        health = Health(Ticker(), lambda: GOOD)
        other = OpsListener(
            "127.0.0.1", listener.port, token=None, health=health, render_metrics=lambda _: ("", b""), report=raising
        )
        with pytest.raises(OSError, match="in use"):
            await other.start()
        await other.stop()


def test_beyond_loopback_without_a_token_does_not_start():
    health = Health(Ticker(), lambda: GOOD)
    with pytest.raises(ValueError, match="needs a token"):
        OpsListener("0.0.0.0", 0, token=None, health=health, render_metrics=lambda _: ("", b""), report=raising)


class TestServer:
    """What the server below the desk does with what a client sends."""

    @staticmethod
    async def exchange(port: int, sent: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()

    @pytest.mark.parametrize(
        "status, sent",
        [
            (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a\x01b\r\n\r\n"),
            (501, b"BREW /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            (405, b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nonly the beginning"),
            (404, b"GET /%ff%00/..//x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        ],
    )
    async def test_what_cannot_be_is_refused_and_the_connection_ends(self, status, sent):
        async with listening() as (_, _, ops):
            answer = await self.exchange(ops.port, sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"X-Content-Type-Options: nosniff\r\n" in answer

    async def test_head_has_the_length_and_no_body(self):
        async with listening() as (client, _, _), client.head("/livez") as answer:
            assert (200, "6") == (answer.status, answer.headers["Content-Length"])
            assert b"" == await answer.read()

    async def test_several_requests_on_one_connection_and_an_old_client(self):
        async with listening() as (_, _, ops):
            twice = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /readyz HTTP/1.0\r\n\r\n"
            answer = await self.exchange(ops.port, twice)
        assert 2 == answer.count(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nready\n")

    async def test_stream_is_written_as_it_comes_and_closed_when_the_client_leaves(self):
        closed = asyncio.Event()

        async def ticks() -> AsyncGenerator[bytes, None]:
            try:
                yield b"one"
                while True:
                    await asyncio.sleep(0.01)
                    yield b": still there?"
            finally:
                closed.set()

        async def stream(_request: Request) -> Stream:
            return Stream(ticks(), "text/event-stream")

        async with listening(routes=lambda: [Route("/ticks", stream)]) as (_, _, ops):
            reader, writer = await asyncio.open_connection("127.0.0.1", ops.port)
            writer.write(b"GET /ticks HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\none"), 10)
            writer.transport.abort()
            await asyncio.wait_for(closed.wait(), 10)

    async def test_api_and_pages_are_made_once_when_one_is_first_asked_for_and_probes_do_not_wait(self):
        made: list[str] = []
        gate = threading.Event()

        async def own(_request: Request) -> Response:
            return text("own")

        def make() -> list[Route]:
            made.append(threading.current_thread().name)
            gate.wait(10)
            return [Route("/own", own)]

        async with listening(routes=make) as (client, _, _):

            async def ask() -> str:
                async with client.get("/own") as answer:
                    return str(await answer.text())

            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask()) for _ in range(3)]
                while not made:
                    await asyncio.sleep(0.001)
                async with client.get("/livez") as answer:
                    assert answer.status == 200
                gate.set()
            assert ["own"] * 3 == [task.result() for task in asked]
        assert 1 == len(made)
        assert threading.current_thread().name not in made
