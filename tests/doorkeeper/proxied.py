"""The proxy as anybody runs it, `scim-witness run`, in front of the vendor; and the command that explains."""

from __future__ import annotations

import asyncio
import json
import pathlib
import re
import subprocess
import sys
import time
from typing import Any, Final

from tests.doorkeeper.asking import Address
from tests.doorkeeper.vendor import MODES, Vendor
from tests.servers import process

CONFIG: Final = """\
state_dir = {state}
base_path = "/scim/v2"
[listen]
port = 0
[ops]
port = 0
[upstream]
url = {upstream}
[policy]
allow_query_token = true
allow_form_token = true
[source]
kind = "doorkeeper_postgres"
dsn = {dsn}
hashing = "{hashing}"
owner.table = "service_accounts"
owner.active_column = "active"
[evidence]
reread_after = [0.2]
"""
SHIPPED: Final = 60.0
"""Seconds for an incident and what was read around it to reach the store on a busy machine."""


class Proxied:
    """One running proxy. Without a store of its own in the configuration it starts the bundled one."""

    def __init__(self, vendor: Vendor, directory: pathlib.Path, more: str = "") -> None:
        self.config = directory / "proxy.toml"
        values = {"state": str(directory / "state"), "upstream": "http://{}:{}".format(*vendor.address), "dsn": vendor.dsn}
        quoted = {name: json.dumps(value) for name, value in values.items()}
        self.config.write_text(CONFIG.format(hashing=MODES[vendor.mode], **quoted) + more)
        command = [sys.executable, "-m", "proxy.cli", "run", "--config", str(self.config)]
        self.process = process.ServerProcess(command, directory=directory, ready=lambda: self._port() is not None)

    def _port(self) -> int | None:
        found = re.search(r"^Clients: 127\.0\.0\.1:(\d+)", self.process.log.read_text(), re.MULTILINE)
        return int(found[1]) if found else None

    @property
    def address(self) -> Address:
        port = self._port()
        assert port is not None, "not started"
        return "127.0.0.1", port

    async def shown(self, incident: str) -> dict[str, Any]:
        """`scim-witness incidents show ID --json`, once what stands around the incident has been read and shipped."""
        deadline = time.monotonic() + SHIPPED
        while True:
            found = await asyncio.to_thread(self.show, incident)
            notes = {note["name"] for note in found.get("notes", ())}
            if any(name.startswith("reread") for name in notes) or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.1)

    async def told(self, *command: str) -> str:
        """What a command says to people, in one line."""
        arguments = [sys.executable, "-m", "proxy.cli", *command, "--config", str(self.config)]
        done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, timeout=60, check=False)
        return " ".join((done.stdout + done.stderr).split())

    async def calls(self, token: str, count: int) -> list[dict[str, Any]]:
        """The ledger of a token, once it holds so many calls and knows whose they are."""
        command = [sys.executable, "-m", "proxy.cli", "token", "-", "--json", "--config", str(self.config)]
        deadline = time.monotonic() + SHIPPED
        while True:
            done = await asyncio.to_thread(
                subprocess.run, command, input=token, capture_output=True, text=True, timeout=60, check=False
            )
            found: list[dict[str, Any]] = json.loads(done.stdout)["oauth"] if done.returncode == 0 else []
            if len(found) >= count and all(call.get("tenant") for call in found):
                return found
            assert time.monotonic() < deadline, (found, done.stderr)
            await asyncio.sleep(0.1)

    def show(self, incident: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "proxy.cli", "incidents", "show", incident, "--json", "--config", str(self.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {"error": done.stderr}
