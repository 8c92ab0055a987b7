"""The backends behind every contender, on the load core: nginx with ready answers, and a small server for streams."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from tests.bench import mix
from tests.servers import process

START_SECONDS: Final = 15.0
"""For a program to listen; Envoy and Python take a second on a busy core."""


class Child:
    """A program pinned to one core, ended with the bench."""

    def __init__(
        self,
        command: list[str],
        core: int,
        log: pathlib.Path,
        environment: dict[str, str] | None = None,
        stdout: pathlib.Path | None = None,
    ) -> None:
        out = (stdout or log).open("ab")
        err = log.open("ab")
        self.log = log
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=None if environment is None else {**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no other thread runs
            start_new_session=True,
        )
        out.close()
        err.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, port: int) -> None:
        """Until it listens there."""
        deadline = time.monotonic() + START_SECONDS
        while not process.accepts(socket.AF_INET, ("127.0.0.1", port)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise process.ServerFailedError(f"did not listen:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """In order, else by force."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


NGINX_FRAME: Final = """
daemon off; master_process on; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  sendfile on; tcp_nodelay on; tcp_nopush on; gzip off; server_tokens off;
  keepalive_timeout 300s; keepalive_requests 100000000; client_max_body_size 0; reset_timedout_connection on;
{http}
}}
"""

_SCIM: Final = """
  access_log off;
  open_file_cache max=100 inactive=600s; open_file_cache_valid 600s;
  default_type application/scim+json;
  types {{ application/scim+json json; }}
  map $request_method $written {{ POST 201; default 200; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    root {folder}/www;
    location = {base}/Users {{
      if ($request_method = POST) {{ return 201 '{user}'; }}
      if ($arg_filter) {{ return 200 '{one}'; }}
      rewrite ^ /page-$arg_count.json break;
    }}
    location / {{
      if ($request_method = DELETE) {{ return 204; }}
      return 200 '{user}';
    }}
  }}
"""


def start_nginx(folder: pathlib.Path, core: int, http: str, port: int) -> Child:
    """nginx with one worker and what stands in its http block."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").write_text(NGINX_FRAME.format(folder=folder, http=http))
    child = Child(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], core,
                  folder / "output.log")  # fmt: skip
    child.wait_for(port)
    return child


@contextlib.contextmanager
def scim(folder: pathlib.Path, core: int) -> Iterator[int]:
    """The SCIM backend; its port."""
    www = folder / "www"
    www.mkdir(parents=True)
    for count, body in mix.PAGES.items():
        (www / f"page-{count}.json").write_bytes(body)
    port = process.free_port()
    one = mix.listing(1).decode()
    http = _SCIM.format(folder=folder, port=port, base=mix.BASE, user=json.dumps(mix.user(1)), one=one)
    child = start_nginx(folder, core, http, port)
    try:
        yield port
    finally:
        child.stop()


@contextlib.contextmanager
def streams(folder: pathlib.Path, core: int) -> Iterator[int]:
    """The backend for streams; its port. GET /octets/N sends N octets, a body sent to it is read and counted."""
    port = process.free_port()
    child = Child([sys.executable, "-m", "tests.bench.stream_server", str(port)], core, folder / "streams.log")
    try:
        child.wait_for(port)
        yield port
    finally:
        child.stop()
