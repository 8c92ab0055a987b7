"""`run` as a process: what keeps it from starting is one line that names the setting; a database that is down does not."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys

import asyncpg
import pytest

from proxy.demo.vendor import SCHEMA

ENVIRON = {
    name: value for name, value in os.environ.items() if name == "SCIM_WITNESS_PURE" or not name.startswith("SCIM_WITNESS_")
}
ENVIRON["PYTHONPATH"] = os.pathsep.join(sys.path)
PLANTED = "planted-token-8dJq2Vx0RmYt5LcW"

pytestmark = pytest.mark.slow


def start(folder, **settings):
    """Start `run` on free ports with a source whose database is not there, unless told otherwise."""
    values = {"listen__port": 0, "ops__port": 0, "upstream__url": "http://127.0.0.1:1"} | settings
    environ = {f"SCIM_WITNESS_{name.upper()}": str(value) for name, value in values.items()}
    file = folder / "proxy.toml"
    dsn = f"postgresql://nobody@/none?host={folder}/none"
    file.write_text(f'state_dir = "state"\n[source]\nkind = "doorkeeper_postgres"\ndsn = "{dsn}"\n[log]\ndestination = "log"\n')
    return subprocess.Popen(
        [sys.executable, "-m", "proxy.cli", "run", "--config", str(file)],
        cwd=folder,
        env=ENVIRON | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(process):
    """Wait for its end; return the one line that it says and its status."""
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert out == ""
    (line,) = err.splitlines()
    return process.returncode, line


@pytest.mark.parametrize("section", ["listen", "ops"])
def test_port_in_use(tmp_path, section):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        status, line = refused(start(tmp_path, **{f"{section}__port": port}))
    assert status == 1
    assert line.startswith(f"scim-witness: {section}.port: 127.0.0.1:{port} is in use. ")
    assert f"or set another {section}.port" in line


def test_host_that_is_not_of_this_machine(tmp_path):
    status, line = refused(start(tmp_path, listen__host="192.0.2.1"))
    assert status == 1
    assert line.startswith("scim-witness: listen.port: 192.0.2.1:0 is no address of this machine. Set listen.host")


def test_key_that_cannot_be_read(tmp_path):
    (tmp_path / "state" / "fingerprint.key").mkdir(parents=True)
    status, line = refused(start(tmp_path))
    assert (status, f"scim-witness: fingerprint key {tmp_path}/state/fingerprint.key: ") == (1, line[: line.index("Is a ")])


def test_state_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    status, line = refused(start(tmp_path, state_dir=tmp_path / "file" / "state"))
    assert status == 1
    assert line.startswith(f"scim-witness: state_dir {tmp_path}/file/state: ")


@pytest.mark.parametrize("section", ["listen.tls", "ops.tls", "upstream.tls"])
@pytest.mark.parametrize(
    "missing, words",
    [
        (("cert_file", "key_file"), "cert_file {folder}/cert_file: No such file or directory. Check the path"),
        (("key_file",), "key_file {folder}/key_file: No such file or directory. Check the path"),
        ((), "cert_file {folder}/cert_file: it and key_file are no certificate and its key. Write both in PEM"),
    ],
)
def test_certificate_files_that_are_no_use(tmp_path, section, missing, words):
    for name in {"cert_file", "key_file"} - set(missing):
        (tmp_path / name).write_text("no PEM\n")
    files = {f"{section.replace('.', '__')}__{name}": tmp_path / name for name in ("cert_file", "key_file")}
    status, line = refused(start(tmp_path, **files, upstream__url="https://127.0.0.1:1"))
    assert status == 1
    assert line.startswith(f"scim-witness: {section}.{words.format(folder=tmp_path)}")


def test_a_database_that_is_down_at_the_start_is_503_and_no_end(tmp_path):
    with start(tmp_path) as process:
        assert process.stderr is not None
        found = re.match(r"Clients: (\S+)   operators: (\S+)\n", process.stderr.readline())
        assert found is not None
        client = http.client.HTTPConnection(found[1], timeout=30)
        client.request("GET", "/Users", headers={"Authorization": f"Bearer {PLANTED}"})
        answer = client.getresponse()
        assert answer.status == 503
        body = answer.read()
        client.close()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert PLANTED.encode() not in body
    log = (tmp_path / "log").read_text()
    assert PLANTED not in err + log
    (told,) = [event for event in map(json.loads, log.splitlines()) if event["event"] == "source_unavailable"]
    assert (told["source"], told["why"], told["level"]) == ("doorkeeper", "refused", "warning")
    assert told["detail"]


def event_named(process, name):
    """Read the log, which is stderr here, up to this event."""
    for line in process.stderr:
        if line.startswith("{") and (event := json.loads(line))["event"] == name:
            return event
    raise AssertionError(f"it ended without {name}")


async def test_what_is_wrong_with_a_source_is_in_the_log_before_a_client_comes_and_so_is_its_end(tmp_path, database):
    with start(tmp_path, source__dsn=database, log__destination="stderr") as process:
        client = http.client.HTTPConnection(event_named(process, "started")["listen"], timeout=30)
        told = event_named(process, "source_unavailable")
        assert ("doorkeeper", "error") == (told["source"], told["why"])
        assert 'no table "oauth_access_tokens"' in told["detail"]
        connection = await asyncpg.connect(database)
        await connection.execute(SCHEMA)
        await connection.close()
        client.request("GET", "/Users", headers={"Authorization": f"Bearer {PLANTED}"})
        assert client.getresponse().status == 401
        client.close()
        assert event_named(process, "source_answers")["source"] == "doorkeeper"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["-c", "{file}"], "other"),
        (["--config", "{file}"], ""),
        (["--config={file}"], "other"),
        (["-c{file}"], "other"),  # left to Typer
        ([], "{file}"),
        ([], ""),
    ],
)
def test_the_configuration_is_found_with_and_without_typer(tmp_path, arguments, named):
    file = tmp_path / "config" / "proxy.toml"
    file.parent.mkdir()
    file.write_text('workers = 0\nupstream.url = "http://b"\n[source]\nkind = "token_file"\npath = "t"\n')
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "run", *(one.format(file=file) for one in arguments)],
        cwd=tmp_path,
        env=ENVIRON | {"SCIM_WITNESS_CONFIG": named.format(file=file)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    where = str(file) if arguments or named else "config/proxy.toml"
    assert (2, "") == (done.returncode, done.stdout)
    assert [
        f"{where}:1: workers: must be at least 1. Set it to 1 or more",
        "1 fault in the configuration; nothing was started.",
    ] == done.stderr.splitlines()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--config"], "requires an argument"),
        (["--config", "a", "b"], "unexpected extra argument"),
        (["--bogus"], "No such option"),
    ],
)
def test_arguments_that_are_wrong_are_told(tmp_path, arguments, said):
    run = [sys.executable, "-m", "proxy.cli", "run", *arguments]
    done = subprocess.run(run, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True, timeout=30, check=False)
    assert (2, True) == (done.returncode, said in done.stderr), done.stderr
