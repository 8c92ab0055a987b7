"""Drives our HTTP parsers as a connection does, and asks two that are not ours for the meaning of what ours accept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import h11
import httptools
import msgspec

from proxy.core.framing import Chunked, Decoder, FramingError, Length
from proxy.core.grammar import Fault, Limits
from proxy.core.headers import Forwarding, Peer, request_head
from proxy.core.heads import Heads
from proxy.core.inbound import BadCredential, Inbound

LIMITS = Limits(head=2_000, target=500, fields=20)
PEERS = (Peer(b"192.0.2.1", trusted=False, scheme=b"https"), Peer(b"10.0.0.1", trusted=True, scheme=b"http"))
FORWARDINGS = (Forwarding(), Forwarding(b"own.example", via=b"other"), Forwarding(forwarded=False))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at places, which are taken within them."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


def drive_heads(parts: Sequence[bytes]) -> list[Inbound | Fault | BadCredential]:
    """Feed a Heads as a connection does, until something is refused."""
    heads = Heads(LIMITS)
    found: list[Inbound | Fault | BadCredential] = []
    for part in parts:
        heads.held += part
        while heads.ready():
            assert heads.ready(), "asked once more"
            found.append(plain(heads.take()))
            if not isinstance(found[-1], Inbound):
                return found
    return found


def plain(found: Inbound | Fault | BadCredential) -> Inbound | Fault | BadCredential:
    """What was found as if nothing like it had come before: its head for the backend is the same either way."""
    if not isinstance(found, Inbound) or found.familiar is None:
        return found
    same = msgspec.structs.replace(found, familiar=None)
    by_forwarding = [(peer, forwarding, b"d") for forwarding, peer in itertools.product(FORWARDINGS, PEERS)]
    by_peer = [(peer, forwarding, b"e") for peer, forwarding in itertools.product(PEERS, FORWARDINGS)]
    for where in (*by_forwarding, *by_peer, (PEERS[0], FORWARDINGS[0], b"f")):
        assert request_head(found, *where) == request_head(same, *where)
    return same


def drive_decoder(decoder: Decoder, parts: Sequence[bytes]) -> tuple[bytes, bool, str]:
    """Feed a decoder: the octets of the body, whether it is whole, and what is wrong with it."""
    out = b""
    try:
        for part in parts:
            if decoder.done:
                return out, True, decoder.left.hex() and ""
            out += decoder.feed(part)
    except FramingError as error:
        return out, False, str(error)
    return out, decoder.done, ""


def ours(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Method, target and body as we understand one whole message, None when we refuse it or wait for more."""
    heads = Heads(LIMITS)
    heads.held = data
    if not heads.ready():
        return None
    request = heads.take()
    if not isinstance(request, Inbound):
        return None
    decoder: Decoder = Chunked() if request.length is None else Length(request.length)
    octets, done, _ = (b"", True, "") if decoder.done else drive_decoder(decoder, [heads.held])
    return (request.method, request.target, octets) if done else None


class Llhttp:
    """What llhttp tells of the first message."""

    def __init__(self) -> None:
        self.url = self.body = b""
        self.done = False

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self.url += url

    def on_body(self, data: bytes) -> None:
        """See httptools."""
        self.body += data

    def on_message_complete(self) -> None:
        """See httptools."""
        if not self.done:
            self.done = True
            self.seen = (self.url, self.body)


def origin_form(target: bytes) -> bytes:
    """A target less scheme and authority."""
    if target[:4].lower() != b"http":
        return target
    rest = target.partition(b"://")[2]
    at = min((place for place in (rest.find(b"/"), rest.find(b"?")) if place >= 0), default=len(rest))
    return rest[at:] if rest[at : at + 1] == b"/" else b"/" + rest[at:]


def agree(data: bytes) -> bool:
    """What we accept, h11 and llhttp accept with the same meaning. Tells whether we accept it."""
    understood = ours(data)
    if understood is None:
        return False
    method, target, octets = understood
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    parser.receive_data(data.removeprefix(b"\r\n"))  # one empty line before a request passes (RFC 9112 section 2.2); not at h11
    request, received = parser.next_event(), b""
    assert isinstance(request, h11.Request)
    while isinstance(event := parser.next_event(), h11.Data):
        received += event.data
    assert isinstance(event, h11.EndOfMessage)
    asked = request.target if request.method != b"OPTIONS" or b"://" not in request.target else target
    assert (method, target, octets) == (request.method, origin_form(asked), received)

    seen = Llhttp()
    llhttp = httptools.HttpRequestParser(seen)
    try:
        llhttp.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        assert seen.done, "llhttp refuses what we accept"
    assert method == llhttp.get_method() or seen.done
    asked = seen.seen[0] if method != b"OPTIONS" or b"://" not in seen.seen[0] else target
    assert (target, octets) == (origin_form(asked), seen.seen[1])
    return True
