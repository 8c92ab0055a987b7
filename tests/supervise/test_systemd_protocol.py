"""What systemd gives and is told: sockets by LISTEN_FDS, states by NOTIFY_SOCKET; and what a successor inherits."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator

import pytest

from proxy.supervise.inherited import VARIABLE, inherited, left_for_children
from proxy.supervise.notify import Notifier
from proxy.wire.state import StartFault
from tests.supervise.deployment import GOOD, alive, until
from tests.supervise.test_changes import ask

pytestmark = pytest.mark.heavy

# what systemd does between fork and exec: the sockets are 3 and 4, and the variables name the process that is to have them
LAUNCHER = """
import fcntl, os, sys

given = [int(number) for number in sys.argv[1].split(",")]
for place, number in enumerate([fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in given]):
    os.dup2(number, 3 + place, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@pytest.fixture
def heard(tmp_path) -> Iterator[socket.socket]:
    """The socket on which systemd would hear what the service says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def told(heard: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(heard.recv(4096).decode())
    except BlockingIOError:
        return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1])
async def test_sockets_and_states(backend, deploy, heard, monkeypatch, workers):
    deployment = deploy(backend, workers=workers)
    with socket.create_server(("127.0.0.1", 0)) as data, socket.create_server(("127.0.0.1", 0)) as ops:
        numbers = f"{data.fileno()},{ops.fileno()}"
        command = [sys.executable, "-c", LAUNCHER, numbers, "listen:ops"]
        monkeypatch.setattr("tests.supervise.deployment.BEFORE", command)
        await deployment.start({"NOTIFY_SOCKET": heard.getsockname()}, pass_fds=(data.fileno(), ops.fileno()))
        assert deployment.data == f"http://127.0.0.1:{data.getsockname()[1]}"
        assert deployment.ops == f"http://127.0.0.1:{ops.getsockname()[1]}"
        assert 200 == (await ask(f"{deployment.data}/Users", GOOD))[0]
        assert 200 == (await ask(f"{deployment.ops}/readyz"))[0]
        await until(lambda: "READY=1" in told(heard))
        deployment.signal(signal.SIGHUP)
        await deployment.event("settings_applied")
        said: list[str] = []

        def ready_again() -> bool:
            said.extend(told(heard))
            return said[-1:] == ["READY=1"]

        await until(ready_again)
        assert said[0].startswith("RELOADING=1\nMONOTONIC_USEC=")
        before = deployment.pid
        deployment.signal(signal.SIGUSR2)
        deployment.pid = (await deployment.event("succeeded_by"))["pid"]
        await deployment.gone(before)
        assert [f"MAINPID={deployment.pid}\nREADY=1"] == told(heard)
        await deployment.stop()
        assert ["STOPPING=1"] == told(heard)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
async def test_a_successor_that_cannot_start_changes_nothing(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)
    await deployment.start()
    deployment.write(upstream="no url")
    deployment.signal(signal.SIGUSR2)
    failed = await deployment.event("succession_failed")
    assert (2, False) == (failed["status"], alive(failed["pid"]))
    assert "upstream.url" in deployment.output()
    assert 200 == (await ask(f"{deployment.data}/Users", GOOD))[0]
    assert 0 == await deployment.stop()


def test_nothing_is_taken_that_is_for_another_process():
    found = inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, os.getpid())
    assert (None, None, False) == (found.listen, found.ops, found.succeeds)


def test_children_do_not_inherit_it():
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", VARIABLE: "listen=3", "PATH": "/bin"}
    assert {"PATH": "/bin"} == left_for_children(environ)


@pytest.mark.parametrize(
    "text, says",
    [("listen", VARIABLE), ("listen=999", "descriptor 999 is no socket"), ("listen=x", VARIABLE)],
)
def test_what_is_not_of_our_making_is_refused(text, says):
    with pytest.raises(StartFault, match=says):
        inherited({VARIABLE: text}, os.getpid())


def test_a_predecessor_gives_sockets_and_waits_for_a_word(listening):
    reader, writer = os.pipe()
    copy = os.dup(listening.fileno())
    found = inherited({VARIABLE: f"listen={copy} ready={writer}"}, os.getpid())
    assert found.succeeds
    assert found.listen is not None
    assert listening.getsockname() == found.listen.getsockname()
    assert not os.get_inheritable(copy)
    found.say_ready()
    found.say_ready()
    found.listen.close()
    assert b"ready\n" == os.read(reader, 16)
    os.close(reader)


def test_without_systemd_nothing_is_said_and_a_deaf_one_stops_nothing(tmp_path):
    Notifier({}).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
    Notifier({"NOTIFY_SOCKET": "vsock:2:1234"}).stopping()


def test_the_main_process_is_named(heard):
    Notifier({"NOTIFY_SOCKET": heard.getsockname()}).ready(42)
    assert ["MAINPID=42\nREADY=1"] == told(heard)
