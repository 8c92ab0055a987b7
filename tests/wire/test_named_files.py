"""What check-config says of certificate files: what the start would refuse, and what clients would."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from proxy.settings import load
from proxy.wire.named_files import look_at_files
from proxy.wire.state import StartFault
from proxy.wire.store import OwnStore
from tests.edge.certificates import Authority

BASE = """[upstream]
url = "https://127.0.0.1:1"
[source]
kind = "introspection"
url = "https://127.0.0.1:1/introspect"
bearer = "planted-bearer"
"""


@pytest.fixture
def found(tmp_path):
    authority = Authority(tmp_path)
    authority.issue("good")
    authority.issue("other")
    authority.issue("ended", hours=-1)
    (tmp_path / "junk.pem").write_text("nothing in PEM")

    def look(text):
        (tmp_path / "proxy.toml").write_text(BASE + text)
        return [(one.key, one.starts, one.message) for one in look_at_files(load(tmp_path / "proxy.toml", {}))]

    return look


def pair(section, certificate, key, more=""):
    return f'[{section}.tls]\ncert_file = "{certificate}"\nkey_file = "{key}"\n{more}\n'


@pytest.mark.parametrize("section", ["listen", "ops"])
@pytest.mark.parametrize(
    "expected, certificate, key",
    [
        ([], "good.pem", "good.key"),
        ([("cert_file", False, "No such file")], "none.pem", "good.key"),
        ([("key_file", False, "No such file")], "good.pem", "none.key"),
        ([("cert_file", False, "no certificate and its key")], "good.pem", "other.key"),
        ([("cert_file", False, "no certificate and its key")], "junk.pem", "junk.pem"),
        ([("cert_file", True, "has expired")], "ended.pem", "ended.key"),
    ],
)
def test_files_of_a_listener(found, section, expected, certificate, key):
    said = found(pair(section, certificate, key))
    assert [(f"{section}.tls.{name}", starts) for name, starts, _ in expected] == [(name, starts) for name, starts, _ in said]
    assert all(words in message for (_, _, words), (_, _, message) in zip(expected, said, strict=True))


def test_each_part_is_looked_at_although_another_is_wrong(found):
    text = "".join(
        (
            "ca_file = 'none.pem'\n[upstream.tls]\nca_file = 'junk.pem'\n[store]\nurl = 'rediss://h'\nca_file = 'none.pem'\n",
            pair("listen", "none.pem", "good.key"),
            pair("ops", "good.pem", "good.key", "client_ca_file = 'good.pem'"),
        )
    )
    assert ["listen.tls.cert_file", "ops.tls.client_ca_file", "upstream.tls.ca_file", "source.ca_file", "store.ca_file"] == [
        key for key, _, _ in found(text)
    ]


def test_check_config_names_the_line(found, tmp_path):
    _ = found(pair("listen", "none.pem", "good.key"))
    command = [sys.executable, "-m", "proxy.cli", "check-config", "--json", "proxy.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    (fault,) = json.loads(done.stdout)["faults"]
    assert (2, 8, "listen.tls.cert_file") == (done.returncode, fault["line"], fault["key"])
    assert all(fault[part] for part in ("message", "fix"))


async def test_the_start_names_an_authority_of_the_store_that_cannot_be_read(tmp_path):
    (tmp_path / "proxy.toml").write_text(f'{BASE}[store]\nurl = "rediss://127.0.0.1:1"\nca_file = "none.pem"\n')
    own = OwnStore(load(tmp_path / "proxy.toml", {}), tmp_path)
    with pytest.raises(StartFault, match=r"store\.ca_file .*No such file"):
        await own.start(succeeds=False)
