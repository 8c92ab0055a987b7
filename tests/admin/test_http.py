"""Targets as values, and which route they find."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.http import METHODS, Request, Response, Route, Routes, read, text


@pytest.mark.parametrize(
    "path, segments, query, target",
    [
        ("/", ("", ""), {}, b"/"),
        ("/a b/c", ("", "a b", "c"), {}, b"/a%20b/c"),
        ("/a/b", ("", "a/b"), {}, b"/a%2Fb"),
        ("/a", ("", "a"), {"x": "1", "y": "", "z": "a b"}, b"/a?x=1&y&z=a+b&x=2"),
        ("/\ufffd", ("", "\ufffd"), {"q": "\ufffd"}, b"/%ff?q=%ff"),
        ("*", ("*",), {}, b"*"),
    ],
)
def test_target(path, segments, query, target):
    found = read("GET", target)
    assert (path, segments, query) == (found.path, found.segments, dict(found.query))


@given(st.binary())
def test_any_bytes_are_a_request(target):
    assert isinstance(read("GET", target), Request)


async def named(request: Request) -> Response:
    return text(repr(dict(request.named)))


async def other(_request: Request) -> Response:
    return text("other")


ROUTES = Routes([Route("/i/stream", other), Route("/i/{id}", named), Route("/t/{tenant}/{day}", named)])


@pytest.mark.parametrize(
    "words, target",
    [
        ("other", b"/i/stream"),
        ("{'id': 'a/b'}", b"/i/a%2Fb"),
        ("{'tenant': '..', 'day': '1'}", b"/t/../1"),
        (None, b"/i/"),
        (None, b"/i/a/"),
        (None, b"/I/a"),
        (None, b"/t//1"),
        (None, b"*"),
    ],
)
async def test_first_route_that_fits_and_its_names(words, target):
    answer = await ROUTES.answer(read("GET", target))
    assert words == (answer.body.decode() if isinstance(answer, Response) else None)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_nothing_here_is_changed(method):
    answer = await ROUTES.answer(read(method, b"/i/1"))
    assert answer is not None
    assert (405, "GET, HEAD") == (answer.status, answer.headers["Allow"])
    assert method not in METHODS
