"""What a table of cases is: bytes in, what must hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tests.edge.backend import Request
from tests.edge.world import GOOD, Answer, World, get, pieces

Check = Callable[[World, list[Answer]], None]
AUTH = b"Authorization: Bearer " + GOOD
HOST = b"Host: scim.example"


@dataclass(frozen=True)
class Case:
    """`sent` bytes lead to `answers` (statuses in order), `closed` or not, and `reached` requests at the backend. `why` is a
    word that the last answer's detail must hold."""

    name: str
    sent: bytes
    answers: tuple[int, ...]
    closed: bool = True
    reached: int = 0
    why: str = ""
    holds: Check | None = None
    methods: tuple[bytes, ...] = ()


def req(
    line: bytes = b"GET /scim/v2/Users HTTP/1.1", *fields: bytes, host: bool = True, auth: bool = True, body: bytes = b""
) -> bytes:
    """A request head, with Host and a good token unless told otherwise, and what follows it."""
    lines = [line, *([HOST] if host else []), *([AUTH] if auth else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def refused(name: str, sent: bytes, status: int = 400, why: str = "", **more: object) -> Case:
    """A case that is refused with one answer, closes, and reaches nobody."""
    return Case(name, sent, (status,), why=why, **more)  # type: ignore[arg-type]


def passes(name: str, sent: bytes, check: Callable[[Request], None] | None = None, status: int = 200) -> Case:
    """A case that passes and keeps the connection; `check` looks at what the backend got."""

    def holds(world: World, answers: list[Answer]) -> None:
        del answers
        if check is not None:
            check(world.backend.requests[0])

    return Case(name, sent, (status,), closed=False, reached=1, holds=holds, methods=(sent.lstrip(b"\r\n").partition(b" ")[0],))


async def run(world: World, case: Case, feed: str) -> None:
    """Send a case and see that it holds; then a good client gets its own answer."""
    async with world.client() as client:
        sending = asyncio.create_task(client.send_pieces(list(pieces(case.sent, feed))))
        answers: list[Answer] = []
        for number in range(len(case.answers)):
            answer = await client.answer(case.methods[number] if number < len(case.methods) else b"GET")
            assert answer is not None, f"{case.name}: ended after {[a.status for a in answers]}"
            answers.append(answer)
        assert list(case.answers) == [answer.status for answer in answers], [answer.body for answer in answers]
        await sending
        if case.closed:
            assert await client.closed(), f"{case.name}: still open"
        else:
            await client.send(get(extra=b"X-Case: same\r\n"))
            following = await client.answer()
            assert following is not None
            assert (200, "same") == (following.status, following.json()["case"])
            assert world.backend.requests.pop().values(b"x-case") == [b"same"]
    assert case.reached == len(world.backend.requests), [(r.method, r.target) for r in world.backend.requests]
    if case.why:
        assert case.why in answers[-1].json()["detail"]
    if case.holds is not None:
        case.holds(world, answers)
    world.backend.requests.clear()
    await world.good()
    world.backend.requests.clear()


def has_body(expected: bytes) -> Callable[[Request], None]:
    """The backend got this body."""

    def check(request: Request) -> None:
        assert expected == request.body

    return check


def own_length(request: Request) -> None:
    """The backend got one length, in our writing."""
    assert [b"5"] == request.values(b"content-length")
    assert [] == request.values(b"transfer-encoding")


def target_is(expected: bytes) -> Callable[[Request], None]:
    """The backend got these very bytes as target."""

    def check(request: Request) -> None:
        assert expected == request.target

    return check


def host_is(expected: bytes) -> Callable[[Request], None]:
    """The backend got this Host."""

    def check(request: Request) -> None:
        assert [expected] == request.values(b"host")

    return check


def ids(case: Case) -> str:
    """The name of a case, for pytest."""
    return case.name
