"""Answers that end here: an OPTIONS that may go no further (RFC 9110 section 7.6.2), and what each answer of ours carries."""

from __future__ import annotations

import time
from email.utils import formatdate, parsedate_to_datetime

import pytest

from proxy.core.policy import Mode, Policy
from proxy.edge import answers
from tests.edge.cases import Case, ids, passes, refused, req, run
from tests.edge.world import FEEDS, REVOKED, World, get, post

OPTIONS = b"OPTIONS /scim/v2/Users HTTP/1.1"


def counted(expected: list[bytes]):
    def check(request):
        assert expected == request.values(b"max-forwards")

    return check


TABLE = [
    *(
        refused(f"Max-Forwards {value!r}", req(OPTIONS, b"Max-Forwards: " + value), why="max_forwards")
        for value in (b"", b"-1", b"+1", b"1.0", b"0x1", b"one", b"1, 1", b"1 1", b"\xb9", b"9" * 19)
    ),
    refused("Max-Forwards twice", req(OPTIONS, b"Max-Forwards: 0", b"max-forwards: 5"), why="max_forwards"),
    refused(
        "Max-Forwards taken away by Connection",
        req(OPTIONS, b"Connection: Max-Forwards", b"Max-Forwards: 5"),
        why="connection_names",
    ),
    refused("Max-Forwards of TRACE", req(b"TRACE / HTTP/1.1", b"Max-Forwards: 0"), 405),
    passes("Max-Forwards is counted down", req(OPTIONS, b"max-FORWARDS: 10"), counted([b"9"])),
    passes("the last Max-Forwards but one", req(OPTIONS, b"Max-Forwards: 1"), counted([b"0"])),
    passes("Max-Forwards with leading zeros", req(OPTIONS, b"Max-Forwards: 0010"), counted([b"9"])),
    passes("a respelt Max-Forwards is dropped", req(OPTIONS, b"Max_Forwards: 7"), counted([])),
    passes("Max-Forwards of another method is its own affair", req(b"GET / HTTP/1.1", b"Max-Forwards: 0"), counted([b"0"])),
    passes("Max-Forwards of another method need not be a number", req(b"GET / HTTP/1.1", b"Max-Forwards: x"), counted([b"x"])),
    Case(
        "the last OPTIONS of a client that closes",
        req(OPTIONS, b"Max-Forwards: 0", b"Connection: close"),
        (204,),
        methods=(b"OPTIONS",),
    ),
    Case("the last OPTIONS in HTTP/1.0", req(b"OPTIONS / HTTP/1.0", b"Max-Forwards: 0"), (204,), methods=(b"OPTIONS",)),
    Case("the last OPTIONS without a token", req(OPTIONS, b"Max-Forwards: 0", auth=False), (401,), closed=False),
]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("case", TABLE, ids=ids)
async def test_max_forwards(world: World, case: Case, feed: str):
    await run(world, case, feed)


async def test_an_options_that_may_go_no_further_is_answered_here(world: World):
    """After the verdict as any request, naming nothing of the backend; the connection and what follows on it are unharmed."""
    async with world.client() as client:
        for target in (b"*", b"/scim/v2/Users"):
            await client.send(get(target, method=b"OPTIONS", extra=b"Max-Forwards: 0\r\nContent-Length: 5\r\n") + b"hello")
            answer = await client.answer(b"OPTIONS")
            assert (204, b"", [b"scim-witness"]) == (answer.status, answer.body, answer.values(b"server"))
            assert {b"Server", b"Date", b"Allow"} == {name for name, _ in answer.headers}
        assert [] == world.backend.requests
        await client.send(get(extra=b"X-Case: next\r\n"))
        assert "next" == (await client.answer()).json()["case"]
    said = world.witness.exchanges[0]
    assert (204, "proxy", "active", "acme") == (said.status, said.answered_by, said.reason, said.tenant)


async def test_observe_mode_answers_it_here_too():
    async with World.open(policy=Policy(mode=Mode.OBSERVE)) as world:
        answer = await world.ask(get(token=REVOKED, method=b"OPTIONS", extra=b"Max-Forwards: 0\r\n"))
        assert (204, [], 1) == (answer.status, world.backend.requests, len(world.witness.incidents))
        world.check()


@pytest.mark.parametrize(
    "sent, status",
    [(get(b"/a#b"), 400), (get(token=b"x"), 401), (get(method=b"HEAD", token=b"x"), 401), (get(method=b"TRACE"), 405)],
)
async def test_every_answer_of_ours_is_dated(world: World, sent: bytes, status: int):
    before = int(time.time())
    answer = await world.ask(sent)
    (date,) = answer.values(b"date")
    assert status == answer.status
    assert before <= parsedate_to_datetime(date.decode()).timestamp() <= time.time()


async def test_a_backend_s_date_is_its_own(world: World):
    async def script(talk):
        await talk.answer(extra=b"Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n")

    world.backend.script = script
    assert [b"Tue, 15 Nov 1994 08:12:31 GMT"] == (await world.ask(post(b"x"))).values(b"date")


def test_the_date_is_written_once_a_second(monkeypatch: pytest.MonkeyPatch):
    now = 1_700_000_000.25
    written: list[float] = []

    def noted(at: float, *, usegmt: bool) -> str:
        written.append(at)
        return formatdate(at, usegmt=usegmt)

    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(answers, "formatdate", noted)
    lines = [answers.date_line() for _ in range(3)]
    now += 1
    lines.append(answers.date_line())
    assert [b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"] * 3 + [b"Date: Tue, 14 Nov 2023 22:13:21 GMT\r\n"] == lines
    assert 2 == len(written)
