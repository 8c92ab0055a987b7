"""Each address that the running demo prints answers, read as tests/deploy reads it."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from proxy.core.absence import Span
from proxy.settings import load
from proxy.wire import open_reader
from tests.demo.running import demo, read

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def tutorial(config: pathlib.Path, incident: str) -> Iterator[tuple[str, str]]:
    """Every command of docs/tutorial.md that goes with a running demo, as it stands there but for the incident, and what it
    said."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
    commands = re.findall(r"^ {4}scim-witness (.+)$", page, re.MULTILINE)
    assert {"incidents", "explain", "last-seen", "absence", "doctor"} <= {command.split()[0] for command in commands}
    for command in commands:
        words = [incident[:12] if re.fullmatch("01[0-9A-Z]{10}", word) else word for word in shlex.split(command)]
        done = subprocess.run(
            [sys.executable, "-m", "proxy.cli", *words],
            env={**os.environ, "SCIM_WITNESS_CONFIG": str(config)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, (command, done.stdout, done.stderr)
        yield command, done.stdout + done.stderr


async def beats(config: pathlib.Path) -> list[Span]:
    async with open_reader(load(config, {})) as reader:
        return await reader.heartbeats(time.time() - 600, time.time() + 60)


def test_each_printed_address_answers_and_a_signal_ends_it() -> None:
    with demo() as running:
        printed = running.printed
        status, body = ask(f"{printed.proxy}/Users")
        assert (401, True) == (status, "incident" in body.lower())  # nobody's token: the proxy itself answers
        for url, holds in (
            (printed.operators, "<h1"),
            (printed.incidents, "acme"),
            (printed.metrics, "scim_witness_requests_total"),
        ):
            status, body = ask(url)
            assert (200, True) == (status, holds in body), url
        with urllib.request.urlopen(f"{printed.operators}api/v1/incidents", timeout=20) as answer:  # noqa: S310 - our own
            listed = json.load(answer)["incidents"]
        spooled = re.search(r'incidents_total\{result="spooled"\} (\S+)', ask(printed.metrics)[1])
        assert spooled is not None
        assert len(listed) == float(spooled[1])  # notes are none
        (acme,) = [incident for incident in listed if incident["tenant"] == "acme"]
        for command, output in tutorial(printed.config, acme["id"]):
            assert "Traceback" not in output, command
        spans = asyncio.run(beats(printed.config))
        assert (True, []) == (bool(spans), [span.why for span in spans if not span.ok])  # the first one too: it accepts by then
        assert 0 == running.end()
        assert not printed.config.exists()


def test_half_of_the_output_is_not_read_as_the_whole() -> None:
    whole = (
        "  proxy      http://127.0.0.1:1/scim/v2\n"
        "  operators  http://127.0.0.1:2/  http://127.0.0.1:2/incidents  http://127.0.0.1:2/metrics\n"
        "  try        scim-witness incidents list --config /tmp/sw/proxy.toml\n"
    )
    printed = read(whole)
    assert printed is not None
    assert ("127.0.0.1:2", "/tmp/sw/proxy.toml") == (printed.ops, str(printed.config))
    assert [None] * len(whole) == [read(whole[:end]) for end in range(len(whole))]
