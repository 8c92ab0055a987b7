"""Log lines: one per exchange, valid JSON in printable ASCII for any bytes, and no token in any of them."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.observe.log import TICK, Bridge, ExchangeLog, configure, to_ascii
from proxy.observe.redact import DEPTH_LIMIT, MASK, redact
from proxy.observe.sink import Sink

PLANTED = "pl4nted-t0ken-of-the-test"


class ListSink(Sink):
    """Keeps what was appended, and counts flushes."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.flushes = 0

    def append(self, line: bytes) -> None:
        self.lines.append(line)

    write = append

    def flush(self) -> None:
        self.flushes += 1


def exchange(**changes) -> Exchange:
    values: dict[str, Any] = {
        "id": "r1",
        "at": 1764000000.25,
        "method": "GET",
        "target": "/scim/v2/Users",
        "operation": "Users.list",
        "tenant": "acme",
        "client": "192.0.2.1",
        "status": 200,
        "answered_by": AnsweredBy.BACKEND,
        "credential": "bearer",
    }
    return Exchange(**(values | changes))


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def events(sink):
    """The program's log, configured as it is at start and taken back afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure(sink, "info")
    yield sink
    root.handlers[:] = handlers
    root.setLevel(level)


def test_line_of_an_exchange(sink):
    ExchangeLog(sink).write(exchange(reason="active", verdict="allow", total_seconds=0.5))
    assert [json.loads(line) for line in sink.lines] == [
        {
            "event": "exchange",
            "time": "2025-11-24T16:00:00.250Z",
            "id": "r1",
            "at": 1764000000.25,
            "method": "GET",
            "target": "/scim/v2/Users",
            "operation": "Users.list",
            "tenant": "acme",
            "client": "192.0.2.1",
            "status": 200,
            "answered_by": "backend",
            "credential": "bearer",
            "verdict": "allow",
            "reason": "active",
            "total_seconds": 0.5,
        }
    ]


def test_incident_is_written_at_once_and_others_wait_for_the_tick(sink):
    log = ExchangeLog(sink)
    log.write(exchange())
    assert sink.flushes == 0
    log.write(exchange(incident="01J"))
    assert sink.flushes == 1


@given(st.floats(0, 4e9))
def test_time_is_the_exchange_time_to_the_millisecond(at):
    sink = ListSink()
    ExchangeLog(sink).write(exchange(at=at))
    written = datetime.fromisoformat(json.loads(sink.lines[0])["time"]).timestamp()
    assert 0 <= at - written < 0.00101


@given(st.text(), st.text(), st.text(), st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_text_gives_one_line_of_printable_ascii_that_reads_back(tenant, agent, host, target):
    sink = ListSink()
    ExchangeLog(sink).write(exchange(tenant=tenant, user_agent=agent, host=host, target=target))
    (line,) = sink.lines
    assert line.endswith(b"}\n")
    assert all(0x20 <= octet <= 0x7E for octet in line[:-1])
    read = json.loads(line)
    assert read["tenant"] == tenant
    assert read.get("user_agent", "") == agent
    assert read["target"] == target or any(0xDC80 <= ord(character) <= 0xDCFF for character in target)


@pytest.mark.parametrize("text", ["\r\n", "\x1b[31m", "\u2028", "\x7f", "\x85", "😀", "\x00", '"\\'])
def test_what_would_break_a_line_or_a_terminal_is_escaped(sink, text):
    ExchangeLog(sink).write(exchange(user_agent=f"a{text}b"))
    assert sink.lines[0].decode().rstrip("\n").isprintable()
    assert sink.lines[0].isascii()
    assert json.loads(sink.lines[0])["user_agent"] == f"a{text}b"


@given(st.text())
def test_to_ascii_keeps_the_meaning(text):
    encoded = json.dumps(text, ensure_ascii=False)
    if not any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        assert json.loads(to_ascii(encoded.encode())) == text


async def test_loop_writes_what_is_buffered_at_every_tick(sink, monkeypatch):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("proxy.observe.log.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await ExchangeLog(sink).run()
    assert sink.flushes == 2
    assert slept == [TICK] * 3


class TestEvents:
    def test_are_json_with_time_and_level(self, events):
        structlog.get_logger().info("started", port=8080, path=Path("/x"))
        read = json.loads(events.lines[0])
        assert (read["event"], read["level"], read["port"]) == ("started", "info", 8080)
        assert datetime.fromisoformat(read["time"]).utcoffset() is not None
        assert events.flushes == 1

    def test_below_the_level_are_not_written(self, events):
        structlog.get_logger().debug("detail")
        assert events.lines == []

    def test_of_libraries_arrive_too(self, events):
        logging.getLogger("aiohttp.server").error("Error handling request from %s", "192.0.2.1")
        read = json.loads(events.lines[0])
        assert (read["event"], read["logger"]) == ("Error handling request from 192.0.2.1", "aiohttp.server")

    def test_of_libraries_with_wrong_arguments_are_kept(self, events):
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "two %s %s", ("one",), None)
        next(handler for handler in logging.getLogger().handlers if isinstance(handler, Bridge)).emit(record)
        assert json.loads(events.lines[0])["event"] == "two %s %s"

    def test_lone_surrogates_do_not_break_a_line(self, events):
        structlog.get_logger().info("odd", value="\udc80", nested={"\udc81": ["\udc82"]})
        assert json.loads(events.lines[0])["value"] == "\\udc80"

    def test_configuring_again_does_not_double_lines(self, events):
        configure(events, "info")
        logging.getLogger("x").error("once")
        assert len(events.lines) == 1

    @pytest.mark.parametrize(
        "event",
        [
            {"token": PLANTED},
            {"access_token": PLANTED},
            {"Authorization": PLANTED},
            {"headers": {"authorization": PLANTED, "Cookie": PLANTED}},
            {"headers": [{"x-api-key": PLANTED}]},
            {"password": [PLANTED]},
            {"client_secret": {"value": PLANTED}},
            {"dsn": f"postgresql://u:{PLANTED}@db/app"},
            {"detail": f"cannot connect to redis://:{PLANTED}@redis/0"},
            {"detail": f"header was Bearer {PLANTED}"},
            {"detail": f"header was BEARER  {PLANTED}"},
            {"detail": f"GET /Users?access_token={PLANTED}&x=1"},
            {"detail": f'{{"refresh_token": "{PLANTED}"}}'},
            {"detail": f"grant_type=refresh_token&refresh_token={PLANTED}"},
            {"raw": PLANTED.encode()},
            {"raw": bytearray(PLANTED.encode())},
            {"error": ValueError(f"bad Authorization: Bearer {PLANTED}")},
            {f"Bearer {PLANTED}": 1},
            {"secret": Secret(PLANTED.encode(), "f" * 32)},
            {"anything": Secret(PLANTED.encode(), "f" * 32)},
            {"pair": (Secret(PLANTED.encode(), "f" * 32), 1)},
        ],
    )
    def test_planted_token_is_not_written(self, events, event):
        structlog.get_logger().warning("something", **event)
        assert len(events.lines) == 1
        assert PLANTED not in events.lines[0].decode()

    def test_planted_token_in_a_traceback_is_not_written(self, events):
        try:
            raise ConnectionError(f"postgresql://u:{PLANTED}@db refused; Bearer {PLANTED}")  # noqa: TRY301 - the case itself
        except ConnectionError:
            structlog.get_logger().exception("boom")
            logging.getLogger("asyncpg").exception("boom")
        assert len(events.lines) == 2
        assert all(PLANTED.encode() not in line and b"ConnectionError" in line for line in events.lines)

    def test_planted_token_in_a_library_message_is_not_written(self, events):
        logging.getLogger("aiohttp").error("bad header: Authorization: Bearer %s", PLANTED)
        assert PLANTED.encode() not in events.lines[0]


class TestRedact:
    def test_keeps_what_helps(self):
        fingerprint = Fingerprinter(b"k" * 16).of(PLANTED.encode())
        event = {
            "token_fingerprint": fingerprint,
            "tokens": 5,
            "token_file": "/etc/tokens.toml",
            "port": 1,
            "ok": True,
            "none": None,
        }
        assert redact(event) == event

    def test_secret_prints_as_its_fingerprint(self):
        assert redact({"who": Secret(b"x", "f" * 32)}) == {"who": f"<secret {'f' * 32}>"}

    @pytest.mark.parametrize(
        "text",
        [
            f"Bearer Bearer {PLANTED}",
            f"Authorization: bearer%20Basic {PLANTED}",
            f'bad member: token="refresh_token": "{PLANTED}"',
            f"password: code={PLANTED}",
        ],
    )
    def test_a_token_behind_a_second_scheme_or_name_is_masked(self, text):
        assert PLANTED not in redact({"event": text})["event"]
        assert MASK in redact({"event": text})["event"]

    def test_nesting_has_an_end(self):
        event: dict[str, object] = {"x": 1}
        for _ in range(DEPTH_LIMIT + 5):
            event = {"x": event}
        assert MASK in json.dumps(redact(event))

    def test_cycle_has_an_end(self):
        event: dict[str, object] = {}
        event["self"] = event
        assert MASK in json.dumps(redact(event))

    def test_long_text_is_cut_in_bounded_time(self):
        assert len(redact({"x": "a" * 1_000_000})["x"]) < 20_000
