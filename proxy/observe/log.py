"""The log: one JSON line per exchange, and the program's own events. Printable ASCII only, whatever a client sent.

The exchange line is encoded once, from the Exchange itself; events go through structlog, with redaction last.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import MutableMapping
from typing import Any, Final

import msgspec
import structlog

from proxy.core.exchange import Exchange
from proxy.observe.redact import redact
from proxy.observe.sink import Sink

TICK: Final = 0.2
"""Seconds between writes of what is buffered: a person who follows the log sees no delay."""

_THOUSANDTHS: Final = tuple(b'%03dZ",' % number for number in range(1_000))
_UNSAFE: Final = re.compile("[^ -~]")
_encode_json: Final = msgspec.json.Encoder(enc_hook=repr).encode


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000
    return f"\\u{0xD800 | number >> 10:04x}\\u{0xDC00 | number & 0x3FF:04x}"


def to_ascii(encoded: bytes) -> bytes:
    """Return JSON with everything beyond printable ASCII as escapes: a terminal or a line splitter sees nothing of it."""
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded
    return _UNSAFE.sub(_escape, encoded.decode()).encode("ascii")


class ExchangeLog:
    """Writes the canonical line of each exchange: key `event` is `exchange`, `time` ISO 8601 in UTC, then the fields of
    Exchange that differ from their defaults."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._prefix = b""

    def write(self, exchange: Exchange) -> None:
        """Take an exchange. It is written within TICK seconds, at once when it has an incident. Never raises, never waits."""
        second = int(exchange.at)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime('{"event":"exchange","time":"%Y-%m-%dT%H:%M:%S.', time.gmtime(second)).encode()
        try:
            body = self._encode(exchange)
        except UnicodeEncodeError:  # a lone surrogate in some text
            body = _encode_json(_without_surrogates(msgspec.structs.asdict(exchange)))
        if not body.isascii() or body.find(b"\x7f") >= 0:
            body = to_ascii(body)
        thousandth = _THOUSANDTHS[int((exchange.at - second) * 1000)]
        self._sink.append(b"".join((self._prefix, thousandth, body[1:], b"\n")))
        if exchange.incident:
            self._sink.flush()

    async def run(self) -> None:
        """Write what is buffered, for ever; a loop for `Tasks.keep`."""
        while True:
            await asyncio.sleep(TICK)
            self._sink.flush()


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(entry) for key, entry in value.items()}
    return [_without_surrogates(entry) for entry in value] if isinstance(value, list) else value


def render(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> bytes:
    """The last processor: mask, then encode. `event` and `time` come first."""
    masked = redact(event)
    first = {key: masked.pop(key) for key in ("event", "time", "level") if key in masked}
    line = first | masked
    try:
        return to_ascii(_encode_json(line))
    except UnicodeEncodeError:
        return to_ascii(_encode_json(_without_surrogates(line)))


def configure(sink: Sink, level: str = "info") -> None:
    """Send the program's events, and what libraries give to `logging`, to the sink as JSON lines. Call once."""
    number = logging.getLevelNamesMapping()[level.upper()]
    file: Any = sink  # write and flush are all that is asked of it
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(file),
        cache_logger_on_first_use=False,  # events are few, and a logger of a module must follow a new sink
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Bridge)]:
        root.removeHandler(handler)
    root.addHandler(Bridge())
    root.setLevel(max(number, logging.WARNING))


class Bridge(logging.Handler):
    """Turns a record of the standard library's logging (aiohttp, asyncio, redis) into an event."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a record with the wrong arguments is still worth its text
            message = str(record.msg)
        structlog.get_logger().log(record.levelno, message, logger=record.name, exc_info=record.exc_info)
