"""Builds the data plane from settings: road and upstream, and what the listener is told."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from proxy.core.credential import Fingerprinter
from proxy.core.forward_auth import Front
from proxy.core.grammar import Limits
from proxy.core.headers import Forwarding
from proxy.core.inbound import Inbound
from proxy.core.oauth import Paths
from proxy.core.policy import Policy
from proxy.edge.client_connection import Times
from proxy.edge.client_ports import Road
from proxy.edge.deadlines import Deadlines
from proxy.edge.express import Express
from proxy.edge.forward import Forwarder
from proxy.edge.forward_auth import ForwardAuth
from proxy.edge.handler import Handler, RoadOptions
from proxy.edge.judge import Judge, Tokens
from proxy.edge.limits import rate
from proxy.edge.listener import ListenerOptions, Peers
from proxy.edge.oauth import Ledger, OauthFront
from proxy.edge.passage import Witness
from proxy.edge.upstream import Upstream, UpstreamOptions
from proxy.settings import Settings
from proxy.wire.certificates import load_pair, trusting


class DataPlane:
    """The boxes between client and backend."""

    def __init__(
        self,
        settings: Settings,
        instance: str,
        policy: Policy,
        fingerprinter: Fingerprinter,
        tokens: Tokens,
        witness: Witness,
        deadlines: Deadlines,
        report: Callable[[str, BaseException], None],
        probe_target: bytes,
        ledger: Ledger,
    ) -> None:
        self.options = listener_options(settings)
        self.upstream = Upstream(upstream_options(settings), deadlines, Limits())
        self.peers = Peers(settings.listen.trusted_proxies)
        forwarder = Forwarder(self.upstream, _forwarding(settings))
        o = settings.oauth
        paths = Paths(o.token.encode(), o.authorize.encode(), o.revoke.encode(), o.introspect.encode())
        front = OauthFront(paths, instance, fingerprinter, forwarder, witness, ledger) if o.enabled else None
        bound, asking = settings.limits, settings.forward_auth
        self.handler = Handler(
            _road_options(settings, instance, probe_target),
            policy,
            fingerprinter,
            Judge(tokens, policy),
            forwarder,
            witness,
            self.peers,
            _tenant_of_route(settings),
            report,
            front,
            rate(bound.requests_per_address, bound.requests_per_tenant),
            rate(bound.refusals_per_address, bound.refusals_per_tenant),
        )
        self.road: Road = Express(self.handler, forwarder, report)
        if asking.front != "off":
            self.road = ForwardAuth(self.road, asking.path.encode(), Front(asking.front), self.options.limits)


def listener_options(settings: Settings) -> ListenerOptions:
    """The bounds of client connections. Raises StartFault when a certificate file is no use."""
    listen = settings.listen
    limits = Limits(listen.head_limit, listen.target_limit, listen.header_count, frozenset(m.encode() for m in listen.methods))
    times = Times(listen.head_timeout, listen.idle_timeout, listen.body_read_timeout, listen.write_timeout)
    return ListenerOptions(limits, times, listen.max_connections, listen.backlog, listener_tls(settings), listen.proxy_protocol)


def listener_tls(settings: Settings) -> ssl.SSLContext | None:
    """The certificate that clients are shown; None where they speak plain HTTP. Raises StartFault."""
    files = settings.listen.tls
    if files.cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    load_pair(context, "listen.tls", files.cert_file, files.key_file)
    return context


def upstream_options(settings: Settings) -> UpstreamOptions:
    """Where the backend is. Raises StartFault when a certificate file is no use."""
    u = settings.upstream
    url = urlsplit(u.url)
    tls = _tls(settings) if url.scheme == "https" else None
    return UpstreamOptions(
        host=url.hostname or "",
        port=url.port or (443 if tls else 80),
        tls=tls,
        server_name=u.tls.server_name,
        connect_timeout=u.connect_timeout,
        head_timeout=u.head_timeout,
        body_timeout=u.body_timeout,
        idle_timeout=u.idle_timeout,
        max_connections=u.max_connections,
        queue_limit=u.queue_limit,
        queue_timeout=u.queue_timeout,
    )


def _tls(settings: Settings) -> ssl.SSLContext:
    t = settings.upstream.tls
    context = trusting("upstream.tls", t.ca_file)
    if not t.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if t.cert_file is not None:
        load_pair(context, "upstream.tls", t.cert_file, t.key_file)
    return context


def _forwarding(settings: Settings) -> Forwarding:
    u = settings.upstream
    host = {"preserve": None, "upstream": urlsplit(u.url).netloc.rpartition("@")[2]}.get(u.host, u.host)
    return Forwarding(host=host.encode() if host else None, forwarded=u.forwarded)


def _road_options(settings: Settings, instance: str, probe_target: bytes) -> RoadOptions:
    p = settings.policy
    return RoadOptions(
        instance=instance,
        realm=p.realm,
        base_path=settings.base_path.encode(),
        query_token=p.allow_query_token,
        form_token=p.allow_form_token,
        explain_refusals=p.explain_refusals,
        retry_body_limit=p.retry_body_limit,
        probe_target=probe_target,
    )


def _tenant_of_route(settings: Settings) -> Callable[[Inbound], str]:
    """The tenant that host or path name, by the configured expressions; nothing where there are none."""
    route = settings.tenant_route
    by_path = re.compile(route.path.encode()) if route.path else None
    by_host = re.compile(route.host.encode()) if route.host else None
    if by_path is None and by_host is None:
        return lambda _: ""

    def tenant(request: Inbound) -> str:
        for pattern, text in ((by_path, request.target), (by_host, request.host)):
            if pattern is not None and (match := pattern.search(text)) is not None:
                return match["tenant"].decode("ascii", "replace")
        return ""

    return tenant
