"""Sources that are asked over HTTP read their answers by aiohttp's parser in C, and by no other."""

from __future__ import annotations

from aiohttp import http_parser

from proxy.wire.state import StartFault


def require_c_parser() -> None:
    """Raises StartFault when aiohttp would run on its Python parser: most of the ways found to mislead it were in that one."""
    if http_parser.HttpResponseParser is http_parser.HttpResponseParserPy:
        raise StartFault("aiohttp runs without its C parser: unset AIOHTTP_NO_EXTENSIONS, or install aiohttp from its wheel.")
