"""One HTTP endpoint of somebody else's, asked within a deadline, and the only place where aiohttp's exceptions are caught.

Connections are kept and reused. Redirects are not followed and the environment's proxies not used: a token must not travel
to another place than the configured one. An answer is read up to a limit.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
import msgspec

from proxy.sources.breaker import Breaker, BreakerOptions
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.spoken import in_words

WAITING_LIMIT: Final = 1_000
"""Calls under way or waiting for a connection: more than a second's worth at 10 connections and 10 ms."""

KEEP_ALIVE: Final = 30.0
"""Seconds for which an idle connection is kept: below the 60 or 75 after which servers close theirs."""


class EndpointOptions(msgspec.Struct, frozen=True):
    """`timeout` in seconds bounds a call from the wait for a connection to the answer's last byte; `body_limit` in bytes.
    `ca_file` replaces the system's certificate authorities."""

    url: str
    timeout: float = 1.0
    connections: int = 10
    body_limit: int = 65_536
    ca_file: str | None = None
    breaker: BreakerOptions = BreakerOptions()


class Answered(msgspec.Struct, frozen=True):
    """An answer, whatever its status. `date`: the time there (epoch seconds, whole ones), None where it does not say."""

    status: int
    body: bytes
    challenge: str = ""
    date: float | None = None


class Endpoint:
    """Asks one URL. `call` raises Trouble, and nothing else, when there is no answer or a 5xx."""

    def __init__(self, options: EndpointOptions, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._tls = _trust(options)
        self._session: aiohttp.ClientSession | None = None
        self._waiting = 0
        self.breaker = Breaker(options.breaker, monotonic)

    async def call(self, headers: Mapping[str, str], form: Mapping[str, str] | None = None) -> Answered:
        """POST a form, or GET without one."""
        if self._waiting >= WAITING_LIMIT:
            raise Trouble("overload", "too many calls wait for the endpoint")
        if not self.breaker.admits():
            raise Trouble("breaker", f"not asked again yet: {self.breaker.why}")
        self._waiting += 1
        try:
            answer = await self._within_deadline(headers, form)
        except Trouble as trouble:
            self.breaker.failed(f"{trouble.why}: {trouble.detail}")
            raise
        except BaseException:
            self.breaker.abandoned()
            raise
        else:
            self.breaker.succeeded()
            return answer
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Close every connection. A later call makes new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _within_deadline(self, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Answered:
        try:
            async with asyncio.timeout(self._options.timeout):
                try:
                    return await self._once(headers, form)
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionResetError, ConnectionResetError):
                    return await self._once(headers, form)  # an idle connection had been closed; asking changes nothing there
        except TimeoutError:
            raise Trouble("timeout", "the endpoint did not answer in time") from None
        except aiohttp.ClientConnectorError as error:
            raise Trouble("refused", in_words(error.os_error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Trouble("error", type(error).__name__) from None  # messages may quote what was sent

    async def _once(self, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Answered:
        session = self._opened()
        method = "GET" if form is None else "POST"
        async with session.request(
            method, self._options.url, headers=headers, data=form, allow_redirects=False, ssl=self._tls
        ) as answer:
            body = await self._body(answer)
            if answer.status == 429:
                raise Trouble("overload", "the endpoint asks for fewer calls (429)")
            if answer.status >= 500 or answer.status in (301, 302, 303, 307, 308):
                raise Trouble("error", f"the endpoint answered {answer.status}")
            date = _date(answer.headers.get("Date", ""), answer.headers.get("Age", ""))
            return Answered(answer.status, body, answer.headers.get("WWW-Authenticate", ""), date)

    async def _body(self, answer: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > self._options.body_limit:
                raise Trouble("error", f"the answer is longer than {self._options.body_limit} bytes")
        return bytes(body)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._options.connections, keepalive_timeout=KEEP_ALIVE),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "scim-witness", "Accept": "application/json"},
                trust_env=False,
            )
        return self._session


def _trust(options: EndpointOptions) -> ssl.SSLContext | bool:
    return ssl.create_default_context(cafile=options.ca_file) if options.ca_file else True


def _date(date: str, age: str) -> float | None:
    """The time at which an answer was sent (RFC 9110 section 6.6.1), by a cache as well (RFC 9111 section 5.1)."""
    try:
        return parsedate_to_datetime(date).timestamp() + (int(age) if age.isascii() and age.isdigit() else 0)
    except (ValueError, OverflowError):
        return None
