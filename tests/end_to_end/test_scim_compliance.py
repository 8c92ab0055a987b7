"""scim2-tester gives the same results through the proxy as without it, against scim2-server."""

from __future__ import annotations

import collections
import pathlib
import subprocess
import sys

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server

from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import until
from tests.servers.process import free_port


@pytest.fixture
def scim_server():
    """scim2-server on a free port, with the token as its own too."""
    port = free_port()
    command = str(pathlib.Path(sys.executable).with_name("scim2-server"))
    process = subprocess.Popen(
        [command, "--port", str(port), "--bearer-token", GOOD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx2.get(f"{url}/v2/ServiceProviderConfig", headers={"Authorization": f"Bearer {GOOD}"}).status_code == 200
        except httpx2.TransportError:
            return False

    until(answers)
    yield url
    process.terminate()
    process.wait(10)


def results(url: str) -> collections.Counter[tuple[str, str]]:
    """What scim2-tester finds: how often each check had which result."""
    headers = {"Authorization": f"Bearer {GOOD}"}
    with httpx2.Client(base_url=f"{url}/v2", headers=headers, timeout=20) as connection:
        client = SyncSCIMClient(connection)
        client.discover()
        return collections.Counter((result.title or "", result.status.name) for result in check_server(client))


@pytest.mark.timeout(240)
def test_scim2_tester_sees_no_difference(deploy, scim_server):
    proxy = deploy(scim_server)
    proxy.start()
    direct, through = results(scim_server), results(proxy.data)
    assert direct == through
    assert sum(direct.values()) > 20
    assert not [key for key in direct if key[1] in ("ERROR", "CRITICAL")], direct
