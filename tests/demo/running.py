"""A demo that runs on, as a process of its own, and the one reader of the addresses that it prints."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Final

import msgspec

COMMAND: Final = (sys.executable, "-m", "proxy.cli", "demo")
START_SECONDS: Final = 90.0
"""Until the last line: a PostgreSQL is made and started, an incident played and explained, and two cores may be busy."""
END_SECONDS: Final = 30.0


class Printed(msgspec.Struct, frozen=True):
    """The addresses that the demo prints when everything runs, as URLs, and its configuration file."""

    proxy: str
    operators: str
    incidents: str
    metrics: str
    config: pathlib.Path

    @property
    def ops(self) -> str:
        """The operators' listener as host:port."""
        return self.operators.removeprefix("http://").rstrip("/")


def read(output: str) -> Printed | None:
    """What the demo has printed; None while its last line is not there yet."""
    proxy = re.search(r"^ +proxy +(http://\S+)$", output, re.MULTILINE)
    ops = re.search(r"^ +operators +(http://\S+/) +(http://\S+/incidents) +(http://\S+/metrics)$", output, re.MULTILINE)
    config = re.search(r"^ +try +.* --config (\S+)\n", output, re.MULTILINE)
    if not (proxy and ops and config):
        return None
    return Printed(proxy[1], ops[1], ops[2], ops[3], pathlib.Path(config[1]))


class Demo:
    """A running demo: what it printed, its process, and the file that holds its output."""

    def __init__(self, printed: Printed, process: subprocess.Popen[bytes], output: pathlib.Path) -> None:
        self.printed = printed
        self.process = process
        self.output = output

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


@contextlib.contextmanager
def demo() -> Iterator[Demo]:
    """Start `scim-witness demo`, wait for its addresses, and end it. AssertionError with its output when it ends
    or prints none."""
    with tempfile.TemporaryDirectory(prefix="sw-", dir="/tmp") as room:
        pathlib.Path(room).chmod(0o755)  # PostgreSQL's own user must pass
        output = pathlib.Path(room) / "demo.out"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SCIM_WITNESS_", "DEMO_"))}
        environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": room}
        environ["SCIM_WITNESS_PURE"] = os.environ["SCIM_WITNESS_PURE"]
        with output.open("wb") as file:
            process = subprocess.Popen(COMMAND, env=environ, stdout=file, stderr=file)
        try:
            yield Demo(_wait(process, output), process, output)
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], output: pathlib.Path) -> Printed:
    deadline = time.monotonic() + START_SECONDS
    while (printed := read(output.read_text())) is None:
        assert process.poll() is None, f"the demo ended:\n{output.read_text()}"
        assert time.monotonic() < deadline, f"no addresses in what the demo printed:\n{output.read_text()}"
        time.sleep(0.05)
    return printed


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
